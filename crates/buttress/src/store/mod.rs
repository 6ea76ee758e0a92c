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
mod forward;
mod head;
mod id;
mod journal;
mod keeper;
pub mod ledger;
mod memory;
mod place;
mod record;
mod retention;
mod seal;
mod step;
mod summary;
mod tenure;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

pub(crate) use self::keeper::unanswered;
pub use self::{
    error::{StoreError, Trouble, TroubleKind},
    head::{Head, Life, Now, Term},
    id::{Digest, IdempotencyKey, NotADigest, StepId, WorkflowId},
    journal::Journal,
    keeper::{Keeper, Kept},
    memory::MemoryStore,
    place::{Occupied, Place},
    record::{Damage, Payload, Record, Sealed, Status},
    retention::Retention,
    step::{Append, Begin, Begun, Claim, Entry, Fence, Settled, Ticket},
    summary::{Audit, Finding, Found, Pruned, Summary, Version},
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
