//! The permits of a limit as threads share them, and what must hold of them.

#[path = "../../../crates/buttress/src/limit/aimd.rs"]
mod aimd;
#[path = "../../../crates/buttress/src/limit/permits.rs"]
mod permits;

use std::{
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    task::{Wake, Waker},
};

use self::{
    aimd::Terms,
    permits::{Asked, Permits},
};
use crate::{
    run::Scenario,
    scenarios::{together, twice},
    sync::{Arc, explore},
};

/// Counts how often it was rung; not part of the model.
#[derive(Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn bell() -> (std::sync::Arc<Bell>, Waker) {
    let bell = std::sync::Arc::new(Bell::default());
    (bell.clone(), bell.into())
}

fn permits(limit: u32, queue: u32) -> Arc<Permits> {
    Arc::new(Permits::new(limit, Some(queue), None))
}

/// Permits of which so many are taken.
fn taken(limit: u32, queue: u32, taken: u32) -> Arc<Permits> {
    let permits = permits(limit, queue);
    for _ in 0..taken {
        assert!(permits.take());
    }
    permits
}

fn wait(permits: &Permits, waker: &Waker) -> u64 {
    match permits.ask(waker) {
        Asked::Waiting(number) => number,
        asked => unreachable!("{asked:?} instead of a place in line"),
    }
}

/// Asks, and if there is room at once, makes room again.
fn pass(permits: &Permits) -> Asked {
    let asked = permits.ask(Waker::noop());
    if asked == Asked::Taken {
        permits.give();
    }
    asked
}

fn stands(permits: &Permits) -> (u32, u32) {
    (permits.word().taken(), permits.word().waiting())
}

type Work<T> = Box<dyn FnOnce() -> T + Send>;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("limit: the last permit is taken once", || {
        explore(|| {
            let permits = permits(1, 0);
            let got = together(twice(&permits, Permits::take));
            assert_eq!(got.iter().filter(|got| **got).count(), 1);
            assert_eq!(stands(&permits), (1, 0));
        });
    }),
    ("limit: the last place in line is taken once", || {
        explore(|| {
            let permits = taken(1, 1, 1);
            let got = together(twice(&permits, |permits| permits.ask(Waker::noop())));
            assert_eq!(got.iter().filter(|got| **got == Asked::Full).count(), 1);
            assert_eq!(stands(&permits), (1, 1));
        });
    }),
    ("limit: who joins the line while room is made gets it", || {
        explore(|| {
            let permits = taken(1, 1, 1);
            let (rung, waker) = bell();
            let (one, two) = (permits.clone(), permits.clone());
            let got = together(vec![
                Box::new(move || {
                    one.give();
                    None
                }) as Work<Option<Asked>>,
                Box::new(move || Some(two.ask(&waker))),
            ]);
            match got[1] {
                Some(Asked::Taken) => assert_eq!(rung.0.load(SeqCst), 0),
                Some(Asked::Waiting(number)) => {
                    assert!(permits.is_granted(number, Waker::noop()), "forgotten");
                    assert_eq!(rung.0.load(SeqCst), 1, "not woken");
                }
                got => unreachable!("{got:?}"),
            }
            assert_eq!(stands(&permits), (1, 0));
        });
    }),
    ("limit: callers that come and go leave nothing behind", || {
        explore(|| {
            let permits = permits(1, 0);
            let got = together(twice(&permits, |permits| {
                let first = pass(permits);
                (first, pass(permits))
            }));
            assert!(got.iter().all(|(first, _)| matches!(first, Asked::Taken | Asked::Full)));
            assert_eq!(stands(&permits), (0, 0));
        });
    }),
    ("limit: who gives up passes on what was granted meanwhile", || {
        explore(|| {
            let permits = taken(1, 2, 1);
            let first = wait(&permits, Waker::noop());
            let (rung, waker) = bell();
            let second = wait(&permits, &waker);
            let (one, two) = (permits.clone(), permits.clone());
            together::<()>(vec![
                Box::new(move || one.give()),
                Box::new(move || {
                    if !two.leave(first) {
                        two.give();
                    }
                }),
            ]);
            assert!(permits.is_granted(second, Waker::noop()), "forgotten");
            assert_eq!(rung.0.load(SeqCst), 1);
            assert_eq!(stands(&permits), (1, 0));
        });
    }),
    ("limit: who waits, gives up or is let in leaves nothing behind", || {
        explore(|| {
            let permits = permits(1, 1);
            together(twice(&permits, |permits| {
                for comes_back in [true, false] {
                    let granted = match permits.ask(Waker::noop()) {
                        Asked::Taken => true,
                        Asked::Waiting(number) => {
                            comes_back && permits.is_granted(number, Waker::noop())
                                || !permits.leave(number)
                        }
                        Asked::Full => false,
                    };
                    if granted {
                        permits.give();
                    }
                }
            }));
            assert_eq!(stands(&permits), (0, 0));
        });
    }),
    ("limit: room that is made while the first in line leaves is the second's", || {
        explore(|| {
            let permits = taken(1, 2, 1);
            let first = wait(&permits, Waker::noop());
            let (rung, waker) = bell();
            let second = wait(&permits, &waker);
            let (one, two, three) = (permits.clone(), permits.clone(), permits.clone());
            together::<()>(vec![
                Box::new(move || {
                    one.set(2);
                }),
                Box::new(move || {
                    if !two.leave(first) {
                        two.give();
                    }
                }),
                Box::new(move || three.give()),
            ]);
            assert!(permits.is_granted(second, Waker::noop()), "forgotten");
            assert_eq!(rung.0.load(SeqCst), 1);
            assert_eq!(stands(&permits), (1, 0));
        });
    }),
    ("limit: a waker that is replaced while its turn comes is not lost", || {
        explore(|| {
            let permits = taken(1, 1, 1);
            let (old, waker) = bell();
            let number = wait(&permits, &waker);
            let (new, waker) = bell();
            let (one, two) = (permits.clone(), permits.clone());
            let got = together(vec![
                Box::new(move || {
                    one.give();
                    false
                }) as Work<bool>,
                Box::new(move || two.is_granted(number, &waker)),
            ]);
            // Whoever was told to wait is woken by the waker that came with it.
            let (old, new) = (old.0.load(SeqCst), new.0.load(SeqCst));
            assert_eq!((old, new), if got[1] { (1, 0) } else { (0, 1) });
        });
    }),
    ("limit: a higher limit reaches who joins the line meanwhile", || {
        explore(|| {
            let permits = taken(1, 2, 1);
            let (rung, waker) = bell();
            let first = wait(&permits, &waker);
            let (one, two) = (permits.clone(), permits.clone());
            let got = together(vec![
                Box::new(move || {
                    one.set(3);
                    None
                }) as Work<Option<Asked>>,
                Box::new(move || Some(two.ask(Waker::noop()))),
            ]);
            assert!(permits.is_granted(first, Waker::noop()));
            assert_eq!(rung.0.load(SeqCst), 1);
            if let Some(Asked::Waiting(second)) = got[1] {
                assert!(permits.is_granted(second, Waker::noop()), "forgotten");
            }
            assert_eq!(stands(&permits), (3, 0));
        });
    }),
    ("limit: a lower limit lets nobody in beyond it", || {
        explore(|| {
            let permits = taken(2, 1, 2);
            let first = wait(&permits, Waker::noop());
            let (one, two) = (permits.clone(), permits.clone());
            together::<()>(vec![
                Box::new(move || {
                    one.set(1);
                }),
                Box::new(move || two.give()),
            ]);
            // Whichever came first: one runs, and perhaps the one that waited.
            let granted = permits.is_granted(first, Waker::noop());
            assert_eq!(stands(&permits), if granted { (2, 0) } else { (1, 1) });
            permits.give();
            assert_eq!(stands(&permits), (1, 0));
        });
    }),
    ("limit: two signs of one overload shrink it once", || {
        explore(|| {
            let terms = Terms { min: 1, max: 10, period: 100 };
            let permits = Arc::new(Permits::new(10, None, Some(terms)));
            assert!(permits.take() && permits.take());
            let moved = together(twice(&permits, |permits| {
                let moved = permits.overloaded(0, 5);
                permits.give();
                moved
            }));
            assert_eq!(moved.iter().flatten().count(), 1);
            assert_eq!((permits.word().limit(), stands(&permits)), (7, (0, 0)));
        });
    }),
    ("limit: no answer of two is lost", || {
        explore(|| {
            let terms = Terms { min: 1, max: 10, period: 100 };
            let permits = Arc::new(Permits::new(2, None, Some(terms)));
            assert!(permits.take() && permits.take());
            together(twice(&permits, |permits| {
                permits.answered(None);
                permits.give();
            }));
            assert_eq!((permits.word().limit(), stands(&permits)), (3, (0, 0)));
        });
    }),
];
