//! What can go wrong with a store.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use super::{Damage, WorkflowId};
use crate::{Effect, Fault, Verdict};

/// Why an operation on a store was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else holds the workflow now. Nothing was written, and nothing will be under this lease.
    Fenced {
        /// The workflow.
        workflow: WorkflowId,
        /// The epoch that is over.
        epoch: u64,
    },
    /// The workflow was deleted.
    Deleted {
        /// The workflow.
        workflow: WorkflowId,
    },
    /// Another process holds the lease of the workflow.
    Held {
        /// The workflow.
        workflow: WorkflowId,
        /// Who holds it.
        owner: Arc<str>,
        /// When its lease will end, unless it is renewed.
        retry_after: Duration,
    },
    /// A newer version was written since the one that this one builds upon.
    Stale {
        /// The workflow.
        workflow: WorkflowId,
        /// The newest version.
        latest: u64,
    },
    /// There is no such workflow or version.
    NotFound {
        /// The workflow.
        workflow: WorkflowId,
        /// The version that was asked for.
        version: Option<u64>,
    },
    /// The workflow exists already.
    Exists {
        /// The workflow.
        workflow: WorkflowId,
    },
    /// What is stored is damaged, and nothing intact can take its place.
    Corrupt {
        /// The workflow.
        workflow: WorkflowId,
        /// The version, or `None` for what is kept of the workflow as a whole.
        version: Option<u64>,
        /// What is wrong with it.
        damage: Damage,
    },
    /// A name or a payload is longer than a store takes.
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The longest that is taken.
        most: usize,
    },
    /// What was given is nothing that a store can take.
    Invalid {
        /// What it is.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The engine failed.
    Engine(Trouble),
}

/// What is wrong with an engine, in words that say what to do.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// What kind of trouble.
    pub kind: TroubleKind,
    /// What happened and what to do, without secrets such as passwords.
    pub message: String,
    /// The engine's own error.
    pub source: Option<Arc<dyn Error + Send + Sync>>,
}

/// Kinds of trouble with an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TroubleKind {
    /// Another process has the file open.
    Locked,
    /// The disk is full.
    Full,
    /// The file or directory must not be written.
    ReadOnly,
    /// The rights do not suffice, or who we are was not believed.
    Denied,
    /// The server cannot be reached, or has gone away. May pass.
    Unreachable,
    /// Written by a release that this one does not understand.
    Format,
    /// The file is damaged.
    Damaged,
    /// Something else.
    Other,
}

impl PartialEq for Trouble {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.message == other.message
    }
}

impl Eq for Trouble {}

impl StoreError {
    /// Trouble with the engine.
    pub fn engine(
        kind: TroubleKind,
        message: impl Into<String>,
        source: impl Into<Option<Arc<dyn Error + Send + Sync>>>,
    ) -> Self {
        Self::Engine(Trouble { kind, message: message.into(), source: source.into() })
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced { workflow, epoch } => {
                write!(f, "workflow `{workflow}` was taken over: epoch {epoch} is over")
            }
            Self::Deleted { workflow } => write!(f, "workflow `{workflow}` was deleted"),
            Self::Held { workflow, owner, retry_after } => {
                write!(
                    f,
                    "workflow `{workflow}` is held by `{owner}` for another {retry_after:.1?}"
                )
            }
            Self::Stale { workflow, latest } => {
                write!(f, "workflow `{workflow}` went on to version {latest} in the meantime")
            }
            Self::NotFound { workflow, version: None } => write!(f, "no workflow `{workflow}`"),
            Self::NotFound { workflow, version: Some(version) } => {
                write!(f, "workflow `{workflow}` has no version {version}")
            }
            Self::Exists { workflow } => write!(f, "workflow `{workflow}` exists already"),
            Self::Corrupt { workflow, version: None, damage } => {
                write!(f, "workflow `{workflow}` is damaged: {damage}")
            }
            Self::Corrupt { workflow, version: Some(version), damage } => {
                write!(f, "version {version} of workflow `{workflow}` is damaged: {damage}")
            }
            Self::TooLarge { what, bytes, most } => {
                write!(f, "{what} of {bytes} bytes, where {most} are allowed")
            }
            Self::Invalid { what, why } => write!(f, "{what} {why}"),
            Self::Engine(trouble) => f.write_str(&trouble.message),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Engine(trouble) => trouble.source.as_ref().map(|source| &**source as _),
            _ => None,
        }
    }
}

impl Fault for StoreError {
    /// An engine that is locked, full or out of reach, and a lease that is held, may be better later;
    /// all else is permanent. What was to be written may have been if the engine failed.
    fn verdict(&self) -> Verdict {
        match self {
            Self::Held { retry_after, .. } => {
                Verdict { retry_after: Some(*retry_after), ..Verdict::rejected() }
            }
            Self::Engine(trouble) => match trouble.kind {
                TroubleKind::Unreachable | TroubleKind::Full | TroubleKind::Other => {
                    Verdict::transient()
                }
                TroubleKind::Locked => Verdict::transient().with_effect(Effect::None),
                _ => Verdict::permanent().with_effect(Effect::None),
            },
            _ => Verdict::permanent().with_effect(Effect::None),
        }
    }
}
