//! The store in memory, under the conformance suite.

use std::{
    error::Error,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use buttress::store::{MemoryStore, Retention, WorkflowId};
use buttress_store::conformance::{Change, Subject};

pub(super) struct Memory;

impl Subject for Memory {
    type Store = MemoryStore;
    type Home = Mutex<Option<MemoryStore>>;

    async fn home(&self) -> Result<Self::Home, Box<dyn Error + Send + Sync>> {
        Ok(Mutex::default())
    }

    async fn open(
        &self,
        home: &Self::Home,
        retention: Retention,
    ) -> Result<MemoryStore, Box<dyn Error + Send + Sync>> {
        let mut home = home.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(home.get_or_insert_with(|| MemoryStore::with_retention(retention)).clone())
    }

    async fn tamper(
        &self,
        _: &Self::Home,
        store: &MemoryStore,
        workflow: &WorkflowId,
        version: u64,
        change: Change<'_>,
    ) -> bool {
        store.replace(workflow, version, change)
    }

    async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
    }
}

buttress_store::conformance_tests! { #[tokio::test(start_paused = true)] Memory }
