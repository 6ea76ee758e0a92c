//! A store that takes its time, and fails when told to.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use buttress::store::{MemoryStore, Pending, StoreError, TroubleKind};
use tokio::task::yield_now;

use crate::support::through::{Through, through};

/// When an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Before it is done.
    Request,
    /// When it was done: the answer does not arrive.
    Answer,
}

/// Those on steps and leases.
const OPERATIONS: [&str; 6] = ["acquire", "renew", "release", "claim", "begin", "complete"];

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
}

impl Through for Flaky {
    type Inner = MemoryStore;

    fn through<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        act: impl FnOnce(&'a MemoryStore) -> Pending<'a, T> + Send + 'a,
    ) -> Pending<'a, T> {
        if !OPERATIONS.contains(&operation) {
            return act(&self.memory);
        }
        let lost = self.plan.lock().unwrap().pop_front().flatten();
        Box::pin(async move {
            let away = || Err(StoreError::engine(TroubleKind::Unreachable, "no route", None));
            yield_now().await;
            if lost == Some(Lost::Request) {
                return away();
            }
            let done = act(&self.memory).await;
            yield_now().await;
            if lost == Some(Lost::Answer) { away() } else { done }
        })
    }
}

through!(Flaky);
