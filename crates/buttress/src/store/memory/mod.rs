//! A store that is gone with the process.

mod kept;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

pub(in crate::store) use self::kept::Kept;

use super::{
    Append, Audit, Begin, Begun, Claim, Entry, Found, Head, Lease, Now, Pending, Pruned, Retention,
    Sealed, Settled, StepId, Store, StoreError, Summary, Ticket, Version, WorkflowId,
    ledger::{self, Decided, Slot},
};

/// Keeps histories in memory, for tests and for what need not outlive the process.
///
/// It decides by the same code as the durable stores, and keeps the same sealed bytes.
///
/// # Clone
/// Clones are the same store: a clone that outlives the services of a test is the store "after the
/// crash".
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    opened: Instant,
    /// Milliseconds since 1970 when it was opened: from then on tokio's clock counts, which tests move.
    wall: u64,
    kept: Mutex<Kept>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store with the default [`Retention`].
    pub fn new() -> Self {
        Self::with_retention(Retention::default())
    }

    /// An empty store that keeps so much.
    pub fn with_retention(retention: Retention) -> Self {
        #[expect(clippy::disallowed_methods, reason = "read once, for people: see `wall`")]
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let shared = Shared {
            opened: Instant::now(),
            wall: millis(wall),
            kept: Mutex::new(Kept::new(retention)),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Changes the stored bytes of a version, as a failing disk would. Says whether there are any.
    ///
    /// For tests of what happens then.
    pub fn tamper(
        &self,
        workflow: &WorkflowId,
        version: u64,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        self.replace(workflow, version, |bytes| {
            let mut bytes = bytes.to_vec();
            change(&mut bytes);
            Some(bytes)
        })
    }

    /// Puts what is returned for the stored bytes of a version in their place; `None` loses it, as a failing
    /// disk would. Says whether there were any.
    pub fn replace(
        &self,
        workflow: &WorkflowId,
        version: u64,
        change: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> bool {
        let found = {
            let kept = self.lock();
            kept.workflows.get(workflow).and_then(|entry| entry.records.get(&version).cloned())
        };
        // The change is the user's code: not under the lock.
        let Some(changed) = found.map(|bytes: Vec<u8>| change(&bytes)) else { return false };
        let mut kept = self.lock();
        if let Some(entry) = kept.workflows.get_mut(workflow) {
            match changed {
                Some(bytes) => entry.records.insert(version, bytes),
                None => entry.records.remove(&version),
            };
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        let clock = millis(self.shared.opened.elapsed());
        Now { boot: 1, clock, wall: self.shared.wall.saturating_add(clock) }
    }

    /// Decides about a workflow, and a step of it, and keeps what was decided.
    fn decide<T>(
        &self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
        decide: impl FnOnce(Option<Head>, Slot, Now, u64, &Retention) -> Result<Decided<T>, StoreError>,
    ) -> Result<T, StoreError> {
        self.lock().decide(workflow, step, self.now(), decide)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Like every future, it does nothing before it is polled; then there is nothing to wait for.
fn lazy<'a, T: 'a>(
    operation: impl FnOnce() -> Result<T, StoreError> + Send + 'a,
) -> Pending<'a, T> {
    Box::pin(async move { operation() })
}

impl Store for MemoryStore {
    fn acquire<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Lease> {
        lazy(move || {
            self.decide(workflow, None, |head, _, now, next, _| {
                ledger::acquire(head, workflow, owner, ttl, now, next)
            })
        })
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> Pending<'a, Lease> {
        lazy(move || {
            self.decide(&lease.workflow, None, |head, _, now, _, _| {
                ledger::renew(head, lease, ttl, now)
            })
        })
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> Pending<'a, ()> {
        lazy(move || {
            self.decide(&lease.workflow, None, |head, _, _, _, _| Ok(ledger::release(head, lease)))
        })
    }

    fn claim<'a>(
        &'a self,
        namespace: &'a str,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Option<Lease>> {
        lazy(move || {
            let mut kept = self.lock();
            kept.claim(namespace, owner, ttl, self.now())
        })
    }

    fn begin<'a>(&'a self, begin: &'a Begin) -> Pending<'a, Begun> {
        lazy(move || {
            self.decide(&begin.workflow, Some(&begin.step), |head, slot, now, next, _| {
                ledger::begin(head, slot, begin, now, next)
            })
        })
    }

    fn complete<'a>(&'a self, ticket: &'a Ticket, entry: Entry) -> Pending<'a, Settled> {
        lazy(move || {
            self.decide(&ticket.workflow, Some(&ticket.step), |head, slot, now, next, retention| {
                ledger::complete(head, slot, ticket, entry, now, next, retention)
            })
        })
    }

    fn append(&self, append: Append) -> Pending<'_, Sealed> {
        lazy(move || {
            let (workflow, step) = (append.workflow.clone(), append.step.clone());
            self.decide(&workflow, Some(&step), |head, slot, now, next, retention| {
                ledger::append(head, slot, append, now, next, retention)
            })
        })
    }

    fn finish<'a>(&'a self, workflow: &'a WorkflowId, claim: &'a Claim) -> Pending<'a, ()> {
        lazy(move || {
            self.decide(workflow, None, |head, _, now, next, _| {
                ledger::finish(head, workflow, claim, now, next)
            })
        })
    }

    fn latest<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        step: Option<&'a StepId>,
    ) -> Pending<'a, Option<Found>> {
        lazy(move || self.lock().latest(workflow, step))
    }

    fn get<'a>(&'a self, workflow: &'a WorkflowId, version: u64) -> Pending<'a, Sealed> {
        lazy(move || self.lock().get(workflow, version))
    }

    fn history<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        after: u64,
        most: usize,
    ) -> Pending<'a, Vec<Version>> {
        lazy(move || self.lock().history(workflow, after, most))
    }

    fn list<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>> {
        lazy(move || {
            let kept = self.lock();
            let now = self.now();
            let heads = kept.workflows.values().map(|entry| &entry.head);
            let of = |head: &&Head| {
                namespace.is_none_or(|namespace| &*head.workflow.namespace == namespace)
                    && after.is_none_or(|after| head.workflow > *after)
            };
            Ok(heads.filter(of).take(most).map(|head| Summary::of(head, now)).collect())
        })
    }

    fn summary<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Option<Summary>> {
        lazy(move || {
            let kept = self.lock();
            let now = self.now();
            Ok(kept.workflows.get(workflow).map(|entry| Summary::of(&entry.head, now)))
        })
    }

    fn fork<'a>(
        &'a self,
        from: &'a WorkflowId,
        at: u64,
        to: &'a WorkflowId,
    ) -> Pending<'a, Summary> {
        lazy(move || {
            let mut kept = self.lock();
            kept.fork(from, at, to, self.now())
        })
    }

    fn delete<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, ()> {
        lazy(move || {
            let mut kept = self.lock();
            kept.delete(workflow, self.now())
        })
    }

    fn prune<'a>(&'a self, namespace: Option<&'a str>) -> Pending<'a, Pruned> {
        lazy(move || {
            let mut kept = self.lock();
            Ok(kept.prune(namespace, self.now()))
        })
    }

    fn verify<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Audit> {
        lazy(move || self.lock().verify(workflow))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("workflows", &self.lock().workflows.len()).finish()
    }
}
