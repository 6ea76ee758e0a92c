//! Stores with one thing wrong each, which the conformance suite must find.

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress::store::{
    Append, Audit, Begin, Begun, Claim, Entry, Found, Lease, MemoryStore, Pending, Pruned,
    Retention, Sealed, Settled, StepId, Store, StoreError, Summary, Ticket, Version, WorkflowId,
};
use buttress_store::conformance::{self, Change, Subject};

use super::memory::Memory;

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Whoever says that they hold a workflow is believed.
    NoFence,
    /// A restart is one of whatever is pending.
    NoCompareAndSet,
    /// A save follows whatever there is.
    NoExpectation,
    /// The last outcome is told, not the first.
    LastOutcome,
    /// An intent does not say whose it is.
    Unmarked,
    /// An intent is answered before it is written.
    EarlyIntent,
    /// A lease is renewed for as long as it first was.
    ShortRenewal,
    /// To give a lease back does nothing.
    NoRelease,
    /// A damaged version is passed over in silence.
    SilentSkip,
    /// Nothing damaged is found.
    BlindVerify,
    /// Pages come in an order of their own.
    Unsorted,
    /// A page starts with what the last one ended with.
    Overlap,
    /// What is pruned is pruned everywhere.
    PrunesAll,
    /// What is deleted may be written again.
    NoStone,
    /// A copy has the state of now, not of then.
    ForksNow,
    /// Nothing is there after a restart.
    Forgets,
    /// Nothing is ever dropped.
    KeepsAll,
    /// Names are one in upper and lower case.
    Folds,
    /// An operation that is dropped is done a little later, twice.
    Repeats,
}

const FAULTS: [(Fault, &str); 19] = [
    (Fault::NoFence, "nothing_is_written_after_a_takeover"),
    (Fault::NoCompareAndSet, "a_restart_is_a_compare_and_set"),
    (Fault::NoExpectation, "a_stale_save_is_refused"),
    (Fault::LastOutcome, "the_first_outcome_counts"),
    (Fault::Unmarked, "a_step_is_begun_done_and_answered"),
    (Fault::EarlyIntent, "a_begun_step_is_pending"),
    (Fault::ShortRenewal, "a_lease_lasts_as_long_as_it_was_renewed_for"),
    (Fault::NoRelease, "a_lease_given_back_is_free"),
    (Fault::SilentSkip, "what_is_damaged_is_skipped_and_told"),
    (Fault::BlindVerify, "each_kind_of_damage_is_found"),
    (Fault::Unsorted, "workflows_are_listed_in_pages"),
    (Fault::Overlap, "a_history_is_read_in_pages"),
    (Fault::PrunesAll, "what_ended_long_ago_is_pruned"),
    (Fault::NoStone, "nothing_is_written_after_a_deletion"),
    (Fault::ForksNow, "a_copy_has_what_was_done_and_keys_of_its_own"),
    (Fault::Forgets, "what_was_acknowledged_is_there_after_a_restart"),
    (Fault::KeepsAll, "the_newest_versions_are_kept"),
    (Fault::Folds, "unusual_names_are_names"),
    (Fault::Repeats, "a_dropped_save_leaves_no_gap"),
];

#[tokio::test(start_paused = true)]
async fn the_suite_finds_what_is_wrong() {
    for (fault, case) in FAULTS {
        assert_eq!(conformance::check(&Memory, case).await, Ok(()), "{case}");
        let found = conformance::check(&Faulty(fault), case).await;
        assert!(found.is_err(), "{fault:?} was not found by {case}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_suite_says_what_is_wrong_in_a_sentence() {
    let told = conformance::check(&Faulty(Fault::NoRelease), "a_lease_given_back_is_free").await;
    let told = told.expect_err("it holds what was given back");
    assert!(told.starts_with("who holds what was given back: expected None"), "{told}");
    let none = conformance::check(&Memory, "no_such_case").await;
    assert_eq!(none, Err("there is no case `no_such_case`".into()));
}

struct Faulty(Fault);

impl Subject for Faulty {
    type Store = FaultyStore;
    type Home = <Memory as Subject>::Home;

    async fn home(&self) -> Result<Self::Home, Box<dyn Error + Send + Sync>> {
        Memory.home().await
    }

    async fn open(
        &self,
        home: &Self::Home,
        retention: Retention,
    ) -> Result<FaultyStore, Box<dyn Error + Send + Sync>> {
        let retention = match self.0 {
            Fault::KeepsAll => Retention { versions: u64::MAX.try_into()?, ..retention },
            _ => retention,
        };
        if self.0 == Fault::Forgets {
            *home.lock().expect("nobody panics") = None;
        }
        let inner = Memory.open(home, retention).await?;
        Ok(FaultyStore { inner, fault: self.0, late: Mutex::default() })
    }

    async fn tamper(
        &self,
        home: &Self::Home,
        store: &FaultyStore,
        workflow: &WorkflowId,
        version: u64,
        change: Change<'_>,
    ) -> bool {
        Memory.tamper(home, &store.inner, &store.id(workflow), version, change).await
    }

    async fn pass(&self, time: Duration) {
        Memory.pass(time).await;
    }
}

/// The store in memory, with something wrong.
#[derive(Debug)]
struct FaultyStore {
    inner: MemoryStore,
    fault: Fault,
    late: Mutex<Vec<Append>>,
}

impl FaultyStore {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn id(&self, workflow: &WorkflowId) -> WorkflowId {
        match self.fault {
            Fault::Folds => {
                WorkflowId { workflow: workflow.workflow.to_lowercase().into(), ..workflow.clone() }
            }
            _ => workflow.clone(),
        }
    }

    async fn epoch(&self, workflow: &WorkflowId, claim: &Claim) -> Result<Claim, StoreError> {
        match (claim, self.inner.summary(workflow).await?) {
            (Claim::Held { .. }, Some(summary)) if self.has(Fault::NoFence) => {
                Ok(Claim::Held { epoch: summary.epoch })
            }
            _ => Ok(claim.clone()),
        }
    }
}

impl Store for FaultyStore {
    fn acquire<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Lease> {
        Box::pin(async move { self.inner.acquire(&self.id(workflow), owner, ttl).await })
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> Pending<'a, Lease> {
        let ttl = if self.has(Fault::ShortRenewal) { lease.ttl } else { ttl };
        Box::pin(async move { self.inner.renew(lease, ttl).await })
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> Pending<'a, ()> {
        Box::pin(async move {
            if self.has(Fault::NoRelease) {
                return Ok(());
            }
            self.inner.release(lease).await
        })
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
        Box::pin(async move {
            let workflow = self.id(&begin.workflow);
            let claim = self.epoch(&workflow, &begin.claim).await?;
            let mut begin = Begin { workflow, claim, ..begin.clone() };
            if self.has(Fault::NoCompareAndSet)
                && begin.restart.is_some()
                && let Some(found) = self.inner.latest(&begin.workflow, Some(&begin.step)).await?
            {
                begin.restart = Some(found.newest);
            }
            if self.has(Fault::Unmarked) {
                begin.mark = None;
            }
            if self.has(Fault::EarlyIntent) {
                begin.intent = false;
            }
            self.inner.begin(&begin).await
        })
    }

    fn complete<'a>(&'a self, ticket: &'a Ticket, entry: Entry) -> Pending<'a, Settled> {
        Box::pin(async move {
            let payload = entry.payload.clone();
            let ticket = Ticket { workflow: self.id(&ticket.workflow), ..ticket.clone() };
            let mut settled = self.inner.complete(&ticket, entry).await?;
            if self.has(Fault::LastOutcome) {
                settled.record.record.payload = payload;
            }
            Ok(settled)
        })
    }

    fn append(&self, append: Append) -> Pending<'_, Sealed> {
        Box::pin(async move {
            let workflow = self.id(&append.workflow);
            let claim = self.epoch(&workflow, &append.claim).await?;
            let mut append = Append { workflow, claim, ..append };
            if self.has(Fault::NoExpectation) {
                append.expect = None;
            }
            if self.has(Fault::Repeats) {
                let late = std::mem::take(&mut *self.late.lock().expect("nobody panics"));
                for append in late {
                    let append = Append { expect: None, ..append };
                    self.inner.append(append.clone()).await?;
                    self.inner.append(append).await?;
                }
                self.late.lock().expect("nobody panics").push(append.clone());
                tokio::time::sleep(Duration::from_millis(2)).await;
                self.late.lock().expect("nobody panics").clear();
            }
            self.inner.append(append).await
        })
    }

    fn finish<'a>(&'a self, workflow: &'a WorkflowId, claim: &'a Claim) -> Pending<'a, ()> {
        Box::pin(async move {
            let workflow = self.id(workflow);
            let claim = self.epoch(&workflow, claim).await?;
            self.inner.finish(&workflow, &claim).await
        })
    }

    fn latest<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        step: Option<&'a StepId>,
    ) -> Pending<'a, Option<Found>> {
        Box::pin(async move {
            let mut found = self.inner.latest(&self.id(workflow), step).await?;
            if let Some(found) = &mut found
                && self.has(Fault::SilentSkip)
            {
                found.skipped.clear();
            }
            Ok(found)
        })
    }

    fn get<'a>(&'a self, workflow: &'a WorkflowId, version: u64) -> Pending<'a, Sealed> {
        Box::pin(async move { self.inner.get(&self.id(workflow), version).await })
    }

    fn history<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        after: u64,
        most: usize,
    ) -> Pending<'a, Vec<Version>> {
        Box::pin(async move {
            let overlap = u64::from(self.has(Fault::Overlap));
            self.inner.history(&self.id(workflow), after.saturating_sub(overlap), most).await
        })
    }

    fn list<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>> {
        Box::pin(async move {
            let mut page = self.inner.list(namespace, after, most).await?;
            if self.has(Fault::Unsorted) {
                page.sort_by_key(|summary| summary.workflow.workflow.to_lowercase());
            }
            Ok(page)
        })
    }

    fn summary<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Option<Summary>> {
        Box::pin(async move { self.inner.summary(&self.id(workflow)).await })
    }

    fn fork<'a>(
        &'a self,
        from: &'a WorkflowId,
        at: u64,
        to: &'a WorkflowId,
    ) -> Pending<'a, Summary> {
        Box::pin(async move {
            let at = match self.inner.summary(from).await? {
                Some(summary) if self.has(Fault::ForksNow) => summary.latest,
                _ => at,
            };
            self.inner.fork(&self.id(from), at, &self.id(to)).await
        })
    }

    fn delete<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, ()> {
        Box::pin(async move {
            self.inner.delete(&self.id(workflow)).await?;
            if self.has(Fault::NoStone) {
                // Long enough for what is ended to be forgotten, in all cases that say how long that is.
                tokio::time::advance(Duration::from_millis(21)).await;
                self.inner.prune(None).await?;
            }
            Ok(())
        })
    }

    fn prune<'a>(&'a self, namespace: Option<&'a str>) -> Pending<'a, Pruned> {
        self.inner.prune(namespace.filter(|_| !self.has(Fault::PrunesAll)))
    }

    fn verify<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Audit> {
        Box::pin(async move {
            let mut audit = self.inner.verify(&self.id(workflow)).await?;
            if self.has(Fault::BlindVerify) {
                audit.findings.clear();
            }
            Ok(audit)
        })
    }
}
