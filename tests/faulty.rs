//! A store that fails on command.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress::store::{
    Append, Audit, Begin, Begun, Claim, Entry, Found, Lease, MemoryStore, Pending, Pruned, Sealed,
    Settled, StepId, Store, StoreError, Summary, Ticket, TroubleKind, Version, WorkflowId,
};
use tokio::sync::watch;

/// What becomes of the operations of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They are done and answered.
    None,
    /// They are not done, and fail.
    Down,
    /// They are done, and fail.
    AnswersLost,
    /// They are neither done nor answered until that changes.
    Silent,
}

/// One process's way to a store in memory, and what is wrong with it.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    inner: MemoryStore,
    fault: watch::Sender<Fault>,
    asked: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

pub(crate) fn down() -> StoreError {
    StoreError::engine(TroubleKind::Unreachable, "the store is down", None)
}

impl Faulty {
    pub(crate) fn new(inner: MemoryStore) -> Self {
        Self { inner, fault: watch::Sender::new(Fault::None), asked: Arc::default() }
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// How many times an operation was asked for.
    pub(crate) fn asked(&self, operation: &str) -> u64 {
        self.asked.lock().unwrap().get(operation).copied().unwrap_or(0)
    }

    fn through<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        act: impl FnOnce(&'a MemoryStore) -> Pending<'a, T> + Send + 'a,
    ) -> Pending<'a, T> {
        *self.asked.lock().unwrap().entry(operation).or_default() += 1;
        let mut fault = self.fault.subscribe();
        Box::pin(async move {
            let now = fault.wait_for(|fault| *fault != Fault::Silent).await.map(|fault| *fault);
            match now.unwrap_or(Fault::None) {
                Fault::Down => Err(down()),
                Fault::AnswersLost => act(&self.inner).await.and(Err(down())),
                Fault::None | Fault::Silent => act(&self.inner).await,
            }
        })
    }
}

macro_rules! through {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)+) => {
        impl Store for Faulty {$(
            fn $name<'a>(&'a self, $($arg: $ty),*) -> Pending<'a, $out> {
                self.through(stringify!($name), move |store| store.$name($($arg),*))
            }
        )+

            fn append(&self, append: Append) -> Pending<'_, Sealed> {
                self.through("append", move |store| store.append(append))
            }
        }
    };
}

through! {
    fn acquire(workflow: &'a WorkflowId, owner: &'a Arc<str>, ttl: Duration) -> Lease;
    fn renew(lease: &'a Lease, ttl: Duration) -> Lease;
    fn release(lease: &'a Lease) -> ();
    fn claim(namespace: &'a str, owner: &'a Arc<str>, ttl: Duration) -> Option<Lease>;
    fn begin(begin: &'a Begin) -> Begun;
    fn complete(ticket: &'a Ticket, entry: Entry) -> Settled;
    fn finish(workflow: &'a WorkflowId, claim: &'a Claim) -> ();
    fn latest(workflow: &'a WorkflowId, step: Option<&'a StepId>) -> Option<Found>;
    fn get(workflow: &'a WorkflowId, version: u64) -> Sealed;
    fn history(workflow: &'a WorkflowId, after: u64, most: usize) -> Vec<Version>;
    fn list(namespace: Option<&'a str>, after: Option<&'a WorkflowId>, most: usize) -> Vec<Summary>;
    fn summary(workflow: &'a WorkflowId) -> Option<Summary>;
    fn fork(from: &'a WorkflowId, at: u64, to: &'a WorkflowId) -> Summary;
    fn delete(workflow: &'a WorkflowId) -> ();
    fn prune(namespace: Option<&'a str>) -> Pruned;
    fn verify(workflow: &'a WorkflowId) -> Audit;
}
