//! Many random interleavings; `SHUTTLE_SCHEDULES` says how many (2 000 by default).

#![allow(dead_code, unreachable_pub, reason = "the cores offer more than the checks use")]

/// What the cores take from `crate::sync`, here of shuttle.
mod sync {
    pub(crate) use std::sync::PoisonError;

    pub(crate) use shuttle::{
        sync::{
            Arc, Mutex, MutexGuard,
            atomic::{AtomicU64, Ordering},
        },
        thread,
    };

    pub(crate) fn explore(scenario: impl Fn() + Send + Sync + 'static) {
        let schedules = std::env::var("SHUTTLE_SCHEDULES").ok().and_then(|n| n.parse().ok());
        shuttle::check_random(scenario, schedules.unwrap_or(2_000));
    }
}

mod breaker;
#[path = "../../crates/buttress/src/budget/bucket.rs"]
mod bucket;
mod degrade;
mod limit;
#[path = "../../crates/buttress/src/ratio.rs"]
mod ratio;
mod run;
mod scenarios;
#[path = "../../crates/buttress/src/failover/shelf.rs"]
mod shelf;

// What the cores take from the crate they live in.
use buttress::{Backoff, Why};
use ratio::{OutOfRange, Ratio};

fn main() {
    run::all();
}
