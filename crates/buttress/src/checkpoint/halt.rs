//! Why a step cannot be done, or its outcome not be kept.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use super::Unkeyed;
use crate::{
    Effect, Fault, Verdict,
    store::{StepId, StoreError},
};

/// Why a step cannot be done, or its outcome not be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Halt {
    /// It was begun before, nobody knows how it ended, and it must not be done twice.
    InDoubt {
        /// The step.
        step: StepId,
        /// The attempt that is in doubt, 0 if its record is damaged.
        attempt: u32,
    },
    /// It is being done right now in this process.
    InFlight {
        /// The step.
        step: StepId,
    },
    /// It was called by itself, and would wait for its own end.
    Within {
        /// The step.
        step: StepId,
    },
    /// Another process holds the workflow.
    Held {
        /// Who.
        owner: Arc<str>,
        /// When its lease will end, unless it is renewed.
        retry_after: Duration,
    },
    /// It was begun or done with another request: the program changed, or two steps have one name.
    Mismatch {
        /// The step.
        step: StepId,
    },
    /// It failed for good, as was recorded.
    Failed {
        /// The step.
        step: StepId,
        /// The words of the error.
        message: String,
    },
    /// Its recorded outcome is intact and cannot be read.
    Unreadable {
        /// The step.
        step: StepId,
        /// The codec and the schema version of the record.
        found: (u8, u32),
        /// Those that are wanted.
        wanted: (u8, u32),
        /// What the codec says.
        message: String,
    },
    /// The call succeeded, and its response cannot be put into bytes. Nothing was recorded.
    Unwritable {
        /// The step.
        step: StepId,
        /// What the codec says.
        message: String,
    },
    /// The call succeeded, and its outcome could not be recorded: it is not known to be durable.
    Unrecorded {
        /// The step.
        step: StepId,
        /// What the store says.
        error: StoreError,
    },
    /// The store failed before the call was made.
    Store(StoreError),
    /// The request does not say which step it is.
    Unkeyed(Unkeyed),
}

impl Halt {
    /// What it means to the layers outside.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::InDoubt { .. } | Self::Failed { .. } => {
                Verdict::permanent().with_effect(Effect::Maybe)
            }
            Self::InFlight { .. } => Verdict::rejected(),
            Self::Held { retry_after, .. } => {
                Verdict { retry_after: Some(*retry_after), ..Verdict::rejected() }
            }
            Self::Within { .. } | Self::Mismatch { .. } | Self::Unkeyed(_) => {
                Verdict::permanent().with_effect(Effect::None)
            }
            Self::Unreadable { .. } | Self::Unwritable { .. } => {
                Verdict::permanent().with_effect(Effect::Applied)
            }
            Self::Unrecorded { error, .. } => error.verdict().with_effect(Effect::Applied),
            Self::Store(error) => error.verdict().with_effect(Effect::None),
        }
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InDoubt { step, attempt: 0 } => {
                write!(f, "step `{step}` is in doubt: it was begun, and its record is damaged")
            }
            Self::InDoubt { step, attempt } => {
                write!(
                    f,
                    "step `{step}` is in doubt: attempt {attempt} was begun and never ended; \
                     find out whether it was done, and settle it"
                )
            }
            Self::InFlight { step } => write!(f, "step `{step}` is being done"),
            Self::Within { step } => {
                write!(f, "step `{step}` calls itself, and would wait for its own end")
            }
            Self::Held { owner, retry_after } => {
                write!(f, "the workflow is held by `{owner}`, retry after {retry_after:.1?}")
            }
            Self::Mismatch { step } => {
                write!(f, "step `{step}` was recorded for another request")
            }
            Self::Failed { step, message } => write!(f, "step `{step}` failed before: {message}"),
            Self::Unreadable { step, found, wanted, message } if found == wanted => {
                write!(f, "the record of step `{step}` cannot be read: {message}")
            }
            Self::Unreadable { step, found: (codec, schema), wanted: (wants, version), .. } => {
                write!(
                    f,
                    "the record of step `{step}` has codec {codec} and schema {schema}, \
                     codec {wants} and schema {version} are wanted"
                )
            }
            Self::Unwritable { step, message } => {
                write!(f, "the response of step `{step}` cannot be recorded: {message}")
            }
            Self::Unrecorded { step, error } => {
                write!(f, "step `{step}` was done, and could not be recorded: {error}")
            }
            Self::Store(error) => error.fmt(f),
            Self::Unkeyed(error) => error.fmt(f),
        }
    }
}

impl Error for Halt {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unrecorded { error, .. } | Self::Store(error) => Some(error),
            Self::Unkeyed(error) => Some(error),
            _ => None,
        }
    }
}

impl Fault for Halt {
    fn verdict(&self) -> Verdict {
        Halt::verdict(self)
    }
}
