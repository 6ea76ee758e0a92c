//! Tower layers that keep agent and tool calls working.

mod backoff;
pub mod breaker;
mod budget;
mod classify;
mod event;
mod random;
mod ratio;
mod rejection;
mod replay;
mod respond;
mod sync;
pub mod timeout;
mod verdict;

pub use self::{
    backoff::{Backoff, Factor, Jitter},
    breaker::{Breaker, BreakerHandle, BreakerLayer, Cusum, Probes, Trigger, Window},
    budget::{Budget, Withdrawal},
    classify::{AllTransient, ByFault, Classify, ClassifyExt, Fault, Forbid, OrElse, Refine},
    event::{Event, Observe, Teller, Tracing, Why},
    random::Random,
    ratio::{OutOfRange, Quantile, Ratio},
    rejection::{CallError, FromRejection, Name, Rejection, never},
    replay::{ByClone, EffectsIf, Once, Repeat, Replay},
    respond::{Respond, RespondFuture, RespondLayer},
    timeout::{Deadline, Timeout, TimeoutLayer},
    verdict::{Effect, Kind, Verdict},
};
