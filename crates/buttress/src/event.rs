//! Facts, told once.
//!
//! A layer tells each fact as one [`Event`] to one [`Observe`]. The default writes `tracing`
//! events with fields; a metrics collector or a test implements the same trait.

mod log;
mod voice;

use std::{fmt, time::Duration};

pub use self::log::Tracing;
pub(crate) use self::voice::{Pattern, Voice};
use crate::{Verdict, Votes, degrade::Level};

/// Something that a layer did or refused to do.
///
/// Attempts are counted from 1. Ordinary successes of a first attempt are not told.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// An attempt failed, or answered unacceptably.
    Failed {
        /// Which attempt.
        attempt: u32,
        /// What it came to.
        verdict: Verdict,
    },
    /// Another attempt will be made after a delay.
    Retrying {
        /// The attempt to come.
        attempt: u32,
        /// The wait before it.
        delay: Duration,
    },
    /// Another attempt starts beside, or in place of, the earlier ones.
    Hedging {
        /// The attempt that starts.
        attempt: u32,
        /// The age of the call.
        after: Duration,
        /// What started it.
        why: Why,
    },
    /// Another tier takes the place of one that failed.
    FallingBack {
        /// The tier to be tried.
        tier: u32,
        /// What led to it.
        why: Why,
    },
    /// An attempt that might have been made was not.
    Suppressed {
        /// The attempt that is not made.
        attempt: u32,
        /// What kept it back.
        why: Why,
    },
    /// An attempt after the first gave the answer.
    Won {
        /// Which attempt.
        attempt: u32,
    },
    /// An attempt that was still running was dropped.
    Cancelled {
        /// Which attempt.
        attempt: u32,
        /// How long it had run.
        after: Duration,
    },
    /// A call ran out of its time.
    TimedOut {
        /// The time it had.
        after: Duration,
    },
    /// A call was refused.
    Rejected {
        /// When to come back, if known.
        retry_after: Option<Duration>,
    },
    /// A limit changed.
    LimitChanged {
        /// How many calls could run at once.
        from: u32,
        /// How many can run now.
        to: u32,
        /// What changed it.
        why: Why,
    },
    /// A circuit opened.
    Opened {
        /// For how long, `None` until told otherwise.
        wait: Option<Duration>,
        /// What opened it.
        why: Why,
    },
    /// A call was let through an open circuit to see whether the dependency is back.
    Probing {
        /// How many probes are now under way.
        running: u32,
    },
    /// A circuit closed.
    Closed {
        /// What closed it.
        why: Why,
    },
    /// A result from before the last change of state came in, and was only counted.
    Stale {
        /// What it came to.
        verdict: Verdict,
    },
    /// A call was dropped before its outcome was known.
    Abandoned {
        /// How long it had run.
        after: Duration,
        /// Whether that counts as a failure.
        failure: bool,
    },
    /// The level of an ensemble, across calls, became another.
    LevelChanged {
        /// What it was.
        from: Level,
        /// What it is.
        to: Level,
        /// What changed it.
        why: Why,
    },
    /// Enough members agree, though some dissent or failed.
    Agreed {
        /// How they voted.
        votes: Votes,
    },
    /// Too few members agree.
    Disagreed {
        /// How they voted.
        votes: Votes,
    },
    /// A replica gets no more calls. Replicas are numbered from 1, in the order of the list.
    Ejected {
        /// Which replica.
        replica: u32,
        /// What speaks against it.
        why: Why,
        /// For how long, `None` until told otherwise.
        wait: Option<Duration>,
    },
    /// A replica gets calls again.
    Readmitted {
        /// Which replica.
        replica: u32,
    },
    /// A replica became the active one.
    Promoted {
        /// Which replica.
        replica: u32,
        /// What made it so.
        why: Why,
    },
    /// A replica is not the active one any more.
    Demoted {
        /// Which replica.
        replica: u32,
        /// What made it so.
        why: Why,
    },
    /// So many replicas look ill that all are used.
    Panicking {
        /// How many look well.
        healthy: u32,
        /// Of how many.
        of: u32,
    },
    /// Enough replicas look well again for the others to be left alone.
    Calmed {
        /// How many look well.
        healthy: u32,
        /// Of how many.
        of: u32,
    },
    /// A call goes to another replica.
    Diverted {
        /// The attempt to come.
        attempt: u32,
        /// Which replica.
        replica: u32,
        /// What became of the attempt before.
        why: Why,
    },
    /// A replica that was chosen for a call was not ready for it.
    PassedOver {
        /// Which replica.
        replica: u32,
        /// Whether it failed or took too long.
        why: Why,
    },
    /// A step that was done before was answered with its recorded outcome.
    Replayed {
        /// The version of the outcome.
        version: u64,
    },
    /// The intent to do a step is durable; the call comes next.
    Intended {
        /// Which attempt at the step.
        attempt: u32,
        /// The version of the intent.
        version: u64,
    },
    /// The outcome of a step is durable.
    Recorded {
        /// Which attempt at the step.
        attempt: u32,
        /// The version of the outcome.
        version: u64,
    },
    /// Nothing came of a step that was begun, and that is recorded: it is not in doubt.
    Withdrawn {
        /// Which attempt at the step.
        attempt: u32,
        /// The version of the record.
        version: u64,
    },
    /// A step was begun before and nobody knows how it ended.
    InDoubt {
        /// The attempt that is in doubt.
        attempt: u32,
        /// What is done about it.
        resolution: Resolution,
    },
    /// A stored version is not as it was written.
    Damaged {
        /// Which version; 0 for what is kept of a workflow, or of a store, as a whole.
        version: u64,
    },
    /// A write came too late, or would have: another process has taken the workflow over, or may have.
    Fenced {
        /// The epoch that is over.
        epoch: u64,
    },
    /// A participant of a transaction did otherwise than was decided, on its own account.
    Mixed {
        /// Whether it was decided to commit.
        commit: bool,
    },
    /// A step that must be done, or undone, failed for good or too often.
    Stuck {
        /// How often it was tried.
        attempts: u32,
    },
    /// This process leads from now on.
    Elected {
        /// The fence that goes with its requests.
        epoch: u64,
    },
    /// This process leads no more.
    Deposed {
        /// The epoch that is over.
        epoch: u64,
        /// What ended it.
        why: Why,
    },
    /// A store did not do what leaders and workers need it for.
    StoreFailed {
        /// How many times in a row.
        attempt: u32,
        /// What it came to.
        verdict: Verdict,
    },
    /// A worker took a workflow up.
    Claimed {
        /// Which attempt at the workflow.
        attempt: u32,
        /// The epoch under which it is held.
        epoch: u64,
    },
    /// A worker recorded a workflow as failed, and nobody takes it up any more.
    GivenUp {
        /// How many attempts were made.
        attempt: u32,
        /// Whether none is left, or none would help.
        why: Why,
    },
}

/// What is done about a step in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resolution {
    /// It is done again, under the same idempotency key.
    Retry,
    /// The call fails, and the step stays in doubt until somebody decides.
    Fail,
    /// The world was asked: it had been done.
    Landed,
    /// The world was asked: it had not been done, and is done now.
    Absent,
}

impl Resolution {
    /// The word for it in lower case, as it appears in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Fail => "fail",
            Self::Landed => "landed",
            Self::Absent => "absent",
        }
    }
}

/// The reason for something done or not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// The schedule asks for several attempts at once.
    Schedule,
    /// The delay passed without an answer.
    Delay,
    /// The attempt before failed, or too many members.
    Failure,
    /// The answers so far contradict each other.
    Dissent,
    /// No attempts are left.
    Attempts,
    /// The budget has too few tokens.
    Budget,
    /// The deadline would pass first.
    Deadline,
    /// The dependency asks for a longer wait than is allowed.
    RetryAfter,
    /// The request may not, or can not, be sent again.
    NotRepeatable,
    /// The failure is final.
    Permanent,
    /// The settings leave failures of this kind as they are.
    Excluded,
    /// Nobody could say what the failure means.
    Unknown,
    /// The dependency asked for fewer calls.
    Throttled,
    /// The dependency is no use for this request, and there is no other.
    Reroute,
    /// A layer inside refused the call.
    Rejected,
    /// The service failed while it was made ready, or was not ready in time.
    NotReady,
    /// It is not expected to help: latencies seen so far do not pay for another attempt.
    NoGain,
    /// So many failures in a row.
    Streak,
    /// Too large a share of failures.
    FailureRate,
    /// Too large a share of slow calls.
    SlowRate,
    /// The evidence of a broken dependency outweighs that of a healthy one.
    Evidence,
    /// A probe failed.
    Probe,
    /// Enough probes, or calls in a row, succeeded.
    Recovered,
    /// Signs of too many calls: timeouts, throttling.
    Overload,
    /// All is well, and more is asked for.
    Growth,
    /// Answers take far longer than those of others.
    Latency,
    /// A health check says so.
    Health,
    /// Told so from outside.
    Command,
    /// The lease ran out, or another took it.
    LeaseLost,
}

impl Why {
    /// The name of the reason in lower case, as it appears in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Why::Schedule => "schedule",
            Why::Delay => "delay",
            Why::Failure => "failure",
            Why::Dissent => "dissent",
            Why::Attempts => "attempts",
            Why::Budget => "budget",
            Why::Deadline => "deadline",
            Why::RetryAfter => "retry_after",
            Why::NotRepeatable => "not_repeatable",
            Why::Permanent => "permanent",
            Why::Excluded => "excluded",
            Why::Unknown => "unknown",
            Why::Throttled => "throttled",
            Why::Reroute => "reroute",
            Why::Rejected => "rejected",
            Why::NotReady => "not_ready",
            Why::NoGain => "no_gain",
            Why::Streak => "streak",
            Why::FailureRate => "failure_rate",
            Why::SlowRate => "slow_rate",
            Why::Evidence => "evidence",
            Why::Probe => "probe",
            Why::Recovered => "recovered",
            Why::Overload => "overload",
            Why::Growth => "growth",
            Why::Latency => "latency",
            Why::Health => "health",
            Why::Command => "command",
            Why::LeaseLost => "lease_lost",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who tells an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Teller<'a> {
    /// The pattern: `breaker`, `checkpoint`, `degrade`, `failover`, `fallback`, `hedge`, `leader`,
    /// `limit`, `quorum`, `retry`, `saga`, `store`, `timeout`, `transaction`, `worker`.
    pub pattern: &'static str,
    /// The name given to the layer, empty if none was; of a worker the workflow.
    pub name: &'a str,
    /// The workflow that the event is about, empty if it is about none.
    pub workflow: &'a str,
}

/// Listens to the events of layers.
///
/// Called on the path of the call, from any thread: be quick, and leave waiting to others.
/// Closures of two arguments listen too.
pub trait Observe: Send + Sync {
    /// Takes note of an event.
    fn event(&self, teller: Teller<'_>, event: &Event);
}

impl<F> Observe for F
where
    F: Fn(Teller<'_>, &Event) + Send + Sync,
{
    fn event(&self, teller: Teller<'_>, event: &Event) {
        self(teller, event);
    }
}
