//! Permits that are counted one by one, to compare with those that are a word and a line.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Wake, Waker},
};

use proptest::prelude::*;

use super::permits::{Asked, MOST, Permits};

/// What a waker does: it counts, and takes the lock. Were that held, the test would hang.
struct Bell {
    rung: AtomicU64,
    permits: Weak<Permits>,
}

impl Bell {
    fn take_the_lock(&self) {
        if let Some(permits) = self.permits.upgrade() {
            assert!(!permits.leave(u64::MAX), "nobody waits under this number");
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.fetch_add(1, Ordering::Relaxed);
        self.take_the_lock();
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.take_the_lock();
    }
}

/// Limit and line by the book.
struct Naive {
    limit: u32,
    queue: Option<u32>,
    running: u32,
    line: VecDeque<u64>,
    /// Those out of line who have not come for their permit.
    granted: BTreeSet<u64>,
    numbers: u64,
}

impl Naive {
    fn taken(&self) -> u32 {
        self.running + self.granted.len() as u32
    }

    fn hand_over(&mut self) {
        while self.taken() < self.limit {
            let Some(first) = self.line.pop_front() else { break };
            self.granted.insert(first);
        }
    }

    fn ask(&mut self) -> Asked {
        if self.line.is_empty() && self.taken() < self.limit {
            self.running += 1;
            return Asked::Taken;
        }
        if self.line.len() >= self.queue.unwrap_or(self.limit) as usize {
            return Asked::Full;
        }
        self.line.push_back(self.numbers);
        self.numbers += 1;
        Asked::Waiting(self.numbers - 1)
    }

    fn leave(&mut self, number: u64) -> bool {
        let before = self.line.len();
        self.line.retain(|&waiting| waiting != number);
        self.line.len() < before
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take,
    Ask,
    Give,
    /// Somebody who waits, or was granted a permit, comes for it.
    Come(prop::sample::Index),
    /// Gives up; what was granted is given back.
    Leave(prop::sample::Index),
    Set(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Take),
        4 => Just(Step::Ask),
        3 => Just(Step::Give),
        2 => any::<prop::sample::Index>().prop_map(Step::Come),
        2 => any::<prop::sample::Index>().prop_map(Step::Leave),
        1 => (1..6_u32).prop_map(Step::Set),
    ]
}

proptest! {
    #[test]
    fn permits_are_what_naive_ones_are(
        limit in 1..5_u32,
        queue in prop::option::of(0..4_u32),
        steps in prop::collection::vec(step(), 0..50),
    ) {
        let permits = Arc::new(Permits::new(limit, queue, None));
        let mut naive = Naive {
            limit, queue, running: 0, line: VecDeque::new(), granted: BTreeSet::new(), numbers: 0,
        };
        // Who has a number and has not come or left, and who is woken.
        let mut bells: Vec<(u64, Arc<Bell>)> = vec![];
        for step in steps {
            match step {
                Step::Take => {
                    let free = naive.line.is_empty() && naive.taken() < naive.limit;
                    prop_assert_eq!(permits.take(), free);
                    naive.running += u32::from(free);
                }
                Step::Ask => {
                    let permits_of_bell = Arc::downgrade(&permits);
                    let bell = Arc::new(Bell { rung: AtomicU64::new(0), permits: permits_of_bell });
                    let asked = permits.ask(&Waker::from(bell.clone()));
                    prop_assert_eq!(asked, naive.ask());
                    if let Asked::Waiting(number) = asked {
                        bells.push((number, bell));
                    }
                }
                Step::Give => {
                    if naive.running > 0 {
                        naive.running -= 1;
                        naive.hand_over();
                        permits.give();
                    }
                }
                Step::Come(index) if !bells.is_empty() => {
                    let index = index.index(bells.len());
                    let (number, bell) = &bells[index];
                    let granted = permits.is_granted(*number, &Waker::from(bell.clone()));
                    prop_assert_eq!(granted, naive.granted.remove(number));
                    if granted {
                        naive.running += 1;
                        bells.remove(index);
                    }
                }
                Step::Leave(index) if !bells.is_empty() => {
                    let (number, _) = bells.remove(index.index(bells.len()));
                    let left = permits.leave(number);
                    prop_assert_eq!(left, naive.leave(number));
                    if !left {
                        prop_assert!(naive.granted.remove(&number));
                        naive.hand_over();
                        permits.give();
                    }
                }
                Step::Set(limit) => {
                    let moved = permits.set(limit);
                    prop_assert_eq!(moved.is_some(), limit != naive.limit);
                    naive.limit = limit;
                    naive.hand_over();
                }
                Step::Come(_) | Step::Leave(_) => {}
            }
            let word = permits.word();
            prop_assert_eq!(word.limit(), naive.limit);
            prop_assert_eq!(word.taken(), naive.taken());
            prop_assert_eq!(word.waiting() as usize, naive.line.len());
            // Nobody waits while there is room; each is woken once, when its turn has come.
            prop_assert!(naive.line.is_empty() || naive.taken() >= naive.limit);
            for (number, bell) in &bells {
                let granted = u64::from(naive.granted.contains(number));
                prop_assert_eq!(bell.rung.load(Ordering::Relaxed), granted);
            }
        }
    }
}

#[test]
fn limits_are_kept_within_what_fits() {
    for (asked, kept) in [(0, 1), (1, 1), (MOST, MOST), (u32::MAX, MOST)] {
        let permits = Permits::new(asked, Some(u32::MAX), None);
        assert_eq!(permits.word().limit(), kept);
        assert!(permits.take());
        permits.set(7);
        assert_eq!((permits.word().limit(), permits.word().taken()), (7, 1));
        permits.set(asked);
        assert_eq!((permits.word().limit(), permits.word().taken()), (kept, 1));
    }
}

#[test]
fn a_waker_that_panics_leaves_no_one_behind() {
    struct Trap;
    impl Wake for Trap {
        fn wake(self: Arc<Self>) {
            panic!("planned");
        }
    }
    let permits = Permits::new(1, Some(9), None);
    assert!(permits.take());
    let trap = Waker::from(Arc::new(Trap));
    let Asked::Waiting(first) = permits.ask(&trap) else { panic!("there is room in line") };
    let Asked::Waiting(second) = permits.ask(Waker::noop()) else { panic!("here too") };
    let set = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| permits.set(3)));
    assert!(set.is_err());
    assert!(permits.is_granted(first, Waker::noop()));
    // The next to give something back makes up for it.
    permits.give();
    assert!(permits.is_granted(second, Waker::noop()));
    assert_eq!((permits.word().taken(), permits.word().waiting()), (2, 0));
}
