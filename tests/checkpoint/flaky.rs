//! A store that takes its time, and fails when told to.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress::store::{
    Append, Audit, Begin, Begun, Claim, Entry, Found, Lease, MemoryStore, Pending, Pruned, Sealed,
    Settled, StepId, Store, StoreError, Summary, Ticket, TroubleKind, Version, WorkflowId,
};
use tokio::task::yield_now;

/// When an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Before it is done.
    Request,
    /// When it was done: the answer does not arrive.
    Answer,
}

/// Pends once before and once after each operation on steps and leases.
#[derive(Clone, Debug)]
pub(super) struct Flaky {
    pub(super) memory: MemoryStore,
    plan: Arc<Mutex<VecDeque<Option<Lost>>>>,
}

impl Flaky {
    pub(super) fn new(memory: MemoryStore) -> Self {
        Self { memory, plan: Arc::default() }
    }

    /// Plans the next operations.
    pub(super) fn plan(&self, plan: impl IntoIterator<Item = Option<Lost>>) {
        self.plan.lock().unwrap().extend(plan);
    }

    fn slowly<'a, T: Send + 'a>(
        &self,
        operation: impl FnOnce() -> Pending<'a, T> + Send + 'a,
    ) -> Pending<'a, T> {
        let lost = self.plan.lock().unwrap().pop_front().flatten();
        Box::pin(async move {
            let away = || Err(StoreError::engine(TroubleKind::Unreachable, "no route", None));
            yield_now().await;
            if lost == Some(Lost::Request) {
                return away();
            }
            let done = operation().await;
            yield_now().await;
            if lost == Some(Lost::Answer) { away() } else { done }
        })
    }
}

impl Store for Flaky {
    fn acquire<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Lease> {
        self.slowly(move || self.memory.acquire(workflow, owner, ttl))
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> Pending<'a, Lease> {
        self.slowly(move || self.memory.renew(lease, ttl))
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> Pending<'a, ()> {
        self.slowly(move || self.memory.release(lease))
    }

    fn claim<'a>(
        &'a self,
        namespace: &'a str,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Option<Lease>> {
        self.slowly(move || self.memory.claim(namespace, owner, ttl))
    }

    fn begin<'a>(&'a self, begin: &'a Begin) -> Pending<'a, Begun> {
        self.slowly(move || self.memory.begin(begin))
    }

    fn complete<'a>(&'a self, ticket: &'a Ticket, entry: Entry) -> Pending<'a, Settled> {
        self.slowly(move || self.memory.complete(ticket, entry))
    }

    fn append(&self, append: Append) -> Pending<'_, Sealed> {
        self.memory.append(append)
    }

    fn finish<'a>(&'a self, workflow: &'a WorkflowId, claim: &'a Claim) -> Pending<'a, ()> {
        self.memory.finish(workflow, claim)
    }

    fn latest<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        step: Option<&'a StepId>,
    ) -> Pending<'a, Option<Found>> {
        self.memory.latest(workflow, step)
    }

    fn get<'a>(&'a self, workflow: &'a WorkflowId, version: u64) -> Pending<'a, Sealed> {
        self.memory.get(workflow, version)
    }

    fn history<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        after: u64,
        most: usize,
    ) -> Pending<'a, Vec<Version>> {
        self.memory.history(workflow, after, most)
    }

    fn list<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>> {
        self.memory.list(namespace, after, most)
    }

    fn summary<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Option<Summary>> {
        self.memory.summary(workflow)
    }

    fn fork<'a>(
        &'a self,
        from: &'a WorkflowId,
        at: u64,
        to: &'a WorkflowId,
    ) -> Pending<'a, Summary> {
        self.memory.fork(from, at, to)
    }

    fn delete<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, ()> {
        self.memory.delete(workflow)
    }

    fn prune<'a>(&'a self, namespace: Option<&'a str>) -> Pending<'a, Pruned> {
        self.memory.prune(namespace)
    }

    fn verify<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Audit> {
        self.memory.verify(workflow)
    }
}
