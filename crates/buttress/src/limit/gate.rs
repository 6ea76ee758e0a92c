//! The permits, wired to the clock and to listeners.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    aimd::Terms,
    handle::Counters,
    pace::Pace,
    permits::{Asked, Moved, Permits, Word},
    sign::{Sign, Slow},
    wait::Wait,
};
use crate::{Event, Rejection, Verdict, Why, event::Voice};

/// What a gate is made of.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) start: u32,
    /// How the limit adapts; it is fixed if `None`.
    pub(super) terms: Option<Terms>,
    /// How many may wait; as many as may run, if `None`.
    pub(super) queue: Option<u32>,
    /// How long one may wait.
    pub(super) patience: Option<Duration>,
    pub(super) slow: Slow,
    pub(super) voice: Voice,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Permits,
    pub(super) settings: Settings,
    /// Time zero: when the clock was first needed.
    epoch: OnceLock<Instant>,
    pace: Mutex<Pace>,
    admitted: AtomicU64,
    waited: AtomicU64,
    rejected: AtomicU64,
    shrunk: AtomicU64,
}

fn bump(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// What became of asking to be let in.
#[derive(Debug)]
pub(super) enum Entry {
    Admitted(Permit),
    InLine(Wait),
    /// There is no room in the line.
    Refused,
}

impl Gate {
    pub(super) fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            permits: Permits::new(settings.start, settings.queue, settings.terms),
            settings: settings.clone(),
            epoch: OnceLock::new(),
            pace: Mutex::default(),
            admitted: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            shrunk: AtomicU64::new(0),
        })
    }

    pub(super) fn word(&self) -> Word {
        self.permits.word()
    }

    /// Whether the limit changes by what becomes of calls.
    #[inline]
    pub(super) const fn is_adaptive(&self) -> bool {
        self.settings.terms.is_some()
    }

    /// Takes a permit, if one is free and nobody waits.
    #[inline]
    pub(super) fn take(self: &Arc<Self>) -> Option<Permit> {
        self.permits.take().then(|| Permit::new(self.clone()))
    }

    /// Takes a permit, or joins the line.
    pub(super) fn ask(self: &Arc<Self>, waker: &Waker) -> Entry {
        match self.permits.ask(waker) {
            Asked::Taken => Entry::Admitted(Permit::new(self.clone())),
            Asked::Waiting(number) => {
                bump(&self.waited);
                Entry::InLine(Wait::new(self.clone(), number))
            }
            Asked::Full => Entry::Refused,
        }
    }

    /// Fetches what who waited under this number was granted; if nothing yet, sets who is woken.
    pub(super) fn fetch(self: &Arc<Self>, number: u64, waker: &Waker) -> Option<Permit> {
        self.permits.is_granted(number, waker).then(|| Permit::new(self.clone()))
    }

    /// Leaves the line; with the permit, if one was granted before that.
    pub(super) fn leave(self: &Arc<Self>, number: u64) -> Option<Permit> {
        (!self.permits.leave(number)).then(|| Permit::new(self.clone()))
    }

    /// Counts a call that is let through.
    #[inline]
    pub(super) fn admit(&self) {
        bump(&self.admitted);
    }

    /// Refuses a call.
    #[cold]
    pub(super) fn refuse(&self) -> Rejection {
        bump(&self.rejected);
        let (now, word) = (self.nanos(Instant::now()), self.word());
        let admitted = self.admitted.load(Ordering::Relaxed);
        let wait = {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.wait(now, admitted, word.waiting(), word.limit())
        };
        let retry_after = Some(wait);
        self.settings.voice.tell(Event::Rejected { retry_after });
        Rejection::full(self.settings.voice.name(), retry_after)
    }

    /// Takes note of an outcome, of a call that still has its permit.
    #[inline]
    fn judge(&self, verdict: Verdict, lapsed: bool, started: Option<Instant>) -> Option<Moved> {
        let ran = || started.map_or(Duration::ZERO, |started| started.elapsed());
        match self.settings.slow.outcome(verdict.kind, lapsed, ran)? {
            Sign::Answer if self.permits.could_grow() => {
                self.permits.answered(started.map(|started| self.nanos(started)))
            }
            Sign::Answer => None,
            Sign::Overload => self.overloaded(started),
        }
    }

    #[cold]
    fn overloaded(&self, started: Option<Instant>) -> Option<Moved> {
        let now = Instant::now();
        let began = self.nanos(started.unwrap_or(now));
        self.permits.overloaded(began, self.nanos(now))
    }

    /// Obeys a command from outside.
    pub(super) fn set(&self, limit: u32) {
        let moved = self.permits.set(limit);
        self.tell(moved, Why::Command);
    }

    /// Tells of a limit that changed by what became of a call.
    #[cold]
    fn tell_adapted(&self, moved: Moved) {
        let grown = moved.to > moved.from;
        if !grown {
            bump(&self.shrunk);
        }
        self.tell(Some(moved), if grown { Why::Growth } else { Why::Overload });
    }

    fn tell(&self, moved: Option<Moved>, why: Why) {
        if let Some(Moved { from, to }) = moved {
            self.settings.voice.tell(Event::LimitChanged { from, to, why });
        }
    }

    pub(super) fn counters(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            admitted: read(&self.admitted),
            waited: read(&self.waited),
            rejected: read(&self.rejected),
            shrunk: read(&self.shrunk),
        }
    }

    /// Time zero is a nanosecond: what began before the clock was needed is from before that.
    fn nanos(&self, now: Instant) -> u64 {
        let since = now.checked_duration_since(*self.epoch.get_or_init(|| now));
        since.map_or(0, |since| nanos(since).saturating_add(1))
    }
}

/// The nanoseconds of a duration, at most those of 584 years.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The right to one call at a time. Goes to the next in line when it is dropped.
pub(super) struct Permit {
    gate: Arc<Gate>,
    /// How many milliseconds it was waited for, where the limit adapts. Small, since permits are
    /// moved on the way of every call.
    waited: u32,
}

impl Permit {
    #[inline]
    const fn new(gate: Arc<Gate>) -> Self {
        Self { gate, waited: 0 }
    }

    /// Takes note of how long it was waited for.
    pub(super) fn mark(&mut self, waited: Duration) {
        self.waited = waited.as_millis().try_into().unwrap_or(u32::MAX);
    }

    #[inline]
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Gives it back with what became of the call.
    #[inline]
    pub(super) fn settle(self, verdict: Verdict, lapsed: bool, started: Option<Instant>) {
        if self.gate.is_adaptive() {
            let moved = self.gate.judge(verdict, lapsed, started);
            self.give_back(moved);
        }
    }

    /// Gives it back of a call that was dropped.
    #[cold]
    pub(super) fn abandon(self, started: Option<Instant>, deadline: Option<Instant>) {
        let moved = started.and_then(|started| {
            let now = Instant::now();
            let ran = now.saturating_duration_since(started);
            // One that spent its time in line says nothing of the dependency: were the limit to
            // shrink for it, the next would wait even longer.
            let waited = Duration::from_millis(self.waited.into());
            let overdue = ran >= waited && deadline.is_some_and(|end| now >= end);
            self.gate.settings.slow.dropped(ran, overdue)?;
            self.gate.overloaded(Some(started))
        });
        self.give_back(moved);
    }

    /// Gives it back first, then tells.
    #[inline]
    fn give_back(self, moved: Option<Moved>) {
        if let Some(moved) = moved {
            let gate = self.gate.clone();
            drop(self);
            gate.tell_adapted(moved);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("waited", &self.waited).finish_non_exhaustive()
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        self.gate.permits.give();
    }
}
