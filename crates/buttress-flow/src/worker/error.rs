use std::{error::Error, fmt};

use buttress::{
    Effect, Fault, Verdict,
    store::{StoreError, WorkflowId},
};

/// What is wrong with a workflow for workers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkError {
    /// The store failed, or there is no such workflow in it.
    Store(StoreError),
    /// A workflow of this name was submitted with another input.
    Conflict {
        /// The workflow.
        workflow: WorkflowId,
    },
    /// The workflow was not submitted: it has no input.
    NoInput {
        /// The workflow.
        workflow: WorkflowId,
    },
    /// What is recorded is intact and cannot be read.
    Unreadable {
        /// What it is.
        what: &'static str,
        /// The codec and the schema version of the record.
        found: (u8, u32),
        /// Why not.
        message: String,
    },
    /// A value cannot be put into bytes.
    Unwritable {
        /// What it is.
        what: &'static str,
        /// Why not.
        message: String,
    },
    /// The workflow failed for good, or was given up.
    Failed {
        /// Why, in the words of the last error.
        message: String,
        /// How many attempts were made.
        attempts: u32,
    },
}

impl fmt::Display for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Conflict { workflow } => {
                write!(f, "workflow `{workflow}` was submitted with another input")
            }
            Self::NoInput { workflow } => write!(f, "workflow `{workflow}` was never submitted"),
            Self::Unreadable { what, found: (codec, schema), message } => write!(
                f,
                "the {what} of the workflow, with codec {codec} and schema {schema}, cannot be read: {message}"
            ),
            Self::Unwritable { what, message } => {
                write!(f, "the {what} of the workflow cannot be recorded: {message}")
            }
            Self::Failed { message, attempts } => {
                write!(f, "the workflow failed at attempt {attempts}: {message}")
            }
        }
    }
}

impl Error for WorkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<StoreError> for WorkError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Fault for WorkError {
    /// What a store says may pass; all else is permanent.
    fn verdict(&self) -> Verdict {
        match self {
            Self::Store(error) => error.verdict(),
            Self::Failed { .. } => Verdict::permanent().with_effect(Effect::Maybe),
            _ => Verdict::permanent().with_effect(Effect::None),
        }
    }
}
