//! What a store tells of what it keeps.

use std::{sync::Arc, time::Duration};

use super::{Damage, Head, Life, Now, Sealed, WorkflowId};

/// The newest intact record, and what had to be passed over to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The record.
    pub record: Sealed,
    /// The version that is kept as the newest, damaged or not: what [`Append::expect`](super::Append::expect) is compared with.
    pub newest: u64,
    /// Newer versions that are damaged, newest first.
    pub skipped: Vec<Finding>,
}

/// A version in a history.
#[expect(clippy::large_enum_variant, reason = "nearly all are intact")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// It is as it was written.
    Intact(Sealed),
    /// It is not.
    Damaged(Finding),
}

/// What is wrong with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The version.
    pub version: u64,
    /// What is wrong with it.
    pub damage: Damage,
}

/// What a look through a workflow found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// How many records are kept.
    pub records: u64,
    /// What is wrong, oldest first; empty if all is well.
    pub findings: Vec<Finding>,
}

/// What is known of a workflow as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The workflow.
    pub workflow: WorkflowId,
    /// Whether it goes on.
    pub life: Life,
    /// The newest version.
    pub latest: u64,
    /// The epoch of its current or last lease.
    pub epoch: u64,
    /// Who holds it, and for how long yet.
    pub held: Option<(Arc<str>, Duration)>,
    /// How many steps have an intent and no outcome.
    pub pending: u32,
    /// The workflow and version that it was forked from.
    pub forked: Option<(Arc<str>, u64)>,
    /// When it was last written, in milliseconds since 1970.
    pub touched: u64,
}

impl Summary {
    /// What a head tells.
    pub fn of(head: &Head, now: Now) -> Self {
        let held = head.lease.as_ref();
        Self {
            workflow: head.workflow.clone(),
            life: head.life,
            latest: head.latest,
            epoch: head.epoch,
            held: held.and_then(|term| Some((term.owner.clone(), term.left(now)?))),
            pending: head.pending,
            forked: head.forked.clone(),
            touched: head.touched,
        }
    }
}

/// How much was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Workflows.
    pub workflows: u64,
    /// Records of them.
    pub records: u64,
}
