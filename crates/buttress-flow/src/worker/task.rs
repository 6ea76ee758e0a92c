use std::fmt;

use buttress::store::{Journal, Payload, WorkflowId};
use serde::de::DeserializeOwned;

use super::{WorkError, paper};

/// A workflow that a worker has taken up, as its handler sees it.
#[derive(Clone)]
pub struct Task {
    pub(super) workflow: WorkflowId,
    pub(super) journal: Journal,
    pub(super) input: Option<Payload>,
    pub(super) attempt: u32,
}

impl Task {
    /// The workflow.
    pub const fn workflow(&self) -> &WorkflowId {
        &self.workflow
    }

    /// The name under which it was submitted.
    pub fn id(&self) -> &str {
        &self.workflow.workflow
    }

    /// Which attempt this is, from 1. Those that a shutdown cut short do not count.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The writer for the steps of the workflow: what it writes after the lease was lost is refused by the store.
    ///
    /// For a [`CheckpointLayer`](buttress::CheckpointLayer), a graph, a saga, or whatever else takes a journal.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What the workflow was submitted with.
    ///
    /// # Errors
    /// [`WorkError::NoInput`] of a workflow that was not submitted, [`WorkError::Unreadable`] if
    /// the input is that of another type.
    pub fn input<I: DeserializeOwned>(&self) -> Result<I, WorkError> {
        match &self.input {
            Some(payload) => paper::read("input", payload),
            None => Err(WorkError::NoInput { workflow: self.workflow.clone() }),
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("workflow", &self.workflow)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
