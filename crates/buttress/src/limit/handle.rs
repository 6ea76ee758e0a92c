use std::{fmt, num::NonZeroU32, sync::Arc};

use super::gate::Gate;

/// What a limit has counted since it was made.
///
/// The counts are read one after the other: while calls run, they may be apart by a few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Calls that were let through.
    pub admitted: u64,
    /// Times that a service instance had to wait in line.
    pub waited: u64,
    /// Calls that were refused.
    pub rejected: u64,
    /// How often the limit shrank by itself.
    pub shrunk: u64,
}

/// Looks at a limit, and sets it, from outside.
///
/// # Clone
/// Clones belong to the same limit. Get one from the finished layer: setters make a new limit.
#[derive(Clone)]
pub struct LimitHandle {
    gate: Arc<Gate>,
}

impl LimitHandle {
    pub(super) const fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }

    /// How many calls may run at once.
    pub fn limit(&self) -> u32 {
        self.gate.word().limit()
    }

    /// How many calls run, or may begin at any time: service instances that were let through and
    /// not called yet count too.
    pub fn in_flight(&self) -> u32 {
        self.gate.word().taken()
    }

    /// How many wait in line.
    pub fn queued(&self) -> u32 {
        self.gate.word().waiting()
    }

    /// What it has counted.
    pub fn counters(&self) -> Counters {
        self.gate.counters()
    }

    /// Sets how many calls may run at once. Calls that run already go on, be they too many.
    ///
    /// A limit that adapts takes it from there, and stays within its bounds.
    pub fn set(&self, limit: NonZeroU32) {
        self.gate.set(limit.get());
    }
}

impl fmt::Debug for LimitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitHandle")
            .field("limit", &self.limit())
            .field("in_flight", &self.in_flight())
            .field("queued", &self.queued())
            .field("counters", &self.counters())
            .finish()
    }
}
