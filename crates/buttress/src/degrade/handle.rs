use std::{fmt, sync::Arc};

use tokio::sync::watch;

use super::{Level, gauge::Gauge};

/// What an ensemble has counted since it was made.
///
/// The counts are read one after the other: while calls run, they may be apart by a few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Calls that were answered at full level.
    pub full: u64,
    /// Calls that were answered at the degraded level.
    pub degraded: u64,
    /// Calls that were answered at the minimal level.
    pub minimal: u64,
    /// Calls that were refused, because too many required members failed.
    pub rejected: u64,
    /// How often the level across calls became worse.
    pub rose: u64,
}

/// Looks at the level across calls, and commands it, from outside.
///
/// # Clone
/// Clones belong to the same level. Get one from the finished layer: setters make a new one.
#[derive(Clone)]
pub struct DegradeHandle {
    gauge: Arc<Gauge>,
}

impl DegradeHandle {
    pub(super) const fn new(gauge: Arc<Gauge>) -> Self {
        Self { gauge }
    }

    /// The level across calls.
    ///
    /// It changes when a call ends, and is full before the first.
    pub fn level(&self) -> Level {
        self.gauge.level()
    }

    /// Whether it stands so by [`force`](Self::force).
    pub fn is_forced(&self) -> bool {
        self.gauge.is_forced()
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.gauge.counters()
    }

    /// Follows the level. Changes that follow each other fast may be seen as one.
    pub fn subscribe(&self) -> watch::Receiver<Level> {
        self.gauge.watch()
    }

    /// Holds the level across calls until it is [released](Self::release): for drills, or where
    /// more is known than the calls show.
    ///
    /// Calls go on as before, and each answer tells the level of its own.
    pub fn force(&self, level: Level) {
        self.gauge.force(Some(level));
    }

    /// Gives the level back to the calls, which have been taken note of meanwhile.
    pub fn release(&self) {
        self.gauge.force(None);
    }
}

impl fmt::Debug for DegradeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DegradeHandle")
            .field("level", &self.level())
            .field("forced", &self.is_forced())
            .field("counters", &self.counters())
            .finish()
    }
}
