//! A circuit, wired to the clock, to chance, to listeners and to those who wait.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    circuit::{Admission, Cause, Fate, Notes, Outcome, Pass, Terms},
    guard::{Guard, Lease},
    handle::{Counters, State},
    shared::{Mode, Shared},
    waiters::Waiters,
};
use crate::{Event, Kind, Random, Rejection, Verdict, event::Voice, stack::note};

/// What a switch is made of.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) terms: Terms,
    pub(super) slow_after: Duration,
    pub(super) random: Random,
    pub(super) voice: Voice,
}

impl Settings {
    /// Adds itself to the outline of a stack.
    pub(super) fn note(&self, keyed: &str) {
        note(&self.voice, || {
            let Terms { trigger, open_for, .. } = &self.terms;
            format!("opens {trigger}{keyed}, tries again {open_for}")
        });
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Switch {
    shared: Shared,
    settings: Settings,
    /// When the trigger looks at the clock at every outcome.
    timed: bool,
    /// From when on the trigger takes a call as bad.
    slow: Option<Duration>,
    /// Time zero of the circuit: when the clock was first needed.
    epoch: OnceLock<Instant>,
    counts: Counts,
    state: watch::Sender<State>,
    waiters: Waiters,
}

#[derive(Debug, Default)]
struct Counts {
    succeeded: AtomicU64,
    failed: AtomicU64,
    ignored: AtomicU64,
    rejected: AtomicU64,
    stale: AtomicU64,
    abandoned: AtomicU64,
    opened: AtomicU64,
}

fn bump(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

impl Switch {
    pub(super) fn new(settings: &Settings) -> Arc<Self> {
        let evidence = settings.terms.trigger.evidence();
        Arc::new(Self {
            shared: Shared::new(settings.terms),
            settings: settings.clone(),
            timed: evidence.rolls_at().is_some(),
            slow: evidence.slow().map(Duration::from_nanos),
            epoch: OnceLock::new(),
            counts: Counts::default(),
            state: watch::Sender::new(State::Closed),
            waiters: Waiters::default(),
        })
    }

    #[inline]
    pub(super) fn mode(&self) -> Mode {
        self.shared.gate().mode()
    }

    pub(super) const fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Whether a call that came in now could pass, as far as can be told without trying.
    ///
    /// Whether an open circuit is due takes a look at the clock; without it, it is not.
    #[inline]
    pub(super) fn may_pass(&self, look_at_clock: bool) -> bool {
        match self.mode() {
            Mode::Closed | Mode::ForcedClosed | Mode::Probing => true,
            Mode::ForcedOpen => false,
            Mode::Open | Mode::Full => look_at_clock && self.is_due(),
        }
    }

    /// Whether the time is over for which calls are shut out.
    fn is_due(&self) -> bool {
        self.shared.shut_until().is_some_and(|until| self.nanos(Instant::now()) >= until)
    }

    /// Lets a call pass if the circuit is closed.
    #[inline]
    pub(super) fn pass(self: &Arc<Self>) -> Option<Guard> {
        self.shared.pass().map(|pass| Guard::new(self.clone(), pass))
    }

    /// Decides about a call.
    #[inline(never)]
    pub(super) fn admit(self: &Arc<Self>) -> Result<Guard, Rejection> {
        if let Some(guard) = self.pass() {
            return Ok(guard);
        }
        if self.mode() == Mode::ForcedOpen {
            return Err(self.reject(None));
        }
        let now = self.nanos(Instant::now());
        let (admission, notes) = self.shared.admit(now, false, &|| self.settings.random.unit());
        self.tell(notes);
        match admission {
            Admission::Pass(pass) => Ok(Guard::new(self.clone(), pass)),
            Admission::Reject { wait } => Err(self.reject(wait.map(Duration::from_nanos))),
        }
    }

    /// Refuses a call.
    pub(super) fn reject(&self, retry_after: Option<Duration>) -> Rejection {
        bump(&self.counts.rejected);
        self.settings.voice.tell(Event::Rejected { retry_after });
        Rejection::open(self.settings.voice.name(), retry_after)
    }

    /// Keeps a place for a call to come: a lease where places are few, nothing where the circuit
    /// is closed. If calls are shut out, tells until when, where that is known.
    pub(super) fn lease(self: &Arc<Self>) -> Result<Option<Lease>, Option<Instant>> {
        if self.shared.pass().is_some() {
            return Ok(None);
        }
        let clock = Instant::now();
        let now = self.nanos(clock);
        let (admission, notes) = self.shared.admit(now, true, &|| self.settings.random.unit());
        self.tell(notes);
        match admission {
            Admission::Pass(pass) => {
                let until = clock.checked_add(Duration::from_nanos(self.settings.terms.patience));
                Ok(pass.slot.map(|_| Lease::new(self.clone(), pass, until)))
            }
            Admission::Reject { .. } => Err(self.shared.shut_until().and_then(|until| {
                self.epoch.get().and_then(|epoch| epoch.checked_add(Duration::from_nanos(until)))
            })),
        }
    }

    /// Whether a pass is still good for a call; for a probe the clock starts anew.
    pub(super) fn still_stands(&self, pass: Pass) -> bool {
        self.is_current(pass) && (pass.slot.is_none() || self.begin(pass))
    }

    /// Turns a lease into a probe; `false` if it is over.
    pub(super) fn begin(&self, pass: Pass) -> bool {
        let now = self.nanos(Instant::now());
        let (valid, notes) = self.shared.begin(now, pass, &|| self.settings.random.unit());
        self.tell(notes);
        valid
    }

    /// Gives a place back of which no use was made.
    pub(super) fn release(&self, pass: Pass) {
        let (_, notes) = self.record(pass, Outcome::Nothing, Instant::now(), Duration::ZERO);
        self.tell(notes);
    }

    /// Whether nothing changed since a pass was given.
    pub(super) fn is_current(&self, pass: Pass) -> bool {
        self.shared.gate().generation() == pass.generation
    }

    /// Takes note of what a call came to; `started` is when it was first pending, if it was.
    #[inline]
    pub(super) fn settle(&self, pass: Pass, verdict: Verdict, started: Option<Instant>) {
        let good = matches!(verdict.kind, Kind::Success | Kind::Permanent);
        let watched = self.timed || (self.slow.is_some() && started.is_some());
        if good && !watched && self.shared.succeed(pass, None) {
            return;
        }
        self.settle_slowly(pass, verdict, started);
    }

    #[inline(never)]
    fn settle_slowly(&self, pass: Pass, verdict: Verdict, started: Option<Instant>) {
        let now = Instant::now();
        let ran = started.map_or(Duration::ZERO, |started| now.saturating_duration_since(started));
        let (outcome, count) = match verdict.kind {
            Kind::Success | Kind::Permanent => (Outcome::Good, &self.counts.succeeded),
            Kind::Transient | Kind::Unknown => (Outcome::Bad, &self.counts.failed),
            Kind::Throttled => {
                let asked = nanos(verdict.retry_after.unwrap_or_default());
                (Outcome::Throttled { asked }, &self.counts.failed)
            }
            Kind::Reroute | Kind::Rejected => (Outcome::Nothing, &self.counts.ignored),
        };
        let fast = self.slow.is_none_or(|slow| ran < slow);
        if outcome == Outcome::Good && fast && self.shared.succeed(pass, Some(self.nanos(now))) {
            return;
        }
        let (fate, notes) = self.record(pass, outcome, now, ran);
        match fate {
            Fate::Counted => bump(count),
            Fate::Stale => {
                bump(&self.counts.stale);
                self.settings.voice.tell(Event::Stale { verdict });
            }
        }
        self.tell(notes);
    }

    /// Takes note of a call that was dropped before its outcome was known.
    #[cold]
    pub(super) fn abandon(&self, pass: Pass, started: Option<Instant>, deadline: Option<Instant>) {
        let now = started.map(|_| Instant::now());
        let after = match (now, started) {
            (Some(now), Some(started)) => now.saturating_duration_since(started),
            _ => Duration::ZERO,
        };
        let slow =
            self.slow.map_or(self.settings.slow_after, |slow| slow.min(self.settings.slow_after));
        let passed = |now| deadline.is_some_and(|end| now >= end);
        let overdue = now.is_some_and(|now| after >= slow || passed(now));
        bump(&self.counts.abandoned);
        // A call that is neither late nor a probe leaves nothing behind: there is no need to know
        // the time.
        let (failure, notes) = if overdue || pass.slot.is_some() {
            let outcome = if overdue { Outcome::Overdue } else { Outcome::Nothing };
            let now = now.unwrap_or_else(Instant::now);
            let (fate, notes) = self.record(pass, outcome, now, after);
            (overdue && fate == Fate::Counted, notes)
        } else {
            (false, Notes::default())
        };
        self.settings.voice.tell(Event::Abandoned { after, failure });
        self.tell(notes);
    }

    fn record(&self, pass: Pass, outcome: Outcome, now: Instant, ran: Duration) -> (Fate, Notes) {
        let unit = &|| self.settings.random.unit();
        self.shared.record(self.nanos(now), pass, outcome, nanos(ran), unit)
    }

    /// Obeys a command from outside.
    pub(super) fn command(&self, command: Cause) {
        let now = self.nanos(Instant::now());
        let notes = self.shared.command(now, command, &|| self.settings.random.unit());
        self.tell(notes);
    }

    pub(super) fn state(&self) -> State {
        State::of(self.mode())
    }

    pub(super) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The rest of the open time.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self.mode() {
            Mode::Open => {
                let now = self.nanos(Instant::now());
                let until = self.shared.shut_until()?;
                Some(Duration::from_nanos(until.saturating_sub(now)))
            }
            _ => None,
        }
    }

    pub(super) fn counters(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { succeeded, failed, ignored, rejected, stale, abandoned, opened } =
            &self.counts;
        let succeeded = self.shared.calm() + read(succeeded);
        let (failed, ignored) = (read(failed), read(ignored));
        let (stale, abandoned) = (read(stale), read(abandoned));
        Counters {
            passed: succeeded + failed + ignored + stale + abandoned,
            succeeded,
            failed,
            ignored,
            rejected: read(rejected),
            stale,
            abandoned,
            opened: read(opened),
        }
    }

    /// Tells what happened, to listeners first, now that no lock is held.
    #[inline]
    fn tell(&self, notes: Notes) {
        if notes != Notes::default() {
            self.tell_all(notes);
        }
    }

    #[cold]
    fn tell_all(&self, notes: Notes) {
        let voice = &self.settings.voice;
        if let Some((wait, why)) = notes.opened {
            bump(&self.counts.opened);
            voice.tell(Event::Opened { wait: wait.map(Duration::from_nanos), why });
        }
        if let Some(why) = notes.closed {
            voice.tell(Event::Closed { why });
        }
        if let Some(running) = notes.probing {
            voice.tell(Event::Probing { running: running.into() });
        }
        if notes.turned {
            // Read again under the channel's lock: of two threads that come here the later one
            // must not write the older state.
            self.state.send_if_modified(|state| {
                let now = self.state();
                std::mem::replace(state, now) != now
            });
            self.waiters.wake_all();
        }
    }

    fn nanos(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(*self.epoch.get_or_init(|| now)))
    }
}

/// The nanoseconds of a duration, at most those of 584 years.
pub(super) fn nanos(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(u64::from(duration.subsec_nanos()))
}
