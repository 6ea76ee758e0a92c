//! What happened at each step.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use buttress::{checkpoint::Halt, store::StoreError};
use serde::{Deserialize, Serialize};

use super::plan::{Outcome, Standing};

/// What became of a saga, and of each of its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<S> {
    /// The saga.
    pub id: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The state, with what was kept of each response.
    pub state: S,
    /// The steps, in the order in which they are done.
    pub steps: Vec<StepReport>,
    /// Why it could not go on, if it was [interrupted](Outcome::Interrupted).
    pub error: Option<Halt>,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub standing: Standing,
    /// How often it was asked for, the recorded outcome included, since the saga was last taken up.
    pub attempts: u32,
    /// How often its compensation was, since then.
    pub undo_attempts: u32,
    /// What went wrong last.
    pub error: Option<String>,
}

impl StepReport {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            standing: Standing::NotReached,
            attempts: 0,
            undo_attempts: 0,
            error: None,
        }
    }
}

impl<S> Report<S> {
    /// Whether it is over. If not, it can be [resumed](super::Saga::resume).
    pub const fn finished(&self) -> bool {
        matches!(self.outcome, Outcome::Completed | Outcome::Compensated)
    }

    /// What became of the step of this name: of the first, if there are several.
    pub fn step(&self, name: &str) -> Option<&StepReport> {
        self.steps.iter().find(|step| step.name == name)
    }
}

impl Outcome {
    /// The words for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::InDoubt => "in doubt",
            Self::Stuck => "stuck",
            Self::Interrupted => "interrupted",
        }
    }
}

impl Standing {
    /// The words for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotReached => "not reached",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::InDoubt => "in doubt",
            Self::Compensated => "compensated",
            Self::CompensationStuck => "compensation stuck",
            Self::Stuck => "stuck",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<S> fmt::Display for Report<S> {
    /// A line for the saga, and one for each step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.outcome)?;
        if let Some(error) = &self.error {
            write!(f, " ({error})")?;
        }
        for StepReport { name, standing, attempts, undo_attempts, error } in &self.steps {
            write!(f, "\n  {name}: {standing}")?;
            if *attempts > 1 {
                write!(f, ", asked for {attempts} times")?;
            }
            if *undo_attempts > 1 {
                write!(f, ", its compensation {undo_attempts} times")?;
            }
            if let Some(error) = error {
                write!(f, " ({error})")?;
            }
        }
        Ok(())
    }
}

/// Why a saga was not taken up. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Another process holds it.
    Held {
        /// Who.
        owner: Arc<str>,
        /// When its lease will end, unless it is renewed.
        retry_after: Duration,
    },
    /// This process is at it.
    InFlight,
    /// There is no saga of this id.
    Unknown,
    /// A saga of this id was begun from another state.
    Mismatch,
    /// It was begun when the program had other steps.
    Changed {
        /// Their names then.
        recorded: Vec<String>,
    },
    /// The state cannot be put into bytes.
    Unwritable {
        /// What serde says.
        message: String,
    },
    /// The store failed.
    Store(StoreError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { owner, retry_after } => {
                write!(f, "the saga is held by `{owner}`, retry after {retry_after:.1?}")
            }
            Self::InFlight => f.write_str("the saga is under way in this process"),
            Self::Unknown => f.write_str("no saga of this id was begun"),
            Self::Mismatch => f.write_str("a saga of this id was begun from another state"),
            Self::Changed { recorded } => {
                write!(f, "the saga was begun with the steps {}", recorded.join(", "))
            }
            Self::Unwritable { message } => write!(f, "the state cannot be recorded: {message}"),
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

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
