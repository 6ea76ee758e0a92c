//! A store that takes its time: it can be given up before and after it has done something.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use buttress::store::{MemoryStore, Pending, StoreError, TroubleKind};
use tokio::task::yield_now;

use crate::support::through::{Through, through};

/// Every operation is pending once before it is done and once after.
#[derive(Clone, Debug)]
pub(crate) struct SlowStore {
    pub(crate) memory: MemoryStore,
    refusals: Arc<AtomicU32>,
    silences: Arc<AtomicU32>,
}

impl SlowStore {
    pub(crate) fn new() -> Self {
        Self { memory: MemoryStore::new(), refusals: Arc::default(), silences: Arc::default() }
    }

    /// The next so many outcomes are not written.
    pub(crate) fn refuse(&self, outcomes: u32) {
        self.refusals.store(outcomes, Ordering::Relaxed);
    }

    /// The next so many renewals are never answered.
    pub(crate) fn silence(&self, renewals: u32) {
        self.silences.store(renewals, Ordering::Relaxed);
    }
}

impl Through for SlowStore {
    type Inner = MemoryStore;

    fn through<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        act: impl FnOnce(&'a MemoryStore) -> Pending<'a, T> + Send + 'a,
    ) -> Pending<'a, T> {
        Box::pin(async move {
            yield_now().await;
            let spent = |left: &AtomicU32| {
                let less = |left: u32| left.checked_sub(1);
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
            };
            if operation == "renew" && spent(&self.silences) {
                pending::<()>().await;
            }
            if operation == "complete" && spent(&self.refusals) {
                return Err(StoreError::engine(TroubleKind::Unreachable, "out of reach", None));
            }
            let result = act(&self.memory).await;
            yield_now().await;
            result
        })
    }
}

through!(SlowStore);
