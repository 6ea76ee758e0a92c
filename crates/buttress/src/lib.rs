//! Tower layers that keep agent and tool calls working.

mod backoff;
pub mod breaker;
mod budget;
mod classify;
mod event;
pub mod hedge;
#[cfg(feature = "http")]
pub mod http;
mod random;
mod ratio;
mod rejection;
mod replay;
mod respond;
pub mod retry;
mod survival;
mod sync;
pub mod timeout;
mod verdict;

pub use self::{
    backoff::{Backoff, Factor, Jitter},
    breaker::{Breaker, BreakerHandle, BreakerLayer, Cusum, Probes, Trigger, Window},
    budget::{Budget, Withdrawal},
    classify::{AllTransient, ByFault, Classify, ClassifyExt, Fault, Forbid, OrElse, Refine},
    event::{Event, Observe, Teller, Tracing, Why},
    hedge::{Hedge, HedgeHandle, HedgeLayer, OnFailure},
    random::Random,
    ratio::{OutOfRange, Quantile, Ratio},
    rejection::{CallError, FromRejection, Name, Rejection, never},
    replay::{ByClone, EffectsIf, Once, Repeat, Replay},
    respond::{Respond, RespondFuture, RespondLayer},
    retry::{Retry, RetryLayer},
    timeout::{Deadline, Timeout, TimeoutLayer},
    verdict::{Effect, Kind, Verdict},
};
