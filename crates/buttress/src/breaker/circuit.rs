//! The circuit: who may call, and what outcomes change. Knows no clock, no lock and no runtime.
//!
//! Times are nanoseconds since the circuit's own beginning.

use super::{
    probes::{Begun, Probes, Round, Slot, Standing},
    trigger::{Evidence, Health, Trigger},
};
use crate::{Backoff, Why};

/// The settings of a circuit, as numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) trigger: Trigger,
    pub(super) open_for: Backoff,
    pub(super) probes: Probes,
    /// Evidence that does not age by itself is forgotten after so much time without a call.
    pub(super) memory: u64,
    /// How long a probe may take, and a lease be kept.
    pub(super) patience: u64,
    /// The most that a throttled reply may ask for.
    pub(super) max_retry_after: u64,
}

/// Where the circuit stands. The picture is in the docs of the module above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Closed,
    Open,
    HalfOpen,
    ForcedOpen,
    ForcedClosed,
}

/// What makes it change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Too much evidence, or too many failed probes.
    Trip(Why),
    /// A call came in after the open time.
    Due,
    /// Enough probes succeeded.
    Recover,
    ForceOpen,
    ForceClosed,
    Reset,
}

impl State {
    /// The state after a cause; `None` where it changes nothing.
    pub(super) const fn after(self, cause: Cause) -> Option<Self> {
        use {Cause as C, State as S};
        match (self, cause) {
            (S::Closed, C::Trip(_)) => Some(S::Open),
            (S::Open, C::Due) => Some(S::HalfOpen),
            (S::HalfOpen, C::Trip(_)) => Some(S::Open),
            (S::HalfOpen, C::Recover) => Some(S::Closed),

            (S::Closed | S::Open | S::HalfOpen | S::ForcedClosed, C::ForceOpen) => {
                Some(S::ForcedOpen)
            }
            (S::Closed | S::Open | S::HalfOpen | S::ForcedOpen, C::ForceClosed) => {
                Some(S::ForcedClosed)
            }
            // Also when closed: what was seen is forgotten.
            (_, C::Reset) => Some(S::Closed),

            (S::Closed, C::Due | C::Recover) => None,
            (S::Open, C::Trip(_) | C::Recover) => None,
            (S::HalfOpen, C::Due) => None,
            (S::ForcedOpen, C::Trip(_) | C::Due | C::Recover | C::ForceOpen) => None,
            (S::ForcedClosed, C::Trip(_) | C::Due | C::Recover | C::ForceClosed) => None,
        }
    }

    /// Whether calls pass without further questions.
    pub(super) const fn passes(self) -> bool {
        matches!(self, Self::Closed | Self::ForcedClosed)
    }
}

/// The right to make one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    /// When it was given, in changes of state.
    pub(super) generation: u64,
    /// The place among the probes, if it is one.
    pub(super) slot: Option<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Pass(Pass),
    Reject {
        /// For how long, if that is known.
        wait: Option<u64>,
    },
}

/// What a call came to, as far as the circuit is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Good,
    Bad,
    Throttled {
        /// How long it asks to be left alone.
        asked: u64,
    },
    /// Given up by the caller, and late by then.
    Overdue,
    /// It says nothing of the dependency.
    Nothing,
}

/// Whether an outcome counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Counted,
    /// It belongs to an earlier time, and changed nothing.
    Stale,
}

/// What is to be told once the lock is released, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// For how many nanoseconds (`None` until told otherwise), and why.
    pub(super) opened: Option<(Option<u64>, Why)>,
    pub(super) closed: Option<Why>,
    /// How many probes run.
    pub(super) probing: Option<u8>,
    /// Whether those who wait, or watch, should look again.
    pub(super) turned: bool,
}

/// A random number, at least 0 and below 1, drawn when it is needed.
pub(super) type Unit<'a> = &'a dyn Fn() -> f64;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Circuit {
    terms: Terms,
    state: State,
    /// Counts the changes of state.
    generation: u64,
    evidence: Evidence,
    round: Round,
    /// When an open circuit is due for probes.
    until: u64,
    /// Until when throttled replies asked to be left alone.
    asked_until: u64,
    /// How often it opened since it was last closed, and for how long the last time.
    openings: u32,
    wait: u64,
    /// The latest time that it has heard of: threads read the clock before they take their turn.
    now: u64,
    /// When an outcome last came in.
    last: u64,
}

impl Circuit {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            evidence: terms.trigger.evidence(),
            round: Round::new(terms.probes),
            terms,
            state: State::Closed,
            generation: 0,
            until: 0,
            asked_until: 0,
            openings: 0,
            wait: 0,
            now: 0,
            last: 0,
        }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) const fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Decides about one call; with `lease`, only its place is kept until it [begins](Self::begin).
    pub(super) fn admit(&mut self, now: u64, lease: bool, unit: Unit<'_>) -> (Admission, Notes) {
        let mut notes = self.tick(now, unit);
        if self.state == State::Open && self.now >= self.until {
            self.shift(self.now, Cause::Due, unit, &mut notes);
        }
        let admission = match self.state {
            State::Closed | State::ForcedClosed => Admission::Pass(self.pass(None)),
            State::Open => Admission::Reject { wait: Some(self.until - self.now) },
            State::ForcedOpen => Admission::Reject { wait: None },
            State::HalfOpen => match self.round.take(self.now, lease) {
                Some(slot) => {
                    notes.probing = (!lease).then(|| self.round.running());
                    Admission::Pass(self.pass(Some(slot)))
                }
                None => Admission::Reject { wait: None },
            },
        };
        (admission, notes)
    }

    /// Starts a lease, or a probe that has waited, as of now; `false` if its place is lost.
    pub(super) fn begin(&mut self, now: u64, pass: Pass, unit: Unit<'_>) -> (bool, Notes) {
        let mut notes = self.tick(now, unit);
        let begun = if pass.generation == self.generation && self.state == State::HalfOpen {
            pass.slot.and_then(|slot| self.round.begin(self.now, slot))
        } else {
            None
        };
        if begun == Some(Begun::Lease) {
            notes.probing = Some(self.round.running());
        }
        (begun.is_some(), notes)
    }

    /// Takes note of what a call came to that ran for `ran`.
    pub(super) fn record(
        &mut self,
        now: u64,
        pass: Pass,
        outcome: Outcome,
        ran: u64,
        unit: Unit<'_>,
    ) -> (Fate, Notes) {
        let mut notes = self.tick(now, unit);
        if pass.generation != self.generation {
            return (Fate::Stale, notes);
        }
        match (self.state, pass.slot) {
            (State::Closed, _) => {
                if let Some(why) = self.weigh(outcome, ran) {
                    self.shift(self.now, Cause::Trip(why), unit, &mut notes);
                }
            }
            (State::HalfOpen, Some(slot)) => {
                if !self.judge(slot, outcome, ran) {
                    return (Fate::Stale, notes);
                }
                match self.round.standing() {
                    Standing::Undecided => {}
                    Standing::Recovered => {
                        self.shift(self.now, Cause::Recover, unit, &mut notes);
                    }
                    Standing::Failed => {
                        self.shift(self.now, Cause::Trip(Why::Probe), unit, &mut notes);
                    }
                }
            }
            // No pass is given while open, and commands stand whatever comes in.
            (State::HalfOpen, None)
            | (State::Open | State::ForcedOpen | State::ForcedClosed, _) => {}
        }
        (Fate::Counted, notes)
    }

    /// Takes note of successes that were not worth telling when they came in.
    pub(super) fn credit(&mut self, successes: u64) {
        if self.state == State::Closed {
            self.evidence.credit(successes);
        }
    }

    /// Obeys a command.
    pub(super) fn command(&mut self, now: u64, command: Cause, unit: Unit<'_>) -> Notes {
        let mut notes = self.tick(now, unit);
        self.shift(self.now, command, unit, &mut notes);
        notes
    }

    /// Until when a call that comes in is rejected, as things are: not before then is the circuit
    /// worth asking. `None` if calls may pass, or if only a command will change it.
    pub(super) fn shut_until(&self) -> Option<u64> {
        match self.state {
            State::Open => Some(self.until),
            State::HalfOpen if self.round.is_full() => {
                self.round.first_out(self.terms.patience).map(|(at, ..)| at)
            }
            State::HalfOpen | State::Closed | State::ForcedClosed | State::ForcedOpen => None,
        }
    }

    /// Whether a half-open circuit has no place left.
    pub(super) fn is_full(&self) -> bool {
        self.round.is_full()
    }

    const fn pass(&self, slot: Option<Slot>) -> Pass {
        Pass { generation: self.generation, slot }
    }

    /// Lets time pass. Probes that are out of patience have failed, each at its own time, so that
    /// the open time is not counted from whenever somebody looks; leases are given back.
    fn tick(&mut self, now: u64, unit: Unit<'_>) -> Notes {
        self.now = self.now.max(now);
        let mut notes = Notes::default();
        while self.state == State::HalfOpen {
            match self.round.first_out(self.terms.patience) {
                Some((at, slot, leased)) if at <= self.now => {
                    if leased {
                        self.round.release(slot);
                    } else {
                        self.round.decide(slot, false);
                    }
                    if self.round.standing() == Standing::Failed {
                        self.shift(at, Cause::Trip(Why::Probe), unit, &mut notes);
                    }
                }
                _ => break,
            }
        }
        notes
    }

    /// Weighs an outcome while closed; tells why if it opens the circuit.
    fn weigh(&mut self, outcome: Outcome, ran: u64) -> Option<Why> {
        let health = match (outcome, self.evidence.slow()) {
            (Outcome::Nothing, _) => return None,
            (Outcome::Overdue, _) => Health::Bad,
            (_, Some(slow)) if ran >= slow => Health::Bad,
            (_, Some(_)) | (Outcome::Good, None) => Health::Good,
            (Outcome::Bad, None) => Health::Bad,
            (Outcome::Throttled { .. }, None) => Health::Throttled,
        };
        // From the start of the call: while a call runs, there is no time without one.
        let idle = (self.now - ran.min(self.now)).saturating_sub(self.last);
        if idle > self.terms.memory
            && self.evidence.rolls_at().is_none()
            && !self.evidence.is_quiet()
        {
            self.evidence.clear();
        }
        self.last = self.now;
        self.heed(outcome);
        self.evidence.record(self.now, health)
    }

    /// Decides a probe; `false` if its place is no longer held.
    fn judge(&mut self, slot: Slot, outcome: Outcome, ran: u64) -> bool {
        let slow = self.evidence.slow().is_some_and(|slow| ran >= slow);
        match outcome {
            Outcome::Nothing => self.round.release(slot),
            _ => {
                let held = self.round.decide(slot, outcome == Outcome::Good && !slow);
                if held {
                    self.heed(outcome);
                }
                held
            }
        }
    }

    /// Remembers how long a throttled reply asks to be left alone.
    fn heed(&mut self, outcome: Outcome) {
        if let Outcome::Throttled { asked } = outcome {
            let asked = asked.min(self.terms.max_retry_after);
            self.asked_until = self.asked_until.max(self.now.saturating_add(asked));
        }
    }

    /// Changes the state, if the cause changes it, as of time `at`.
    fn shift(&mut self, at: u64, cause: Cause, unit: Unit<'_>, notes: &mut Notes) {
        let Some(next) = self.state.after(cause) else { return };
        let before = std::mem::replace(&mut self.state, next);
        self.generation += 1;
        self.evidence.clear();
        match next {
            State::Open => {
                self.openings = self.openings.saturating_add(1);
                let previous = std::time::Duration::from_nanos(self.wait);
                let wait = self.terms.open_for.delay(self.openings, previous, unit());
                self.wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
                self.until = at.saturating_add(self.wait).max(self.asked_until);
                let why = if let Cause::Trip(why) = cause { why } else { Why::Command };
                notes.opened = Some((Some(self.until - at), why));
            }
            State::HalfOpen => self.round.restart(),
            State::Closed | State::ForcedClosed | State::ForcedOpen => {
                (self.openings, self.wait) = (0, 0);
                let why = if cause == Cause::Recover { Why::Recovered } else { Why::Command };
                match (before.passes(), next.passes()) {
                    (true, false) | (false, false) => notes.opened = Some((None, why)),
                    (false, true) => notes.closed = Some(why),
                    (true, true) => {}
                }
            }
        }
        self.asked_until = 0;
    }
}
