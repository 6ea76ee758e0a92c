//! Which steps run in this process.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque, hash_map},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Notify, futures::OwnedNotified};

use super::{StepId, WorkflowId};
use crate::Random;

/// How many intents are remembered whose begin was not answered, so that a store which is away for long
/// costs no more memory. What is forgotten is in doubt.
const REMEMBERED: usize = 1_024;

/// The places of the steps of one [`Journal`](super::Journal).
pub(super) struct Places {
    taken: Mutex<Taken>,
    /// The next [mark](super::Begin::mark): counted from where no other process does.
    mark: AtomicU64,
}

#[derive(Default)]
struct Taken {
    places: HashMap<Key, Seat>,
    unanswered: VecDeque<(u64, Key)>,
}

type Key = (WorkflowId, StepId);

struct Seat {
    number: u64,
    /// Made by the first who waits.
    vacated: Option<Arc<Notify>>,
}

thread_local! {
    /// The places of the steps whose code runs now, outermost first.
    static WITHIN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Places {
    pub(super) fn new() -> Self {
        Self { taken: Mutex::default(), mark: AtomicU64::new(Random::default().word()) }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().places.len()
    }

    pub(super) fn enter(
        self: &Arc<Self>,
        workflow: &WorkflowId,
        step: &StepId,
    ) -> Result<Place, Occupied> {
        /// Across journals: steps of one may run within those of another.
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let key = (workflow.clone(), step.clone());
        match self.lock().places.entry(key.clone()) {
            hash_map::Entry::Occupied(mut seat) => {
                let Seat { number, vacated } = seat.get_mut();
                let within = WITHIN.with_borrow(|within| within.contains(number));
                // Made under the lock: from here on no notification is missed.
                let vacated = vacated.get_or_insert_default().clone().notified_owned();
                Err(Occupied { vacated, within })
            }
            hash_map::Entry::Vacant(vacant) => {
                let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
                vacant.insert(Seat { number, vacated: None });
                Ok(Place { places: self.clone(), key, number, unanswered: None })
            }
        }
    }
}

/// The place of the one who does a step in this process. Dropping it gives it up.
pub struct Place {
    places: Arc<Places>,
    key: Key,
    number: u64,
    /// The mark of an intent that may have been written, and after which nothing was done.
    unanswered: Option<u64>,
}

impl Place {
    /// The step, for code that is part of it.
    pub(crate) const fn within(&self) -> Within {
        Within(self.number)
    }

    /// An intent is about to be written, with this mark. Unless it is [answered](Self::answered), the step is
    /// not done, and who has the place later [knows](Self::wrote).
    pub(crate) fn writes(&mut self) -> u64 {
        let mark = self.places.mark.fetch_add(1, Ordering::Relaxed);
        self.unanswered = Some(mark);
        mark
    }

    /// The store said what became of the intent.
    pub(crate) const fn answered(&mut self) {
        self.unanswered = None;
    }

    /// Whether an intent with this mark was written here, and nothing was done after it.
    pub(crate) fn wrote(&self, mark: u64) -> bool {
        let taken = self.places.lock();
        taken.unanswered.iter().any(|(written, key)| *written == mark && *key == self.key)
    }
}

/// A step that is being done in this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Within(u64);

impl Within {
    /// Runs code that is part of the step: what it calls finds out that it would [wait for
    /// itself](Occupied::is_within).
    pub(crate) fn scope<T>(self, body: impl FnOnce() -> T) -> T {
        /// Leaves the step, also when `body` panics.
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                WITHIN.with_borrow_mut(Vec::pop);
            }
        }
        WITHIN.with_borrow_mut(|within| within.push(self.0));
        let _leave = Leave;
        body()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        let seat = taken.places.remove(&self.key);
        let mut forgotten = None;
        if let Some(mark) = self.unanswered {
            if taken.unanswered.len() >= REMEMBERED {
                forgotten = taken.unanswered.pop_front();
            }
            taken.unanswered.push_back((mark, self.key.clone()));
        }
        drop(taken);
        drop(forgotten);
        // Wakers are the user's code: not under the lock.
        if let Some(vacated) = seat.and_then(|seat| seat.vacated) {
            vacated.notify_waiters();
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({} {})", self.key.0, self.key.1)
    }
}

/// Another does this step in this process.
#[derive(Debug)]
pub struct Occupied {
    vacated: OwnedNotified,
    within: bool,
}

impl Occupied {
    /// A future that is ready when the place was given up. Another may be quicker to take it.
    pub fn vacated(self) -> OwnedNotified {
        self.vacated
    }

    /// Whether the code that runs now was called by that very step, which would wait for itself.
    ///
    /// Steps of a [`CheckpointLayer`](crate::CheckpointLayer) are known; what they move to other tasks is not.
    pub const fn is_within(&self) -> bool {
        self.within
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Journal, MemoryStore};

    #[tokio::test(start_paused = true)]
    async fn a_place_is_taken_once_and_waited_for() {
        let journal = Journal::new(MemoryStore::new());
        let (workflow, step) = (journal.workflow("a"), StepId::new("s"));
        let place = journal.enter(&workflow, &step).expect("nobody is there");
        let waiting = journal.clone().enter(&workflow, &step).expect_err("it is taken").vacated();
        assert!(journal.enter(&workflow, &StepId::new("t")).is_ok());
        // Given up before the first poll: it is not missed.
        drop(place);
        waiting.await;
        let place = journal.enter(&workflow, &step).expect("nobody is there any more");
        assert_eq!(place.places.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn code_is_within_the_steps_that_run_it() {
        let journal = Journal::new(MemoryStore::new());
        let workflow = journal.workflow("a");
        let outer = journal.enter(&workflow, &StepId::new("outer")).expect("nobody is there");
        let inner = journal.enter(&workflow, &StepId::new("inner")).expect("nobody is there");
        let within = |step| {
            journal.enter(&workflow, &StepId::new(step)).expect_err("it is taken").is_within()
        };
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            outer.within().scope(|| {
                assert_eq!((within("outer"), within("inner")), (true, false));
                inner.within().scope(|| {
                    assert_eq!((within("outer"), within("inner")), (true, true));
                    panic!("planned");
                });
            });
        }));
        assert!(panicked.is_err());
        assert_eq!((within("outer"), within("inner")), (false, false));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_answered_is_remembered_by_its_step_and_not_for_ever() {
        let journal = Journal::new(MemoryStore::new());
        let workflow = journal.workflow("a");
        let enter = |step| journal.enter(&workflow, &StepId::new(step)).expect("nobody is there");
        let mut answered = enter("s");
        let known = answered.writes();
        answered.answered();
        drop(answered);
        let lost = enter("s").writes();
        let place = enter("s");
        assert!(!place.wrote(known) && place.wrote(lost) && !enter("t").wrote(lost));
        for _ in 1..REMEMBERED {
            enter("t").writes();
        }
        assert!(place.wrote(lost));
        enter("t").writes();
        assert!(!place.wrote(lost));
        assert_eq!(place.places.lock().unanswered.len(), REMEMBERED);
    }
}
