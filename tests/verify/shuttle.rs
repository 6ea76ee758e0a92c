//! Many random interleavings; `SHUTTLE_SCHEDULES` says how many (10 000 by default).

#![allow(dead_code, reason = "the cores offer more than the checks use")]

/// What the cores take from `crate::sync`, here of shuttle.
mod sync {
    pub(crate) use shuttle::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        thread,
    };

    pub(crate) fn explore(scenario: impl Fn() + Send + Sync + 'static) {
        let schedules = std::env::var("SHUTTLE_SCHEDULES").ok().and_then(|n| n.parse().ok());
        shuttle::check_random(scenario, schedules.unwrap_or(10_000));
    }
}

#[path = "../../crates/buttress/src/budget/bucket.rs"]
mod bucket;
mod scenarios;
