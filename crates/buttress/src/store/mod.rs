//! Where state rests: the operations of a store, and what is kept in it.
//!
//! A [`Store`] keeps, for each [workflow](WorkflowId), a history of sealed [records](Record): the intent
//! to do a step, its outcome, versions of a state. Each operation is atomic and, when it is answered,
//! durable. [`MemoryStore`] is for tests and for what need not outlive the process; the crate
//! `buttress-store` has one in a file and one on PostgreSQL, and a suite that any other can be held to.
//!
//! # Who may write
//! A workflow has at most one owner at a time, by a [lease](Lease) with an epoch. Whoever was followed by
//! another is *fenced*: every write under the old epoch is refused, however late it comes. Steps that
//! may safely be done twice are written without a lease; there the first outcome that is written is
//! the outcome for all.
//!
//! # What is found when something rots
//! Every record carries SHA-256 over its stored bytes and the digest of the version before it. The
//! newest *intact* version is what is [latest](Store::latest); each one skipped is told. A damaged
//! outcome makes its step in doubt, not fresh: its effect did happen.
//!
//! Requires the feature `serde`.

mod error;
mod head;
mod id;
mod journal;
mod keeper;
pub mod ledger;
mod memory;
mod record;
mod tenure;

use std::{fmt, future::Future, num::NonZeroU64, pin::Pin, sync::Arc, time::Duration};

pub(crate) use self::keeper::unanswered;
pub use self::{
    error::{StoreError, Trouble, TroubleKind},
    head::{Head, Life, Now, Term},
    id::{Digest, IdempotencyKey, NotADigest, StepId, WorkflowId},
    journal::{Journal, Occupied, Place},
    keeper::{Keeper, Kept},
    memory::MemoryStore,
    record::{Damage, Payload, Record, Sealed, Status},
    tenure::Tenure,
};

/// The longest name of a namespace, a workflow, a step or an owner, in bytes.
pub const MAX_NAME: usize = 512;

/// The longest payload of a record, in bytes: 64 MiB.
pub const MAX_PAYLOAD: usize = 64 << 20;

/// What an operation of a store returns: boxed, so that stores can be exchanged at run time.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps the histories of workflows. See the [module](self).
///
/// Each method is one atomic operation, durable when it returns. Dropping a future before it is ready
/// leaves the operation either done or not done, never half.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Takes the lease of a workflow, which comes into being if there is none.
    ///
    /// One that is held by another is [`StoreError::Held`]. The epoch is greater than any before, unless
    /// the same owner takes again what nobody took in between.
    fn acquire<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Lease>;

    /// Makes a lease last for `ttl` from now; [`StoreError::Fenced`] if somebody else took the workflow.
    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> Pending<'a, Lease>;

    /// Gives a lease back. It is no error if it was lost before.
    fn release<'a>(&'a self, lease: &'a Lease) -> Pending<'a, ()>;

    /// Takes the lease of some open workflow of the namespace that nobody holds, longest untouched first, with
    /// a new epoch: what an owner let run out it does not get back as it was.
    fn claim<'a>(
        &'a self,
        namespace: &'a str,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Option<Lease>>;

    /// Begins a step: says what became of it so far, or writes the intent to do it.
    fn begin<'a>(&'a self, begin: &'a Begin) -> Pending<'a, Begun>;

    /// Writes the outcome of a step, and returns the one that counts: the first that was written.
    ///
    /// An [intent that is withdrawn](Entry::withdrawn) is no outcome: the step is fresh again.
    fn complete<'a>(&'a self, ticket: &'a Ticket, entry: Entry) -> Pending<'a, Settled>;

    /// Adds a version of a state; [`StoreError::Stale`] if the newest is not the expected one.
    ///
    /// The name of a step is refused: its outcome would be forgotten.
    fn append(&self, append: Append) -> Pending<'_, Sealed>;

    /// Marks a workflow as ended, and gives back the lease by which that is done; another's stays.
    ///
    /// Whoever writes under a lease afterwards takes it up again; an outcome that comes late without one
    /// does not.
    fn finish<'a>(&'a self, workflow: &'a WorkflowId, claim: &'a Claim) -> Pending<'a, ()>;

    /// The newest intact record of a step, or of the workflow.
    fn latest<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        step: Option<&'a StepId>,
    ) -> Pending<'a, Option<Found>>;

    /// One version; [`StoreError::NotFound`] or [`StoreError::Corrupt`] if there is none to be had.
    fn get<'a>(&'a self, workflow: &'a WorkflowId, version: u64) -> Pending<'a, Sealed>;

    /// Up to `most` versions after `after`, oldest first, damaged ones included.
    fn history<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        after: u64,
        most: usize,
    ) -> Pending<'a, Vec<Version>>;

    /// Up to `most` workflows in the order of their names after `after`, of one namespace or of all.
    fn list<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>>;

    /// Up to `most` workflows of a namespace that go on, in the order of their names after `after`.
    ///
    /// Those of [`list`](Self::list) whose life is open. Where many have ended, a store should not look at them: this
    /// one does, page by page.
    fn unfinished<'a>(
        &'a self,
        namespace: &'a str,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>> {
        const PAGE: usize = 256;
        Box::pin(async move {
            let (mut open, mut after) = (Vec::new(), after.cloned());
            while open.len() < most {
                let page = self.list(Some(namespace), after.as_ref(), PAGE).await?;
                let last = page.len() < PAGE;
                after = page.last().map(|summary| summary.workflow.clone());
                open.extend(page.into_iter().filter(|summary| summary.life == Life::Open));
                if last {
                    break;
                }
            }
            open.truncate(most);
            Ok(open)
        })
    }

    /// What is known of a workflow as a whole, `None` if there is none.
    fn summary<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Option<Summary>>;

    /// Copies a workflow, as it was at a version, to a new one with idempotency keys of its own.
    ///
    /// What was done is done in the copy. A step in doubt is not begun there, nor one whose outcome is
    /// damaged, and would be done under another key: make sure that this is wanted.
    /// [`StoreError::Corrupt`] if the version is damaged; [`StoreError::NotFound`] too if a state that was
    /// the newest then may have been dropped since.
    fn fork<'a>(
        &'a self,
        from: &'a WorkflowId,
        at: u64,
        to: &'a WorkflowId,
    ) -> Pending<'a, Summary>;

    /// Deletes a workflow with its history. Writers that come late are refused, and its name is not free
    /// before it is [pruned](Self::prune).
    fn delete<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, ()>;

    /// Removes workflows that are older than the retention of the store allows, of one namespace or of all.
    fn prune<'a>(&'a self, namespace: Option<&'a str>) -> Pending<'a, Pruned>;

    /// Looks through all that is kept of a workflow.
    fn verify<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Audit>;
}

/// The right to write a workflow for some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The workflow.
    pub workflow: WorkflowId,
    /// The fence: what is written under an older epoch is refused.
    pub epoch: u64,
    /// Who holds it.
    pub owner: Arc<str>,
    /// For how long, from the time before it was asked for.
    pub ttl: Duration,
}

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

/// The newest intact record, and what had to be passed over to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The record.
    pub record: Sealed,
    /// The version that is kept as the newest, damaged or not: what [`Append::expect`] is compared with.
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

/// How much is kept.
///
/// Versions are dropped as new ones are written; workflows when the store is [pruned](Store::prune). The newest
/// record of every step stays as long as its workflow, so what was done is never done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many of the newest versions of a workflow are kept; 32 by default.
    pub versions: NonZeroU64,
    /// Whether failures are kept beyond that; they are by default.
    pub failures: bool,
    /// How long ended and deleted workflows are kept; 30 days by default, `None` for ever.
    pub ended: Option<Duration>,
    /// How long workflows are kept that were neither ended nor written to, and have no step in doubt;
    /// 90 days by default, `None` for ever.
    pub open: Option<Duration>,
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

impl Default for Retention {
    fn default() -> Self {
        const VERSIONS: NonZeroU64 = NonZeroU64::new(32).expect("32 is not 0");
        Self { versions: VERSIONS, failures: true, ended: Some(30 * DAY), open: Some(90 * DAY) }
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn acquire<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Lease> {
        (**self).acquire(workflow, owner, ttl)
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> Pending<'a, Lease> {
        (**self).renew(lease, ttl)
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> Pending<'a, ()> {
        (**self).release(lease)
    }

    fn claim<'a>(
        &'a self,
        namespace: &'a str,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Option<Lease>> {
        (**self).claim(namespace, owner, ttl)
    }

    fn begin<'a>(&'a self, begin: &'a Begin) -> Pending<'a, Begun> {
        (**self).begin(begin)
    }

    fn complete<'a>(&'a self, ticket: &'a Ticket, entry: Entry) -> Pending<'a, Settled> {
        (**self).complete(ticket, entry)
    }

    fn append(&self, append: Append) -> Pending<'_, Sealed> {
        (**self).append(append)
    }

    fn finish<'a>(&'a self, workflow: &'a WorkflowId, claim: &'a Claim) -> Pending<'a, ()> {
        (**self).finish(workflow, claim)
    }

    fn latest<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        step: Option<&'a StepId>,
    ) -> Pending<'a, Option<Found>> {
        (**self).latest(workflow, step)
    }

    fn get<'a>(&'a self, workflow: &'a WorkflowId, version: u64) -> Pending<'a, Sealed> {
        (**self).get(workflow, version)
    }

    fn history<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        after: u64,
        most: usize,
    ) -> Pending<'a, Vec<Version>> {
        (**self).history(workflow, after, most)
    }

    fn list<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>> {
        (**self).list(namespace, after, most)
    }

    fn unfinished<'a>(
        &'a self,
        namespace: &'a str,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>> {
        (**self).unfinished(namespace, after, most)
    }

    fn summary<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Option<Summary>> {
        (**self).summary(workflow)
    }

    fn fork<'a>(
        &'a self,
        from: &'a WorkflowId,
        at: u64,
        to: &'a WorkflowId,
    ) -> Pending<'a, Summary> {
        (**self).fork(from, at, to)
    }

    fn delete<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, ()> {
        (**self).delete(workflow)
    }

    fn prune<'a>(&'a self, namespace: Option<&'a str>) -> Pending<'a, Pruned> {
        (**self).prune(namespace)
    }

    fn verify<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Audit> {
        (**self).verify(workflow)
    }
}
