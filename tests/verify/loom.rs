//! Every interleaving and every memory order that loom finds, up to `LOOM_MAX_PREEMPTIONS`.

#![allow(dead_code, unreachable_pub, reason = "the cores offer more than the checks use")]

/// What the cores take from `crate::sync`, here of loom.
mod sync {
    pub(crate) use std::sync::PoisonError;

    pub(crate) use loom::{
        sync::{Arc, Mutex, MutexGuard, atomic::Ordering},
        thread,
    };

    /// Loom's atomic with a switch point after each load: without it loom misses interleavings
    /// between a load and the compare-exchange that follows.
    #[derive(Debug)]
    pub(crate) struct AtomicU64(loom::sync::atomic::AtomicU64);

    impl AtomicU64 {
        pub(crate) fn new(value: u64) -> Self {
            Self(loom::sync::atomic::AtomicU64::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> u64 {
            let value = self.0.load(order);
            thread::yield_now();
            value
        }

        pub(crate) fn store(&self, value: u64, order: Ordering) {
            self.0.store(value, order);
        }

        pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
            self.0.fetch_add(value, order)
        }

        pub(crate) fn compare_exchange_weak(
            &self,
            current: u64,
            new: u64,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u64, u64> {
            self.0.compare_exchange_weak(current, new, success, failure)
        }
    }

    pub(crate) fn explore(scenario: impl Fn() + Send + Sync + 'static) {
        loom::model(scenario);
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
