//! A store that fails on command.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use buttress::store::{MemoryStore, Pending, StoreError, TroubleKind};
use tokio::sync::watch;

use crate::support::through::{Through, through};

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
}

impl Through for Faulty {
    type Inner = MemoryStore;

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

through!(Faulty);
