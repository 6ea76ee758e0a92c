//! A store that takes its time, and fails when told to.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress::store::{MemoryStore, Pending, StoreError, TroubleKind};
use tokio::{task::yield_now, time::sleep};

use crate::support::through::{Through, through};

/// When an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Before it is done.
    Request,
    /// When it was done: the answer does not arrive.
    Answer,
    /// Before it is done, and nobody ever says so.
    Everything,
}

/// Those on steps and leases.
const OPERATIONS: [&str; 6] = ["acquire", "renew", "release", "claim", "begin", "complete"];

/// Pends once before and once after each operation on steps and leases.
#[derive(Clone, Debug)]
pub(super) struct Flaky {
    pub(super) memory: MemoryStore,
    plan: Arc<Mutex<VecDeque<Option<Lost>>>>,
    latency: Duration,
}

impl Flaky {
    pub(super) fn new(memory: MemoryStore) -> Self {
        Self { memory, plan: Arc::default(), latency: Duration::ZERO }
    }

    /// Its answers take so long.
    pub(super) fn latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
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
            match lost {
                Some(Lost::Request) => return away(),
                Some(Lost::Everything) => pending::<()>().await,
                Some(Lost::Answer) | None => {}
            }
            let done = act(&self.memory).await;
            if self.latency.is_zero() {
                yield_now().await;
            } else {
                sleep(self.latency).await;
            }
            if lost == Some(Lost::Answer) { away() } else { done }
        })
    }
}

through!(Flaky);
