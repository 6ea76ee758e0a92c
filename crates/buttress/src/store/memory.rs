//! A store that is gone with the process.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use super::{
    Append, Audit, Begin, Begun, Claim, Damage, Entry, Finding, Found, Head, Lease, Life, Now,
    Pending, Pruned, Record, Retention, Sealed, Settled, StepId, Store, StoreError, Summary,
    Ticket, Version, WorkflowId,
    ledger::{self, Decided, Slot, Written},
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
    retention: Retention,
    opened: Instant,
    /// Milliseconds since 1970 when it was opened: from then on tokio's clock counts, which tests move.
    wall: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    workflows: BTreeMap<WorkflowId, Workflow>,
    epoch: u64,
}

struct Workflow {
    head: Head,
    records: BTreeMap<u64, Vec<u8>>,
    steps: HashMap<StepId, u64>,
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
            retention,
            opened: Instant::now(),
            wall: millis(wall),
            kept: Mutex::default(),
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
        decide: impl FnOnce(Option<Head>, Slot, Now, u64) -> Result<Decided<T>, StoreError>,
    ) -> Result<T, StoreError> {
        self.lock().decide(workflow, step, self.now(), &self.shared.retention, decide)
    }
}

impl Kept {
    fn decide<T>(
        &mut self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
        now: Now,
        retention: &Retention,
        decide: impl FnOnce(Option<Head>, Slot, Now, u64) -> Result<Decided<T>, StoreError>,
    ) -> Result<T, StoreError> {
        let entry = self.workflows.get(workflow);
        let slot = match (entry, step) {
            (Some(entry), Some(step)) => entry.slot(workflow, step),
            _ => Slot::Empty,
        };
        let next = self.epoch + 1;
        let head = entry.map(|entry| entry.head.clone());
        let Decided { reply, head, record, expired } = decide(head, slot, now, next)?;
        if let Some(head) = head {
            self.epoch = self.epoch.max(head.epoch).max(head.born);
            let entry = self.put(head);
            if let Some(written) = record {
                entry.write(written);
            }
            for version in expired {
                entry.expire(version, workflow, retention);
            }
        }
        Ok(reply)
    }

    fn put(&mut self, head: Head) -> &mut Workflow {
        let workflow = head.workflow.clone();
        let entry = self.workflows.entry(workflow).or_insert_with(|| Workflow {
            head: head.clone(),
            records: BTreeMap::new(),
            steps: HashMap::new(),
        });
        entry.head = head;
        entry
    }
}

impl Workflow {
    fn slot(&self, workflow: &WorkflowId, step: &StepId) -> Slot {
        let Some(&version) = self.steps.get(step) else { return Slot::Empty };
        let opened = match self.records.get(&version) {
            Some(bytes) => Record::open_at(bytes, workflow, version),
            None => Err(Damage::Missing),
        };
        match opened {
            Ok(record) if record.step == *step => Slot::Intact(record),
            Ok(_) => Slot::Damaged { version, damage: Damage::Misplaced },
            Err(damage) => Slot::Damaged { version, damage },
        }
    }

    fn write(&mut self, Written { sealed, bytes }: Written) {
        self.steps.insert(sealed.record.step, sealed.record.version);
        self.records.insert(sealed.record.version, bytes);
    }

    fn expire(&mut self, version: u64, workflow: &WorkflowId, retention: &Retention) {
        let Some(bytes) = self.records.get(&version) else { return };
        // What cannot be read may be the newest of its step.
        if let Ok(record) = Record::open_at(bytes, workflow, version)
            && ledger::expires(&record, self.steps.get(&record.step).copied(), retention)
        {
            self.records.remove(&version);
        }
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

fn missing(workflow: &WorkflowId, version: Option<u64>) -> StoreError {
    StoreError::NotFound { workflow: workflow.clone(), version }
}

impl Store for MemoryStore {
    fn acquire<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Lease> {
        lazy(move || {
            self.decide(workflow, None, |head, _, now, next| {
                ledger::acquire(head, workflow, owner, ttl, now, next)
            })
        })
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> Pending<'a, Lease> {
        lazy(move || {
            self.decide(&lease.workflow, None, |head, _, now, _| {
                ledger::renew(head, lease, ttl, now)
            })
        })
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> Pending<'a, ()> {
        lazy(move || {
            self.decide(&lease.workflow, None, |head, _, _, _| Ok(ledger::release(head, lease)))
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
            let now = self.now();
            let heads = kept.workflows.values().map(|entry| &entry.head);
            let free = heads
                .filter(|head| {
                    &*head.workflow.namespace == namespace && ledger::claimable(head, now)
                })
                .min_by_key(|head| head.touched);
            let Some(workflow) = free.map(|head| head.workflow.clone()) else { return Ok(None) };
            kept.decide(&workflow, None, now, &self.shared.retention, |head, _, now, next| {
                ledger::claim(head, owner, ttl, now, next)
            })
        })
    }

    fn begin<'a>(&'a self, begin: &'a Begin) -> Pending<'a, Begun> {
        lazy(move || {
            self.decide(&begin.workflow, Some(&begin.step), |head, slot, now, next| {
                ledger::begin(head, slot, begin, now, next)
            })
        })
    }

    fn complete<'a>(&'a self, ticket: &'a Ticket, entry: Entry) -> Pending<'a, Settled> {
        lazy(move || {
            self.decide(&ticket.workflow, Some(&ticket.step), |head, slot, now, next| {
                ledger::complete(head, slot, ticket, entry, now, next, &self.shared.retention)
            })
        })
    }

    fn append(&self, append: Append) -> Pending<'_, Sealed> {
        lazy(move || {
            let (workflow, step) = (append.workflow.clone(), append.step.clone());
            self.decide(&workflow, Some(&step), |head, slot, now, next| {
                ledger::append(head, slot, append, now, next, &self.shared.retention)
            })
        })
    }

    fn finish<'a>(&'a self, workflow: &'a WorkflowId, claim: &'a Claim) -> Pending<'a, ()> {
        lazy(move || {
            self.decide(workflow, None, |head, _, now, next| {
                ledger::finish(head, workflow, claim, now, next)
            })
        })
    }

    fn latest<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        step: Option<&'a StepId>,
    ) -> Pending<'a, Option<Found>> {
        lazy(move || {
            let kept = self.lock();
            let Some(entry) = kept.workflows.get(workflow) else { return Ok(None) };
            let newest = match step {
                Some(step) => entry.steps.get(step).copied().unwrap_or(0),
                None if entry.head.life == Life::Deleted => 0,
                None => entry.head.latest,
            };
            if newest == 0 {
                return Ok(None);
            }
            let records =
                entry.records.range(..=newest).rev().map(|(at, bytes)| (*at, bytes.clone()));
            ledger::latest(workflow, step, newest, records).map(Some)
        })
    }

    fn get<'a>(&'a self, workflow: &'a WorkflowId, version: u64) -> Pending<'a, Sealed> {
        lazy(move || {
            let kept = self.lock();
            let bytes = kept.workflows.get(workflow).and_then(|entry| entry.records.get(&version));
            match bytes {
                None => Err(missing(workflow, Some(version))),
                Some(bytes) => Record::open_at(bytes, workflow, version).map_err(|damage| {
                    StoreError::Corrupt {
                        workflow: workflow.clone(),
                        version: Some(version),
                        damage,
                    }
                }),
            }
        })
    }

    fn history<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        after: u64,
        most: usize,
    ) -> Pending<'a, Vec<Version>> {
        lazy(move || {
            let kept = self.lock();
            let entry = kept.workflows.get(workflow).ok_or_else(|| missing(workflow, None))?;
            let records = entry.records.range((Bound::Excluded(after), Bound::Unbounded));
            let open = |(version, bytes): (&u64, &Vec<u8>)| match Record::open_at(
                bytes, workflow, *version,
            ) {
                Ok(record) => Version::Intact(record),
                Err(damage) => Version::Damaged(Finding { version: *version, damage }),
            };
            Ok(records.take(most).map(open).collect())
        })
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
            let now = self.now();
            let source = kept.workflows.get(from).ok_or_else(|| missing(from, None))?;
            let records = source
                .records
                .iter()
                .filter_map(|(at, bytes)| Record::open_at(bytes, from, *at).ok());
            let target = kept.workflows.get(to).map(|entry| entry.head.clone());
            let next = kept.epoch + 1;
            let (head, written) = ledger::fork(target, &source.head, at, to, records, now, next)?;
            kept.epoch = next;
            let summary = Summary::of(&head, now);
            let entry = kept.put(head);
            written.into_iter().for_each(|written| entry.write(written));
            Ok(summary)
        })
    }

    fn delete<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, ()> {
        lazy(move || {
            let mut kept = self.lock();
            let (now, retention) = (self.now(), &self.shared.retention);
            kept.decide(workflow, None, now, retention, |head, _, now, next| {
                ledger::delete(head, workflow, now, next)
            })?;
            if let Some(entry) = kept.workflows.get_mut(workflow) {
                entry.records.clear();
                entry.steps.clear();
            }
            Ok(())
        })
    }

    fn prune<'a>(&'a self, namespace: Option<&'a str>) -> Pending<'a, Pruned> {
        lazy(move || {
            let mut kept = self.lock();
            let now = self.now();
            let mut pruned = Pruned::default();
            kept.workflows.retain(|id, entry| {
                let goes = namespace.is_none_or(|namespace| &*id.namespace == namespace)
                    && entry.head.outlived(&self.shared.retention, now);
                pruned.workflows += u64::from(goes);
                pruned.records += if goes { entry.records.len() as u64 } else { 0 };
                !goes
            });
            Ok(pruned)
        })
    }

    fn verify<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Audit> {
        lazy(move || {
            let kept = self.lock();
            let entry = kept.workflows.get(workflow).ok_or_else(|| missing(workflow, None))?;
            let records = entry.records.iter().map(|(at, bytes)| (*at, bytes.clone()));
            let steps = entry.steps.iter().map(|(step, at)| (step.clone(), *at));
            Ok(ledger::audit(&entry.head, records, steps))
        })
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("workflows", &self.lock().workflows.len()).finish()
    }
}
