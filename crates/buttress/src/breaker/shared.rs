//! The circuit as its callers share it: a lock, and a gate in front of it.
//!
//! The gate is one word that says how the circuit stands. It is written under the lock and read
//! without it, so that neither a healthy call nor a rejected one takes the lock.

use super::{
    circuit::{Admission, Cause, Circuit, Fate, Notes, Outcome, Pass, State, Terms, Unit},
    trigger::Evidence,
};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// How the circuit stands, for those who do not hold the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Closed,
    ForcedClosed,
    Open,
    ForcedOpen,
    /// Half-open, with a place left.
    Probing,
    /// Half-open, with all places taken.
    Full,
}

impl Mode {
    /// Whether a command made it so.
    pub(super) const fn is_forced(self) -> bool {
        matches!(self, Self::ForcedClosed | Self::ForcedOpen)
    }
}

/// The word: generation, whether successes may be left untold, mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gate(u64);

const MODE: u64 = 0b0111;
const QUIET: u64 = 0b1000;
const GENERATION: u32 = 4;

impl Gate {
    const fn new(mode: Mode, quiet: bool, generation: u64) -> Self {
        let quiet = if quiet { QUIET } else { 0 };
        Self((generation << GENERATION) | quiet | mode as u64)
    }

    #[inline]
    pub(super) const fn mode(self) -> Mode {
        match self.0 & MODE {
            0 => Mode::Closed,
            1 => Mode::ForcedClosed,
            2 => Mode::Open,
            3 => Mode::ForcedOpen,
            4 => Mode::Probing,
            _ => Mode::Full,
        }
    }

    #[inline]
    pub(super) const fn generation(self) -> u64 {
        self.0 >> GENERATION
    }

    #[inline]
    const fn is_quiet(self) -> bool {
        self.0 & QUIET != 0
    }

    /// Whether the two differ in more than how successes are told.
    const fn differs(self, other: Self) -> bool {
        (self.0 ^ other.0) & !QUIET != 0
    }

    fn of(circuit: &Circuit) -> Self {
        let mode = match circuit.state() {
            State::Closed => Mode::Closed,
            State::ForcedClosed => Mode::ForcedClosed,
            State::Open => Mode::Open,
            State::ForcedOpen => Mode::ForcedOpen,
            State::HalfOpen if circuit.is_full() => Mode::Full,
            State::HalfOpen => Mode::Probing,
        };
        let quiet = match mode {
            Mode::Closed => circuit.evidence().is_quiet(),
            Mode::ForcedClosed => true,
            Mode::Open | Mode::ForcedOpen | Mode::Probing | Mode::Full => false,
        };
        Self::new(mode, quiet, circuit.generation())
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Shared {
    gate: AtomicU64,
    /// Successes that were only counted. The one thing that a healthy call writes to.
    calm: AtomicU64,
    /// Until when an open circuit rejects, and a full one. Two words, lest a reader take the one
    /// for the other.
    open_until: AtomicU64,
    full_until: AtomicU64,
    /// Until when successes may be only counted, where that ends by time.
    rolls_at: AtomicU64,
    ledger: Mutex<Ledger>,
}

#[derive(Debug)]
struct Ledger {
    circuit: Circuit,
    /// How many of the calm successes the circuit knows of.
    credited: u64,
}

impl Shared {
    pub(super) fn new(terms: Terms) -> Self {
        let circuit = Circuit::new(terms);
        Self {
            gate: AtomicU64::new(Gate::of(&circuit).0),
            calm: AtomicU64::new(0),
            open_until: AtomicU64::new(0),
            full_until: AtomicU64::new(0),
            rolls_at: AtomicU64::new(rolls_at(circuit.evidence())),
            ledger: Mutex::new(Ledger { circuit, credited: 0 }),
        }
    }

    /// How the circuit stands.
    // Acquire: whoever sees an open gate sees until when.
    #[inline]
    pub(super) fn gate(&self) -> Gate {
        Gate(self.gate.load(Ordering::Acquire))
    }

    /// Successes that were only counted.
    pub(super) fn calm(&self) -> u64 {
        self.calm.load(Ordering::Relaxed)
    }

    /// Until when calls are rejected, if that is known: not before then is it worth asking again.
    pub(super) fn shut_until(&self) -> Option<u64> {
        match self.gate().mode() {
            Mode::Open => Some(self.open_until.load(Ordering::Relaxed)),
            Mode::Full => Some(self.full_until.load(Ordering::Relaxed)),
            Mode::Closed | Mode::ForcedClosed | Mode::ForcedOpen | Mode::Probing => None,
        }
    }

    /// Lets a call pass if the circuit is closed.
    #[inline]
    pub(super) fn pass(&self) -> Option<Pass> {
        let gate = self.gate();
        match gate.mode() {
            Mode::Closed | Mode::ForcedClosed => {
                Some(Pass { generation: gate.generation(), slot: None })
            }
            Mode::Open | Mode::ForcedOpen | Mode::Probing | Mode::Full => None,
        }
    }

    /// Decides about a call; takes the lock only where that may change something.
    pub(super) fn admit(&self, now: u64, lease: bool, unit: Unit<'_>) -> (Admission, Notes) {
        let gate = self.gate();
        let reject = |wait| (Admission::Reject { wait }, Notes::default());
        match gate.mode() {
            Mode::ForcedOpen => return reject(None),
            Mode::Open => {
                let until = self.open_until.load(Ordering::Relaxed);
                if now < until {
                    return reject(Some(until - now));
                }
            }
            Mode::Full => {
                if now < self.full_until.load(Ordering::Relaxed) {
                    return reject(None);
                }
            }
            Mode::Closed | Mode::ForcedClosed | Mode::Probing => {}
        }
        self.act(|circuit| circuit.admit(now, lease, unit))
    }

    /// Counts a success, if there is no need to tell the circuit of it.
    ///
    /// It then takes effect where the gate is read. The count itself may come in later, even after
    /// a trip, where it can only make a rate milder, by one.
    #[inline]
    pub(super) fn succeed(&self, pass: Pass, now: Option<u64>) -> bool {
        let gate = self.gate();
        let untold = gate.is_quiet()
            && gate.generation() == pass.generation
            && now.is_none_or(|now| now < self.rolls_at.load(Ordering::Relaxed));
        if untold {
            self.calm.fetch_add(1, Ordering::Relaxed);
        }
        untold
    }

    pub(super) fn begin(&self, now: u64, pass: Pass, unit: Unit<'_>) -> (bool, Notes) {
        self.act(|circuit| circuit.begin(now, pass, unit))
    }

    pub(super) fn record(
        &self,
        now: u64,
        pass: Pass,
        outcome: Outcome,
        ran: u64,
        unit: Unit<'_>,
    ) -> (Fate, Notes) {
        self.act(|circuit| circuit.record(now, pass, outcome, ran, unit))
    }

    pub(super) fn command(&self, now: u64, command: Cause, unit: Unit<'_>) -> Notes {
        self.act(|circuit| ((), circuit.command(now, command, unit))).1
    }

    /// All and the bad outcomes that a rate is told of.
    #[cfg(test)]
    pub(super) fn tally(&self) -> (u64, u64) {
        self.act(|circuit| (circuit.evidence().tally(), Notes::default())).0
    }

    fn act<T>(&self, step: impl FnOnce(&mut Circuit) -> (T, Notes)) -> (T, Notes) {
        let mut ledger = self.lock();
        let Ledger { circuit, credited } = &mut *ledger;
        let calm = self.calm();
        circuit.credit(calm - *credited);
        *credited = calm;
        let (value, mut notes) = step(circuit);
        notes.turned = self.publish(circuit);
        (value, notes)
    }

    /// Writes the gate; tells whether those who wait should look again.
    fn publish(&self, circuit: &Circuit) -> bool {
        let gate = Gate::of(circuit);
        let until = circuit.shut_until().unwrap_or(u64::MAX);
        match gate.mode() {
            Mode::Open => self.open_until.store(until, Ordering::Relaxed),
            Mode::Full => self.full_until.store(until, Ordering::Relaxed),
            Mode::Closed | Mode::ForcedClosed | Mode::ForcedOpen | Mode::Probing => {}
        }
        self.rolls_at.store(rolls_at(circuit.evidence()), Ordering::Relaxed);
        let before = self.gate();
        if before != gate {
            self.gate.store(gate.0, Ordering::Release);
        }
        before.differs(gate)
    }

    /// Nothing that can panic runs under the lock but arithmetic, so poison means nothing.
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rolls_at(evidence: &Evidence) -> u64 {
    evidence.rolls_at().unwrap_or(u64::MAX)
}
