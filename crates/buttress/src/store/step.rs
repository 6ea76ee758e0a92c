//! What is asked about a step, and answered.

use std::{sync::Arc, time::Duration};

use super::{Damage, Digest, IdempotencyKey, Payload, Sealed, Status, StepId, WorkflowId};

/// By what right somebody writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Without a lease: the first outcome that is written counts.
    Shared,
    /// By taking the lease in the same operation, or keeping it.
    Take {
        /// Who.
        owner: Arc<str>,
        /// For how long.
        ttl: Duration,
    },
    /// By a lease that is held.
    Held {
        /// Its epoch.
        epoch: u64,
    },
}

/// What a ticket holds its outcome to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// The lease of this epoch must not be over.
    Epoch(u64),
    /// The workflow must be the one of this birth, if there was one.
    Born(Option<u64>),
}

/// A step to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The workflow.
    pub workflow: WorkflowId,
    /// The step.
    pub step: StepId,
    /// The digest of the request.
    pub fingerprint: Digest,
    /// By what right.
    pub claim: Claim,
    /// Whether to write the intent first: for steps with an effect.
    pub intent: bool,
    /// The version of a pending intent, or of a damaged outcome, that is known to be nobody's any more: the
    /// step is begun again in its place.
    pub restart: Option<u64>,
    /// A number that nobody else gives, carried by the [intent](super::Record::mark): by it one who did not get the
    /// answer knows it again.
    pub mark: Option<u64>,
}

/// What became of a step so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nothing, for certain, and it may be done now.
    Fresh(Ticket),
    /// It was done.
    Completed {
        /// Its outcome.
        record: Sealed,
    },
    /// It failed for good.
    Failed {
        /// Its outcome.
        record: Sealed,
    },
    /// It was begun, and has no outcome: it runs under the same lease, or it is in doubt.
    Pending {
        /// The intent.
        record: Sealed,
        /// The key that it was, and would be, done with.
        key: IdempotencyKey,
    },
    /// Its outcome is damaged: in doubt.
    Damaged {
        /// The version of the outcome.
        version: u64,
        /// What is wrong with it.
        damage: Damage,
        /// The key that it was, and would be, done with.
        key: IdempotencyKey,
    },
    /// It was begun or done with another request.
    Mismatch {
        /// What was recorded.
        record: Sealed,
    },
}

/// The right to write the outcome of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The workflow.
    pub workflow: WorkflowId,
    /// The step.
    pub step: StepId,
    /// The digest of the request.
    pub fingerprint: Digest,
    /// Which attempt at the step this is, from 1.
    pub attempt: u32,
    /// What the outcome is held to.
    pub fence: Fence,
    /// The version of the intent, if one was written.
    pub intent: Option<u64>,
    /// The version of a damaged record of the step, which is done as if there were none.
    pub damaged: Option<u64>,
    /// The key for the tool.
    pub key: IdempotencyKey,
}

/// What is to be written of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it says.
    pub status: Status,
    /// What it carries.
    pub payload: Payload,
    /// Whether the workflow ends with it.
    pub finish: bool,
}

impl Entry {
    /// The result of a step.
    pub const fn done(payload: Payload) -> Self {
        Self { status: Status::Done, payload, finish: false }
    }

    /// Why a step failed for good.
    pub const fn failed(payload: Payload) -> Self {
        Self { status: Status::Failed, payload, finish: false }
    }

    /// Nothing came of a step that was begun, and that is certain: nobody needs to doubt.
    pub fn withdrawn() -> Self {
        Self { status: Status::Withdrawn, payload: Payload::default(), finish: false }
    }

    /// A version of a state.
    pub const fn state(payload: Payload) -> Self {
        Self { status: Status::State, payload, finish: false }
    }

    /// The same, and the workflow ends with it.
    #[must_use]
    pub fn finish(mut self) -> Self {
        self.finish = true;
        self
    }
}

/// The outcome of a step that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The record.
    pub record: Sealed,
    /// Whether it is the one just written, and not an earlier one.
    pub ours: bool,
}

/// A version of a state to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The workflow.
    pub workflow: WorkflowId,
    /// What it is the state of.
    pub step: StepId,
    /// By what right.
    pub claim: Claim,
    /// The newest version of the step, damaged or not, that must not have been followed by another; 0
    /// for none, `None` to add whatever there is.
    pub expect: Option<u64>,
    /// The version that this one was made from.
    pub parent: Option<u64>,
    /// A digest of the owner's choice.
    pub fingerprint: Digest,
    /// What to write.
    pub entry: Entry,
}
