//! The suite that every engine is held to.

use std::{error::Error, time::Duration};

use buttress::store::{Retention, WorkflowId};
use buttress_store::{
    RedbStore,
    conformance::{Change, Subject},
    redb::Options,
};
use tempfile::TempDir;

use crate::damage::rot;

struct InAFile;

impl Subject for InAFile {
    type Store = RedbStore;
    type Home = TempDir;

    async fn home(&self) -> Result<TempDir, Box<dyn Error + Send + Sync>> {
        Ok(tempfile::tempdir()?)
    }

    async fn open(
        &self,
        home: &TempDir,
        retention: Retention,
    ) -> Result<RedbStore, Box<dyn Error + Send + Sync>> {
        Ok(Options::new().retention(retention).open(home.path().join("store.redb"))?)
    }

    async fn tamper(
        &self,
        _: &TempDir,
        store: &RedbStore,
        workflow: &WorkflowId,
        version: u64,
        change: Change<'_>,
    ) -> bool {
        store.replace(workflow, version, |bytes| change(&bytes)).await.expect("the file is sound")
    }

    async fn behead(&self, home: &TempDir, workflow: &WorkflowId) -> bool {
        rot(&home.path().join("store.redb"), "heads", &[&workflow.namespace, &workflow.workflow]);
        true
    }

    // The clock stands still only here: while the writer works, paused time would run ahead.
    async fn pass(&self, time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }
}

buttress_store::conformance_tests! { #[tokio::test] super::conformance::InAFile }
