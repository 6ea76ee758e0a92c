//! A store that takes its time, and whose answers get lost.

use std::{
    collections::VecDeque,
    fmt,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress::store::{
    Append, Audit, Begin, Begun, Claim, Entry, Found, Lease, MemoryStore, Pending, Pruned, Sealed,
    Settled, StepId, Store, StoreError, Summary, Ticket, TroubleKind, Version, WorkflowId,
};
use tokio::time::sleep;

/// What becomes of an append.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    /// It is not done.
    Refuses,
    /// It is done, and the answer is lost.
    Forgets,
    /// It is done twice as late, whoever waits for it or not, and never answered.
    Lingers,
}

#[derive(Clone)]
pub(crate) struct Moody {
    pub(crate) inner: MemoryStore,
    /// How long an append takes.
    pub(crate) takes: Duration,
    /// For the appends to come; all is well when there are no more.
    pub(crate) moods: Arc<Mutex<VecDeque<Mood>>>,
}

impl Moody {
    pub(crate) fn new(takes: Duration) -> Self {
        Self { inner: MemoryStore::new(), takes, moods: Arc::default() }
    }

    pub(crate) fn expect(&self, moods: impl IntoIterator<Item = Mood>) {
        self.moods.lock().unwrap().extend(moods);
    }
}

impl fmt::Debug for Moody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

fn away() -> StoreError {
    StoreError::engine(TroubleKind::Unreachable, "the server is away", None)
}

impl Store for Moody {
    fn append(&self, append: Append) -> Pending<'_, Sealed> {
        let mood = self.moods.lock().unwrap().pop_front();
        if let Some(Mood::Lingers) = mood {
            let Self { inner, takes, .. } = self.clone();
            tokio::spawn(async move {
                sleep(2 * takes).await;
                inner.append(append).await
            });
            return Box::pin(pending());
        }
        Box::pin(async move {
            sleep(self.takes).await;
            if let Some(Mood::Refuses) = mood {
                return Err(away());
            }
            let sealed = self.inner.append(append).await?;
            match mood {
                Some(_) => Err(away()),
                None => Ok(sealed),
            }
        })
    }

    fn acquire<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Lease> {
        self.inner.acquire(workflow, owner, ttl)
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> Pending<'a, Lease> {
        self.inner.renew(lease, ttl)
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> Pending<'a, ()> {
        self.inner.release(lease)
    }

    fn claim<'a>(
        &'a self,
        namespace: &'a str,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Option<Lease>> {
        self.inner.claim(namespace, owner, ttl)
    }

    fn begin<'a>(&'a self, begin: &'a Begin) -> Pending<'a, Begun> {
        self.inner.begin(begin)
    }

    fn complete<'a>(&'a self, ticket: &'a Ticket, entry: Entry) -> Pending<'a, Settled> {
        self.inner.complete(ticket, entry)
    }

    fn finish<'a>(&'a self, workflow: &'a WorkflowId, claim: &'a Claim) -> Pending<'a, ()> {
        self.inner.finish(workflow, claim)
    }

    fn latest<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        step: Option<&'a StepId>,
    ) -> Pending<'a, Option<Found>> {
        self.inner.latest(workflow, step)
    }

    fn get<'a>(&'a self, workflow: &'a WorkflowId, version: u64) -> Pending<'a, Sealed> {
        self.inner.get(workflow, version)
    }

    fn history<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        after: u64,
        most: usize,
    ) -> Pending<'a, Vec<Version>> {
        self.inner.history(workflow, after, most)
    }

    fn list<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>> {
        self.inner.list(namespace, after, most)
    }

    fn summary<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Option<Summary>> {
        self.inner.summary(workflow)
    }

    fn fork<'a>(
        &'a self,
        from: &'a WorkflowId,
        at: u64,
        to: &'a WorkflowId,
    ) -> Pending<'a, Summary> {
        self.inner.fork(from, at, to)
    }

    fn delete<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, ()> {
        self.inner.delete(workflow)
    }

    fn prune<'a>(&'a self, namespace: Option<&'a str>) -> Pending<'a, Pruned> {
        self.inner.prune(namespace)
    }

    fn verify<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Audit> {
        self.inner.verify(workflow)
    }
}
