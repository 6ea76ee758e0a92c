//! The level across calls as threads share it, and what must hold of it.

#[path = "../../../crates/buttress/src/degrade/level.rs"]
mod level;
#[path = "../../../crates/buttress/src/degrade/shared.rs"]
mod shared;
#[path = "../../../crates/buttress/src/degrade/standing.rs"]
mod standing;

use std::num::NonZeroU32;

use self::{
    level::Level,
    shared::{Change, Shared},
    standing::Recovery,
};
use crate::{
    run::Scenario,
    scenarios::{together, twice},
    sync::{Arc, explore},
};

fn recovers_after(calls: u32) -> Arc<Shared> {
    let calls = NonZeroU32::new(calls).expect("not zero");
    Arc::new(Shared::new(Recovery { calls, time: 0 }))
}

type Work = Box<dyn FnOnce() -> Option<Change> + Send>;

fn observes(shared: &Arc<Shared>, level: Level) -> Work {
    let shared = shared.clone();
    Box::new(move || shared.observe(0, level))
}

/// Whether the changes lead from one level to the other, in whatever order they are told.
fn lead(mut changes: Vec<Change>, from: Level, to: Level) -> bool {
    let mut at = from;
    while let Some(next) = changes.iter().position(|change| change.from == at) {
        at = changes.remove(next).to;
    }
    changes.is_empty() && at == to
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("degrade: a call at full level does not hide one that is not", || {
        explore(|| {
            let shared = recovers_after(2);
            let work = [Level::Full, Level::Minimal].map(|level| observes(&shared, level));
            together(work.into());
            assert_eq!(shared.level(), Level::Minimal);
            // If the better one came second, it is the first of the row.
            let changes = [(); 2].map(|()| shared.observe(0, Level::Full)).into_iter().flatten();
            assert!(lead(changes.collect(), Level::Minimal, Level::Full));
            assert_eq!(shared.level(), Level::Full);
        });
    }),
    ("degrade: each change is told once", || {
        explore(|| {
            let shared = recovers_after(2);
            let work = [Level::Degraded, Level::Minimal].map(|level| observes(&shared, level));
            let changes = together(work.into()).into_iter().flatten().collect();
            assert!(lead(changes, Level::Full, Level::Minimal));
            assert_eq!(shared.level(), Level::Minimal);
        });
    }),
    ("degrade: of two calls that complete a row one recovers", || {
        explore(|| {
            let shared = recovers_after(2);
            shared.observe(0, Level::Degraded);
            let changes = together(twice(&shared, |shared| shared.observe(0, Level::Full)));
            let changes = changes.into_iter().flatten().collect();
            assert!(lead(changes, Level::Degraded, Level::Full));
            assert!(shared.is_idle(Level::Full));
        });
    }),
    ("degrade: a command and a call do not undo each other", || {
        explore(|| {
            let shared = recovers_after(2);
            let one = shared.clone();
            let command: Work = Box::new(move || one.force(Some(Level::Degraded)));
            together(vec![command, observes(&shared, Level::Minimal)]);
            assert_eq!((shared.level(), shared.is_forced()), (Level::Degraded, true));
            assert!(!shared.is_idle(Level::Full));
            let to = Level::Minimal;
            assert_eq!(shared.force(None), Some(Change { from: Level::Degraded, to }));
            assert_eq!((shared.level(), shared.is_forced()), (to, false));
        });
    }),
];
