//! What waits for the writer.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Semaphore;

/// How many operations may wait; those who ask for more wait for room.
const ROOM: usize = 1024;
/// About how many bytes of payloads go into one commit.
const BATCH: usize = 16 << 20;

/// A bounded queue from tasks to a thread.
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    filled: Condvar,
    pub(super) room: Arc<Semaphore>,
}

struct Waiting<T> {
    items: VecDeque<(usize, T)>,
    closed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(Waiting { items: VecDeque::new(), closed: false }),
            filled: Condvar::new(),
            room: Arc::new(Semaphore::new(ROOM)),
        }
    }
}

impl<T> Queue<T> {
    /// Adds an item, of so many bytes, for which there is room. Gives it back if the queue is closed.
    pub(super) fn push(&self, bytes: usize, item: T) -> Result<(), T> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(item);
        }
        waiting.items.push_back((bytes, item));
        drop(waiting);
        self.filled.notify_one();
        Ok(())
    }

    /// From now on nothing is added; what waits is still taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.filled.notify_all();
    }

    /// Waits until there is something, then takes what belongs into one commit; empty when it is closed
    /// and all is taken.
    ///
    /// If there is less than `expected`, waits `patience` for more: those who were answered together are
    /// about to ask again.
    pub(super) fn take(&self, expected: usize, patience: Duration) -> Vec<T> {
        let mut waiting = self
            .filled
            .wait_while(self.lock(), |waiting| waiting.items.is_empty() && !waiting.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.items.len() < expected && !patience.is_zero() {
            (waiting, _) = self
                .filled
                .wait_timeout_while(waiting, patience, |waiting| {
                    waiting.items.len() < expected && !waiting.closed
                })
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0;
        let mut batch = Vec::with_capacity(waiting.items.len());
        while let Some((size, item)) = waiting.items.pop_front() {
            bytes += size;
            batch.push(item);
            if bytes >= BATCH {
                break;
            }
        }
        drop(waiting);
        self.room.add_permits(batch.len());
        batch
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
