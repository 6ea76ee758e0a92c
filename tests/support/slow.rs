//! A store that takes its time: it can be given up before and after it has done something.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::store::{
    Append, Audit, Begin, Begun, Claim, Entry, Found, Lease, MemoryStore, Pending, Pruned, Sealed,
    Settled, StepId, Store, StoreError, Summary, Ticket, TroubleKind, Version, WorkflowId,
};
use tokio::task::yield_now;

/// Every operation is pending once before it is done and once after.
#[derive(Clone, Debug)]
pub(crate) struct SlowStore {
    pub(crate) memory: MemoryStore,
    refusals: Arc<AtomicU32>,
}

impl SlowStore {
    pub(crate) fn new() -> Self {
        Self { memory: MemoryStore::new(), refusals: Arc::default() }
    }

    /// The next so many outcomes are not written.
    pub(crate) fn refuse(&self, outcomes: u32) {
        self.refusals.store(outcomes, Ordering::Relaxed);
    }
}

macro_rules! slowly {
    ($operation:expr) => {
        Box::pin(async move {
            yield_now().await;
            let result = $operation.await;
            yield_now().await;
            result
        })
    };
}

impl Store for SlowStore {
    fn acquire<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Lease> {
        slowly!(self.memory.acquire(workflow, owner, ttl))
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> Pending<'a, Lease> {
        slowly!(self.memory.renew(lease, ttl))
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> Pending<'a, ()> {
        slowly!(self.memory.release(lease))
    }

    fn claim<'a>(
        &'a self,
        namespace: &'a str,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Option<Lease>> {
        slowly!(self.memory.claim(namespace, owner, ttl))
    }

    fn begin<'a>(&'a self, begin: &'a Begin) -> Pending<'a, Begun> {
        slowly!(self.memory.begin(begin))
    }

    fn complete<'a>(&'a self, ticket: &'a Ticket, entry: Entry) -> Pending<'a, Settled> {
        Box::pin(async move {
            yield_now().await;
            let less = |left: u32| left.checked_sub(1);
            if self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
                return Err(StoreError::engine(TroubleKind::Unreachable, "out of reach", None));
            }
            let result = self.memory.complete(ticket, entry).await;
            yield_now().await;
            result
        })
    }

    fn append(&self, append: Append) -> Pending<'_, Sealed> {
        slowly!(self.memory.append(append))
    }

    fn finish<'a>(&'a self, workflow: &'a WorkflowId, claim: &'a Claim) -> Pending<'a, ()> {
        slowly!(self.memory.finish(workflow, claim))
    }

    fn latest<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        step: Option<&'a StepId>,
    ) -> Pending<'a, Option<Found>> {
        slowly!(self.memory.latest(workflow, step))
    }

    fn get<'a>(&'a self, workflow: &'a WorkflowId, version: u64) -> Pending<'a, Sealed> {
        slowly!(self.memory.get(workflow, version))
    }

    fn history<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        after: u64,
        most: usize,
    ) -> Pending<'a, Vec<Version>> {
        slowly!(self.memory.history(workflow, after, most))
    }

    fn list<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>> {
        slowly!(self.memory.list(namespace, after, most))
    }

    fn summary<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Option<Summary>> {
        slowly!(self.memory.summary(workflow))
    }

    fn fork<'a>(
        &'a self,
        from: &'a WorkflowId,
        at: u64,
        to: &'a WorkflowId,
    ) -> Pending<'a, Summary> {
        slowly!(self.memory.fork(from, at, to))
    }

    fn delete<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, ()> {
        slowly!(self.memory.delete(workflow))
    }

    fn prune<'a>(&'a self, namespace: Option<&'a str>) -> Pending<'a, Pruned> {
        slowly!(self.memory.prune(namespace))
    }

    fn verify<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Audit> {
        slowly!(self.memory.verify(workflow))
    }
}
