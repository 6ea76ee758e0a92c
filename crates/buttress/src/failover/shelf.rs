//! Where instances of the replicas rest between their calls.

use crate::sync::{Mutex, MutexGuard, PoisonError, thread};

/// At most so many of one replica are kept: as many as are made ready at the same time, and those
/// are few unless something is wrong.
const MOST_KEPT: usize = 16;

/// Instances of one replica, none of which is ready or waits for anything.
///
/// Shared by all who call the replica, so that neither a clone of the service nor its futures need
/// copies of all replicas, of which only one is called. It never runs out: whoever takes the last
/// one leaves a clone.
#[derive(Debug)]
pub(super) struct Shelf<S>(Mutex<Vec<S>>);

impl<S> Shelf<S> {
    pub(super) fn new(first: S) -> Self {
        Self(Mutex::new(vec![first]))
    }

    /// Puts back what was called, and so is not ready any more.
    pub(super) fn put(&self, instance: S) {
        // What there is no room for is dropped after the lock.
        let _spare = {
            let mut kept = self.lock();
            if kept.len() < MOST_KEPT {
                kept.push(instance);
                None
            } else {
                Some(instance)
            }
        };
    }

    fn lock(&self) -> MutexGuard<'_, Vec<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Clone> Shelf<S> {
    /// Takes an instance that is not ready.
    pub(super) fn take(&self) -> S {
        loop {
            let (taken, last) = {
                let mut kept = self.lock();
                (kept.pop(), kept.is_empty())
            };
            match taken {
                Some(instance) if !last => return instance,
                Some(instance) => {
                    // Copied outside of the lock, since that is the user's code.
                    let lent = Lent { shelf: self, instance: Some(instance) };
                    let copy = lent.instance.clone();
                    drop(lent);
                    if let Some(copy) = copy {
                        return copy;
                    }
                }
                // Somebody copies the last one, and is about to put it back.
                None => thread::yield_now(),
            }
        }
    }
}

/// The last instance, while it is being copied: it goes back also when that panics.
struct Lent<'a, S> {
    shelf: &'a Shelf<S>,
    instance: Option<S>,
}

impl<S> Drop for Lent<'_, S> {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            self.shelf.put(instance);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[test]
    fn it_copies_only_the_last_one_and_keeps_few() {
        struct Counted<'a>(&'a AtomicU32);
        impl Clone for Counted<'_> {
            fn clone(&self) -> Self {
                self.0.fetch_add(1, Ordering::Relaxed);
                Self(self.0)
            }
        }
        let copies = AtomicU32::new(0);
        let shelf = Shelf::new(Counted(&copies));
        for _ in 0..10 {
            let instance = shelf.take();
            shelf.put(instance);
        }
        assert_eq!(copies.load(Ordering::Relaxed), 1);
        let taken: Vec<_> = (0..100).map(|_| shelf.take()).collect();
        assert_eq!(copies.load(Ordering::Relaxed), 100);
        taken.into_iter().for_each(|instance| shelf.put(instance));
        assert_eq!(shelf.lock().len(), MOST_KEPT);
    }

    #[test]
    fn a_copy_that_panics_takes_nothing_away() {
        struct Shy<'a>(&'a AtomicU32);
        impl Clone for Shy<'_> {
            fn clone(&self) -> Self {
                assert!(self.0.fetch_add(1, Ordering::Relaxed) > 0, "planned");
                Self(self.0)
            }
        }
        let copies = AtomicU32::new(0);
        let shelf = Shelf::new(Shy(&copies));
        assert!(catch_unwind(AssertUnwindSafe(|| shelf.take())).is_err());
        shelf.put(shelf.take());
        assert_eq!(shelf.lock().len(), 2);
    }
}
