//! The level across calls, wired to the clock and to those who look and listen.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    handle::Counters,
    level::Level,
    shared::{Change, Shared},
    standing::Recovery,
};
use crate::{
    Event, Why,
    event::{Pattern, Voice},
};

/// What a gauge is made of.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// How many better calls in a row lower the level.
    pub(super) calls: NonZeroU32,
    /// How long they must have been better.
    pub(super) time: Duration,
    pub(super) voice: Voice,
}

impl Default for Settings {
    fn default() -> Self {
        let calls = const { NonZeroU32::new(3).unwrap() };
        Self { calls, time: Duration::ZERO, voice: Voice::new(Pattern::Degrade) }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Gauge {
    shared: Shared,
    settings: Settings,
    /// Time zero: when the clock was first needed.
    epoch: OnceLock<Instant>,
    counts: Counts,
    level: watch::Sender<Level>,
}

#[derive(Debug, Default)]
struct Counts {
    full: AtomicU64,
    degraded: AtomicU64,
    minimal: AtomicU64,
    rejected: AtomicU64,
    rose: AtomicU64,
}

fn bump(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

impl Gauge {
    pub(super) fn new(settings: &Settings) -> Arc<Self> {
        let time = settings.time;
        let recovery = Recovery { calls: settings.calls, time: nanos(time) };
        Arc::new(Self {
            shared: Shared::new(recovery),
            settings: settings.clone(),
            epoch: OnceLock::new(),
            counts: Counts::default(),
            level: watch::Sender::new(Level::Full),
        })
    }

    pub(super) const fn voice(&self) -> &Voice {
        &self.settings.voice
    }

    /// Takes note of a call that was answered at this level.
    #[inline]
    pub(super) fn answered(&self, level: Level) {
        bump(match level {
            Level::Full => &self.counts.full,
            Level::Degraded => &self.counts.degraded,
            Level::Minimal => &self.counts.minimal,
        });
        if !self.shared.is_idle(level) {
            self.observe(level);
        }
    }

    /// Takes note of a call that was refused, because too few members were left to answer it.
    pub(super) fn rejected(&self) {
        bump(&self.counts.rejected);
        self.observe(Level::Minimal);
    }

    #[cold]
    fn observe(&self, level: Level) {
        // The clock is not needed where time does not count.
        let now = if self.settings.time.is_zero() { 0 } else { self.now() };
        if let Some(change) = self.shared.observe(now, level) {
            let better = change.to < change.from;
            self.tell(change, if better { Why::Recovered } else { Why::Failure });
        }
    }

    /// Holds the level, or lets it go.
    pub(super) fn force(&self, level: Option<Level>) {
        if let Some(change) = self.shared.force(level) {
            self.tell(change, Why::Command);
        }
    }

    pub(super) fn level(&self) -> Level {
        self.shared.level()
    }

    pub(super) fn is_forced(&self) -> bool {
        self.shared.is_forced()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Level> {
        self.level.subscribe()
    }

    pub(super) fn counters(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { full, degraded, minimal, rejected, rose } = &self.counts;
        Counters {
            full: read(full),
            degraded: read(degraded),
            minimal: read(minimal),
            rejected: read(rejected),
            rose: read(rose),
        }
    }

    /// Tells of a change, to those who follow the level first, now that no lock is held.
    fn tell(&self, Change { from, to }: Change, why: Why) {
        if to > from {
            bump(&self.counts.rose);
        }
        // Read again under the channel's lock: of two threads that come here the later one must
        // not write the older level.
        self.level.send_if_modified(|level| {
            let now = self.level();
            std::mem::replace(level, now) != now
        });
        self.voice().tell(Event::LevelChanged { from, to, why });
    }

    fn now(&self) -> u64 {
        let now = Instant::now();
        nanos(now.saturating_duration_since(*self.epoch.get_or_init(|| now)))
    }
}

/// The nanoseconds of a duration, at most those of 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
