//! Histories in maps.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use crate::store::{
    Audit, Damage, Finding, Found, Head, Lease, Life, Now, Pruned, Record, Retention, Sealed,
    StepId, StoreError, Summary, Version, WorkflowId,
    ledger::{self, Decided, Newest, Slot, Written},
};

/// All that is kept, for one at a time.
pub(in crate::store) struct Kept {
    pub(in crate::store) workflows: BTreeMap<WorkflowId, Workflow>,
    retention: Retention,
    /// The last epoch that was handed out.
    epoch: u64,
}

pub(in crate::store) struct Workflow {
    pub(in crate::store) head: Head,
    pub(in crate::store) records: BTreeMap<u64, Vec<u8>>,
    pub(in crate::store) steps: HashMap<StepId, Newest>,
}

impl Kept {
    pub(in crate::store) const fn new(retention: Retention) -> Self {
        Self { workflows: BTreeMap::new(), retention, epoch: 0 }
    }

    /// Decides about a workflow, and a step of it, and keeps what was decided.
    pub(in crate::store) fn decide<T>(
        &mut self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
        now: Now,
        decide: impl FnOnce(Option<Head>, Slot, Now, u64, &Retention) -> Result<Decided<T>, StoreError>,
    ) -> Result<T, StoreError> {
        let entry = self.workflows.get(workflow);
        let slot = match (entry, step) {
            (Some(entry), Some(step)) => entry.slot(workflow, step),
            _ => Slot::Empty,
        };
        let (next, retention) = (self.epoch + 1, self.retention);
        let head = entry.map(|entry| entry.head.clone());
        let Decided { reply, head, record, expired } = decide(head, slot, now, next, &retention)?;
        if let Some(head) = head {
            self.epoch = self.epoch.max(head.epoch).max(head.born);
            let entry = self.put(head);
            if let Some(written) = record {
                entry.write(written);
            }
            for version in expired {
                entry.expire(version, workflow, &retention);
            }
        }
        Ok(reply)
    }

    pub(in crate::store) fn claim(
        &mut self,
        namespace: &str,
        owner: &Arc<str>,
        ttl: Duration,
        now: Now,
    ) -> Result<Option<Lease>, StoreError> {
        let heads = self.workflows.values().map(|entry| &entry.head);
        let free = heads
            .filter(|head| &*head.workflow.namespace == namespace && ledger::claimable(head, now))
            .min_by_key(|head| head.touched);
        let Some(workflow) = free.map(|head| head.workflow.clone()) else { return Ok(None) };
        self.decide(&workflow, None, now, |head, _, now, next, _| {
            ledger::claim(head, owner, ttl, now, next)
        })
    }

    pub(in crate::store) fn latest(
        &self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
    ) -> Result<Option<Found>, StoreError> {
        let Some(entry) = self.workflows.get(workflow) else { return Ok(None) };
        let newest = match step {
            Some(step) => entry.steps.get(step).map_or(0, |newest| newest.version),
            None if entry.head.life == Life::Deleted => 0,
            None => entry.head.latest,
        };
        if newest == 0 {
            return Ok(None);
        }
        let records = entry.records.range(..=newest).rev().map(|(at, bytes)| (*at, bytes.clone()));
        ledger::latest(workflow, step, newest, records).map(Some)
    }

    pub(super) fn get(&self, workflow: &WorkflowId, version: u64) -> Result<Sealed, StoreError> {
        let entry = self.workflows.get(workflow);
        let bytes = entry.and_then(|entry| entry.records.get(&version));
        let bytes = bytes.ok_or_else(|| missing(workflow, Some(version)))?;
        Record::open_at(bytes, workflow, version).map_err(|damage| StoreError::Corrupt {
            workflow: workflow.clone(),
            version: Some(version),
            damage,
        })
    }

    pub(super) fn history(
        &self,
        workflow: &WorkflowId,
        after: u64,
        most: usize,
    ) -> Result<Vec<Version>, StoreError> {
        let entry = self.workflows.get(workflow).ok_or_else(|| missing(workflow, None))?;
        let records = entry.records.range((Bound::Excluded(after), Bound::Unbounded));
        let open =
            |(version, bytes): (&u64, &Vec<u8>)| match Record::open_at(bytes, workflow, *version) {
                Ok(record) => Version::Intact(record),
                Err(damage) => Version::Damaged(Finding { version: *version, damage }),
            };
        Ok(records.take(most).map(open).collect())
    }

    pub(in crate::store) fn fork(
        &mut self,
        from: &WorkflowId,
        at: u64,
        to: &WorkflowId,
        now: Now,
    ) -> Result<Summary, StoreError> {
        let source = self.workflows.get(from).ok_or_else(|| missing(from, None))?;
        let records =
            source.records.iter().filter_map(|(at, bytes)| Record::open_at(bytes, from, *at).ok());
        let target = self.workflows.get(to).map(|entry| entry.head.clone());
        let next = self.epoch + 1;
        let (head, written) = ledger::fork(target, &source.head, at, to, records, now, next)?;
        self.epoch = next;
        let summary = Summary::of(&head, now);
        let entry = self.put(head);
        written.into_iter().for_each(|written| entry.write(written));
        Ok(summary)
    }

    pub(in crate::store) fn delete(
        &mut self,
        workflow: &WorkflowId,
        now: Now,
    ) -> Result<(), StoreError> {
        self.decide(workflow, None, now, |head, _, now, next, _| {
            ledger::delete(head, workflow, now, next)
        })?;
        if let Some(entry) = self.workflows.get_mut(workflow) {
            entry.records.clear();
            entry.steps.clear();
        }
        Ok(())
    }

    pub(in crate::store) fn prune(&mut self, namespace: Option<&str>, now: Now) -> Pruned {
        let mut pruned = Pruned::default();
        self.workflows.retain(|id, entry| {
            let goes = namespace.is_none_or(|namespace| &*id.namespace == namespace)
                && entry.head.outlived(&self.retention, now);
            pruned.workflows += u64::from(goes);
            pruned.records += if goes { entry.records.len() as u64 } else { 0 };
            !goes
        });
        pruned
    }

    pub(in crate::store) fn verify(&self, workflow: &WorkflowId) -> Result<Audit, StoreError> {
        let entry = self.workflows.get(workflow).ok_or_else(|| missing(workflow, None))?;
        let records = entry.records.iter().map(|(at, bytes)| (*at, bytes.clone()));
        let steps = entry.steps.iter().map(|(step, newest)| (step.clone(), newest.version));
        Ok(ledger::audit(&entry.head, records, steps))
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

fn missing(workflow: &WorkflowId, version: Option<u64>) -> StoreError {
    StoreError::NotFound { workflow: workflow.clone(), version }
}

impl Workflow {
    fn slot(&self, workflow: &WorkflowId, step: &StepId) -> Slot {
        let Some(&newest) = self.steps.get(step) else { return Slot::Empty };
        let read = match self.records.get(&newest.version) {
            Some(bytes) => Record::open_at(bytes, workflow, newest.version),
            None => Err(Damage::Missing),
        };
        Slot::of(step, newest, read)
    }

    fn write(&mut self, Written { sealed, bytes }: Written) {
        let newest = Newest::of(&sealed);
        self.steps.insert(sealed.record.step, newest);
        self.records.insert(newest.version, bytes);
    }

    fn expire(&mut self, version: u64, workflow: &WorkflowId, retention: &Retention) {
        let Some(bytes) = self.records.get(&version) else { return };
        // What cannot be read may be the newest of its step.
        if let Ok(record) = Record::open_at(bytes, workflow, version)
            && ledger::expires(
                &record,
                self.steps.get(&record.step).map(|newest| newest.version),
                retention,
            )
        {
            self.records.remove(&version);
        }
    }
}
