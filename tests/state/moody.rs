//! A store that takes its time, and whose answers get lost.

use std::{
    collections::VecDeque,
    fmt,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress::store::{Append, MemoryStore, Pending, Sealed, Store, StoreError, TroubleKind};
use tokio::time::sleep;

use crate::support::through::{Through, through};

/// What becomes of an append.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    /// It is not done.
    Refuses,
    /// It is done, and the answer is lost.
    Forgets,
    /// It is done twice as late, whoever waits for it or not, and never answered.
    Lingers,
}

#[derive(Clone)]
pub(crate) struct Moody {
    pub(crate) inner: MemoryStore,
    /// How long an append takes.
    pub(crate) takes: Duration,
    /// For the appends to come; all is well when there are no more.
    pub(crate) moods: Arc<Mutex<VecDeque<Mood>>>,
}

impl Moody {
    pub(crate) fn new(takes: Duration) -> Self {
        Self { inner: MemoryStore::new(), takes, moods: Arc::default() }
    }

    pub(crate) fn expect(&self, moods: impl IntoIterator<Item = Mood>) {
        self.moods.lock().unwrap().extend(moods);
    }
}

impl fmt::Debug for Moody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

fn away() -> StoreError {
    StoreError::engine(TroubleKind::Unreachable, "the server is away", None)
}

impl Through for Moody {
    type Inner = MemoryStore;

    fn through<'a, T: Send + 'a>(
        &'a self,
        _: &'static str,
        act: impl FnOnce(&'a MemoryStore) -> Pending<'a, T> + Send + 'a,
    ) -> Pending<'a, T> {
        act(&self.inner)
    }

    fn through_append(&self, append: Append) -> Pending<'_, Sealed> {
        let mood = self.moods.lock().unwrap().pop_front();
        if let Some(Mood::Lingers) = mood {
            let Self { inner, takes, .. } = self.clone();
            tokio::spawn(async move {
                sleep(2 * takes).await;
                inner.append(append).await
            });
            return Box::pin(pending());
        }
        Box::pin(async move {
            sleep(self.takes).await;
            if let Some(Mood::Refuses) = mood {
                return Err(away());
            }
            let sealed = self.inner.append(append).await?;
            match mood {
                Some(_) => Err(away()),
                None => Ok(sealed),
            }
        })
    }
}

through!(Moody);
