//! What becomes of one call.

use std::{fmt, time::Duration};

use buttress::{Effect, Verdict};

use crate::Takes;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FailKind {
    /// No connection was made: transient, provably without effect. Over HTTP the connection is
    /// closed without an answer.
    Connect,
    /// The connection broke during the call: transient. Over HTTP 502.
    Reset,
    /// The tool gave up waiting for something of its own: transient. Over HTTP 504.
    Timeout,
    /// The tool says that it is not available: transient, without effect. Over HTTP 503.
    Unavailable,
    /// The request is wrong and stays so: permanent. Over HTTP 400.
    BadRequest,
    /// The quota is used up: useless here, worth trying elsewhere. Over HTTP 402.
    Quota,
    /// A failure that nobody can explain: unknown. Over HTTP 500.
    Mystery,
}

impl FailKind {
    /// Every kind, in the order of their declaration.
    pub const ALL: [FailKind; 7] = [
        FailKind::Connect,
        FailKind::Reset,
        FailKind::Timeout,
        FailKind::Unavailable,
        FailKind::BadRequest,
        FailKind::Quota,
        FailKind::Mystery,
    ];

    /// The name in lower case, as it appears in events, plans and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            FailKind::Connect => "connect",
            FailKind::Reset => "reset",
            FailKind::Timeout => "timeout",
            FailKind::Unavailable => "unavailable",
            FailKind::BadRequest => "bad_request",
            FailKind::Quota => "quota",
            FailKind::Mystery => "mystery",
        }
    }

    /// What the failure means to the layers.
    pub const fn verdict(self) -> Verdict {
        match self {
            FailKind::Connect | FailKind::Unavailable => {
                Verdict::transient().with_effect(Effect::None)
            }
            FailKind::Reset | FailKind::Timeout => Verdict::transient(),
            FailKind::BadRequest => Verdict::permanent().with_effect(Effect::None),
            FailKind::Quota => Verdict::reroute(),
            FailKind::Mystery => Verdict::unknown(),
        }
    }
}

impl fmt::Display for FailKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FailKind::Connect => "connection refused",
            FailKind::Reset => "connection reset",
            FailKind::Timeout => "the tool timed out",
            FailKind::Unavailable => "the tool is unavailable",
            FailKind::BadRequest => "bad request",
            FailKind::Quota => "quota used up",
            FailKind::Mystery => "something went wrong",
        })
    }
}

/// What becomes of one call, decided when it is made.
///
/// In a plan the times are ranges, `Fate<Takes>`; once drawn they are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate<T = Duration> {
    /// A right answer.
    Pass {
        /// The time until it is given.
        takes: T,
    },
    /// An error.
    Fail {
        /// Which one.
        kind: FailKind,
        /// The time until it is seen.
        after: T,
    },
    /// Never an answer.
    Hang,
    /// A request to slow down.
    Throttle {
        /// How long to stay away, if it is said.
        retry_after: Option<Duration>,
        /// The time until it is said.
        after: T,
    },
    /// An answer that is wrong and does not look so.
    Corrupt {
        /// The time until it is given.
        takes: T,
    },
    /// An answer that breaks off in the middle.
    DropMidAnswer {
        /// The time until it breaks off.
        after: T,
    },
    /// The tool breaks down: this call and all later ones fail at once until it is restarted.
    Crash {
        /// The time after which it restarts by itself; never, if `None`.
        restart_after: Option<Duration>,
    },
}

impl<T> Fate<T> {
    /// The name in lower case, as it appears in events.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Fate::Pass { .. } => "pass",
            Fate::Fail { .. } => "fail",
            Fate::Hang => "hang",
            Fate::Throttle { .. } => "throttle",
            Fate::Corrupt { .. } => "corrupt",
            Fate::DropMidAnswer { .. } => "drop_mid_answer",
            Fate::Crash { .. } => "crash",
        }
    }

    /// The same fate with its time put through `f`; hanging and crashing have none.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Fate<U> {
        match self {
            Fate::Pass { takes } => Fate::Pass { takes: f(takes) },
            Fate::Fail { kind, after } => Fate::Fail { kind, after: f(after) },
            Fate::Hang => Fate::Hang,
            Fate::Throttle { retry_after, after } => {
                Fate::Throttle { retry_after, after: f(after) }
            }
            Fate::Corrupt { takes } => Fate::Corrupt { takes: f(takes) },
            Fate::DropMidAnswer { after } => Fate::DropMidAnswer { after: f(after) },
            Fate::Crash { restart_after } => Fate::Crash { restart_after },
        }
    }
}

impl Fate<Takes> {
    /// Makes the time exact with a random number, at least 0 and below 1.
    pub fn draw(self, unit: f64) -> Fate {
        self.map(|takes| takes.draw(unit))
    }
}

impl Fate {
    /// The time until the caller sees the end of the call; `None` if that never comes.
    pub const fn delay(&self) -> Option<Duration> {
        match self {
            Fate::Pass { takes } | Fate::Corrupt { takes } => Some(*takes),
            Fate::Fail { after, .. }
            | Fate::Throttle { after, .. }
            | Fate::DropMidAnswer { after } => Some(*after),
            Fate::Crash { .. } => Some(Duration::ZERO),
            Fate::Hang => None,
        }
    }

    /// Whether the call ends in an answer, be it right or wrong.
    pub const fn is_answer(&self) -> bool {
        matches!(self, Fate::Pass { .. } | Fate::Corrupt { .. })
    }
}
