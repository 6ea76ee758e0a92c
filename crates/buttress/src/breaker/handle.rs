use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{circuit::Cause, shared::Mode, switch::Switch};

/// How a circuit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Calls pass.
    Closed,
    /// Calls are rejected.
    Open,
    /// A few calls pass, to see whether the dependency is back.
    HalfOpen,
}

impl State {
    pub(super) const fn of(mode: Mode) -> Self {
        match mode {
            Mode::Closed | Mode::ForcedClosed => Self::Closed,
            Mode::Open | Mode::ForcedOpen => Self::Open,
            Mode::Probing | Mode::Full => Self::HalfOpen,
        }
    }

    /// The name of the state in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a circuit has counted since it was made.
///
/// The counts are read one after the other: while calls run, they may be apart by a few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Calls that were let through and have ended, the sum of the five counts that follow.
    pub passed: u64,
    /// Calls that the dependency answered, be it with a final error.
    pub succeeded: u64,
    /// Calls that failed or were throttled.
    pub failed: u64,
    /// Calls that said nothing of the dependency: rerouted, or refused by a layer inside.
    pub ignored: u64,
    /// Calls whose result came in after the circuit had changed, and counted for nothing.
    pub stale: u64,
    /// Calls that were dropped before their outcome was known.
    pub abandoned: u64,
    /// Calls that were not let through.
    pub rejected: u64,
    /// How often it opened.
    pub opened: u64,
}

/// Looks at a circuit, and commands it, from outside.
///
/// # Clone
/// Clones belong to the same circuit. Get one from the finished layer: setters make a new circuit.
#[derive(Clone)]
pub struct BreakerHandle {
    switch: Arc<Switch>,
}

impl BreakerHandle {
    pub(super) const fn new(switch: Arc<Switch>) -> Self {
        Self { switch }
    }

    /// How the circuit stands.
    ///
    /// An open circuit whose time is over becomes half-open with the next call.
    pub fn state(&self) -> State {
        self.switch.state()
    }

    /// Whether it stands so by [`force_open`](Self::force_open) or
    /// [`force_closed`](Self::force_closed).
    pub fn is_forced(&self) -> bool {
        self.switch.mode().is_forced()
    }

    /// What it has counted.
    pub fn counters(&self) -> Counters {
        self.switch.counters()
    }

    /// When an open circuit will let the next call in, zero if it would now.
    ///
    /// `None` if it is not open, or open until told otherwise.
    pub fn retry_after(&self) -> Option<Duration> {
        self.switch.retry_after()
    }

    /// Opens the circuit until it is [reset](Self::reset) or forced closed.
    pub fn force_open(&self) {
        self.switch.command(Cause::ForceOpen);
    }

    /// Closes the circuit until it is [reset](Self::reset) or forced open. Outcomes are only
    /// counted.
    pub fn force_closed(&self) {
        self.switch.command(Cause::ForceClosed);
    }

    /// Closes the circuit and forgets what it has seen; counters go on.
    pub fn reset(&self) {
        self.switch.command(Cause::Reset);
    }

    /// Follows the state. Changes that follow each other fast may be seen as one.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.switch.watch()
    }
}

impl fmt::Debug for BreakerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerHandle")
            .field("state", &self.state())
            .field("forced", &self.is_forced())
            .field("counters", &self.counters())
            .finish()
    }
}
