use std::{fmt, time::Duration};

use buttress::Name;

use crate::Fate;

/// The end of one call of a tool.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Outcome<'a> {
    /// The name of the tool, empty if it has none.
    pub tool: &'a Name,
    /// The number of the call, from 1.
    pub call: u64,
    /// The id of the instance that served it.
    pub instance: u64,
    /// What was decided about it when it was made, with exact times.
    pub fate: Fate,
    /// How it ended.
    pub ended: Ended,
    /// How long it ran, from its first poll, by tokio's clock (whose timers round up to 1 ms).
    pub ran: Duration,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// With an answer, right or wrong.
    Answered,
    /// With an error.
    Failed,
    /// Its future was dropped before it had ended.
    Cancelled,
}

impl Ended {
    /// The name in lower case, as it appears in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ended::Answered => "answered",
            Ended::Failed => "failed",
            Ended::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Listens to the ends of calls.
///
/// Called on the path of the call and from the drop of its future: be quick. Closures listen too.
pub trait OnOutcome: Send + Sync {
    /// Takes note of the end of a call.
    fn outcome(&self, outcome: &Outcome<'_>);
}

impl<F: Fn(&Outcome<'_>) + Send + Sync> OnOutcome for F {
    fn outcome(&self, outcome: &Outcome<'_>) {
        self(outcome);
    }
}

/// Writes the end of a call to `tracing`.
pub(super) fn trace(outcome: &Outcome<'_>) {
    tracing::debug!(
        target: "buttress_sim",
        pattern = "tool",
        name = outcome.tool.as_str(),
        call = outcome.call,
        instance = outcome.instance,
        fate = outcome.fate.as_str(),
        ended = outcome.ended.as_str(),
        seconds = outcome.ran.as_secs_f64(),
    );
}
