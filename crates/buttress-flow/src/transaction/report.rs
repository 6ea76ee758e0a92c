//! What happened at each participant.

use std::{error::Error, fmt, sync::Arc};

use buttress::store::StoreError;

use super::{
    Vote,
    protocol::{Decision, Outcome},
};

/// What became of a transaction, and what happened at each participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The transaction.
    pub id: String,
    /// What the client may rely on.
    pub outcome: Outcome,
    /// Whether all participants have acknowledged, and the end is written. If not, a
    /// [recovery](super::Coordinator::recover) goes on with it.
    pub finished: bool,
    /// What happened at each participant.
    pub participants: Vec<Participant>,
    /// What the store said, if that is why it is not finished.
    pub error: Option<StoreError>,
}

/// What happened at a participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Its name.
    pub name: Arc<str>,
    /// How it voted; `None` if that is not known: it was not asked, or another coordinator asked it.
    pub vote: Option<Vote>,
    /// What it did, as it said when it was told the decision; `None` if it has not acknowledged.
    pub acknowledged: Option<Decision>,
    /// How often it was told.
    pub attempts: u32,
    /// The last that went wrong, or why it refused.
    pub error: Option<String>,
}

impl Participant {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, vote: None, acknowledged: None, attempts: 0, error: None }
    }
}

impl Report {
    /// What happened at the participant of this name.
    pub fn participant(&self, name: &str) -> Option<&Participant> {
        self.participants.iter().find(|participant| &*participant.name == name)
    }

    /// The participants that have not acknowledged the decision.
    pub fn outstanding(&self) -> impl Iterator<Item = &Participant> {
        self.participants.iter().filter(|participant| participant.acknowledged.is_none())
    }
}

impl fmt::Display for Report {
    /// A line for the transaction, and one for each participant.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.outcome)?;
        if !self.finished {
            f.write_str(", to be continued")?;
        }
        if let Some(error) = &self.error {
            write!(f, " ({error})")?;
        }
        for participant in &self.participants {
            write!(f, "\n  {participant}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, vote, acknowledged, attempts, error } = self;
        let vote = match vote {
            Some(Vote::Yes) => "prepared",
            Some(Vote::No) => "not prepared",
            None => "vote not known",
        };
        let done = match acknowledged {
            Some(Decision::Commit) => "committed",
            Some(Decision::Abort) => "aborted",
            None => "has not acknowledged",
        };
        write!(f, "{name}: {vote}, {done}")?;
        if *attempts > 1 {
            write!(f, ", told {attempts} times")?;
        }
        match error {
            Some(error) => write!(f, " ({error})"),
            None => Ok(()),
        }
    }
}

/// Why a transaction was not even tried. Nobody was asked to do anything.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The id was used before. An id is never used twice, not even after an abort.
    Duplicate {
        /// The id.
        id: String,
    },
    /// The coordinator knows no participant of this name.
    NoSuchParticipant {
        /// The name.
        name: Arc<str>,
    },
    /// There are two payloads for one participant.
    Repeated {
        /// The name.
        name: Arc<str>,
    },
    /// There are more participants than [`MOST`](super::protocol::MOST).
    TooMany {
        /// How many.
        participants: usize,
    },
    /// A payload cannot be put into bytes.
    Unwritable {
        /// What serde says.
        message: String,
    },
    /// The transaction could not be entered in the log.
    Store(StoreError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { id } => write!(f, "the transaction id `{id}` was used before"),
            Self::NoSuchParticipant { name } => write!(f, "no participant `{name}` is known"),
            Self::Repeated { name } => write!(f, "participant `{name}` has two payloads"),
            Self::TooMany { participants } => {
                let most = super::protocol::MOST;
                write!(f, "{participants} participants, where {most} are allowed")
            }
            Self::Unwritable { message } => write!(f, "a payload cannot be recorded: {message}"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}
