//! Tower layers that keep agent and tool calls working.
//!
//! A call is a [`tower::Service`] call. Each pattern is a [`tower::Layer`]; compose them with
//! [`tower::ServiceBuilder`] around the client that you already have.
//!
//! ```text
//!            a call                                            an attempt
//!   caller ─────────▶ timeout ─▶ retry ─▶ hedge ─▶ breaker ─▶ limit ─▶ timeout ─▶ your service
//!          ◀───────── 20 s       again?   another? let in?    room?    5 s
//!                                  ▲         ▲        ▲         ▲         │
//!                                  └─────────┴────────┴─────────┴─ verdict┘
//! ```
//!
//! ```
//! use std::time::Duration;
//! use buttress::{BreakerLayer, HedgeLayer, LimitLayer, RetryLayer, TimeoutLayer};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let tool = service_fn(async |city: &'static str| Ok::<_, BoxError>(format!("sunny in {city}")));
//! let service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(20))) // the call
//!     .layer(RetryLayer::new().attempts(3))
//!     .layer(HedgeLayer::after(Duration::from_secs(1)))
//!     .layer(BreakerLayer::default())
//!     .layer(LimitLayer::adaptive())
//!     .layer(TimeoutLayer::new(Duration::from_secs(5))) // each attempt
//!     .service(tool);
//! assert_eq!(service.oneshot("Rome").await.unwrap(), "sunny in Rome");
//! # }
//! ```
//!
//! In the order in which they go around a service, outermost first ([`stack`] tells why):
//!
//! | layer | what it is for | a failure it hides |
//! |---|---|---|
//! | [`FallbackLayer`] | what fails is done by something else, or done without | a provider that is gone |
//! | `CheckpointLayer` | each step of a workflow is done once: what was done is answered from a store | a crash |
//! | [`DegradeLayer`] | several services answer together, as far as they can | a part that is gone |
//! | [`QuorumLayer`] | several are asked, and enough of them must agree | a wrong answer |
//! | [`RetryLayer`] | what may pass is tried again later | a restart, a rate limit |
//! | [`HedgeLayer`] | slow and failing attempts are overtaken by others | a stuck connection |
//! | [`BreakerLayer`] | what is broken is left alone | an outage |
//! | [`FailoverLayer`] | of several replicas, one that is well is called | a replica that is down |
//! | `LeaderLayer` (feature `serde`) | of several processes one is active | a process that is gone |
//! | [`LimitLayer`] | only so many calls run at once: a fixed number, or what is found to be good | overload |
//! | [`TimeoutLayer`] | attempts and calls end in time | a hang |
//!
//! [`Stack::tool`] and [`Stack::llm`] are ready-made stacks of those that go around a single service,
//! and [`ServiceBuilderExt::check`] finds layers in a harmful order.
//!
//! # How the layers understand each other
//!
//! An outcome is judged once into a [`Verdict`], by the error itself ([`Fault`]) or by a classifier
//! ([`Classify`]) that also sees the response: failures that look like successes are common where
//! models and tools answer. Each layer reads the verdict in its own way.
//!
//! # Your error type
//!
//! No layer changes the error type. One that can refuse a call makes your error out of a
//! [`Rejection`]. So stacks do not nest errors, and layers can be added and removed freely.
//!
//! Your own enum says what its variants mean and has one for refusals:
//!
//! ```
//! use buttress::{BreakerLayer, Fault, Rejection, RetryLayer, Verdict};
//! use tower::{ServiceBuilder, service_fn};
//! # fn check<S: tower::Service<u32, Error = SearchError>>(_: S) {}
//! # #[allow(dead_code)]
//! enum SearchError { Busy, Rejected(Rejection) }
//! impl From<Rejection> for SearchError { // or #[from], with thiserror
//!     fn from(rejection: Rejection) -> Self { Self::Rejected(rejection) }
//! }
//! impl Fault for SearchError {
//!     fn verdict(&self) -> Verdict {
//!         match self { Self::Busy => Verdict::throttled(), Self::Rejected(r) => r.verdict() }
//!     }
//! }
//! let service = ServiceBuilder::new().layer(RetryLayer::new()).layer(BreakerLayer::default())
//!     .service(service_fn(async |n: u32| Ok::<_, SearchError>(n)));
//! # check(service);
//! ```
//!
//! Boxed errors work as they are: known errors are found along the chain of sources. (Of a stack
//! over them that is spawned in an async block the compiler may say that something is "not general
//! enough": [`Fault`] tells how to hide its type.)
//!
//! ```
//! use buttress::{BreakerLayer, RetryLayer};
//! use tower::{BoxError, ServiceBuilder, service_fn};
//! # fn check<S: tower::Service<u32>>(_: S) {}
//! let service = ServiceBuilder::new().layer(RetryLayer::new()).layer(BreakerLayer::default())
//!     .service(service_fn(async |n: u32| Ok::<_, BoxError>(n)));
//! # check(service);
//! ```
//!
//! Somebody else's error that says what it means (`io::Error`, and hyper's and reqwest's behind the
//! features of those names) goes into [`CallError`] at the bottom:
//!
//! ```
//! use std::io;
//! use buttress::{BreakerLayer, CallError, RetryLayer};
//! use tower::{ServiceBuilder, service_fn};
//! # fn check<S: tower::Service<u32>>(_: S) {}
//! let service = ServiceBuilder::new().layer(RetryLayer::new()).layer(BreakerLayer::default())
//!     .map_err(CallError::Service)
//!     .service(service_fn(async |n: u32| Ok::<_, io::Error>(n)));
//! # check(service);
//! ```
//!
//! One that says nothing needs a classifier besides:
//!
//! ```
//! use std::num::ParseIntError as Foreign;
//! use buttress::{BreakerLayer, CallError, RetryLayer, Verdict};
//! use tower::{ServiceBuilder, service_fn};
//! # fn check<S: tower::Service<u32>>(_: S) {}
//! let classify = |outcome: Result<&u32, &CallError<Foreign>>| match outcome {
//!     Ok(_) => Verdict::success(),
//!     Err(CallError::Rejected(rejection)) => rejection.verdict(),
//!     Err(CallError::Service(_)) => Verdict::transient(),
//! };
//! let service = ServiceBuilder::new().layer(RetryLayer::new().classify(classify))
//!     .layer(BreakerLayer::default().classify(classify)).map_err(CallError::Service)
//!     .service(service_fn(async |n: u32| Ok::<_, Foreign>(n)));
//! # check(service);
//! ```
//!
//! A service that cannot fail is given an error at the bottom and a response for it on top:
//!
//! ```
//! use std::convert::Infallible;
//! use buttress::{BreakerLayer, Rejection, RespondLayer, never};
//! use tower::{ServiceBuilder, service_fn};
//! # fn check<S: tower::Service<u32, Error = Infallible>>(_: S) {}
//! let service = ServiceBuilder::new()
//!     .layer(RespondLayer::new(|rejection: Rejection| (503, rejection.to_string())))
//!     .layer(BreakerLayer::default())
//!     .map_err(never::<Rejection>)
//!     .service(service_fn(async |_: u32| Ok::<_, Infallible>((200, "fine".to_owned()))));
//! # check(service);
//! ```
//!
//! If the compiler finds no method `oneshot`, `ready` or `call` on a finished stack, some layer's
//! needs are not met. Passing the stack to a function `fn check<S: tower::Service<Request>>(_: S) {}`
//! makes it say which, and what to do.
//!
//! # Features
//!
//! * `http`: classifier by status and headers, replay of safe and idempotent requests, buffering
//!   of bodies, deadlines that travel: all in the module `http`.
//! * `hyper`, `reqwest`: what the errors of these clients mean.
//! * `serde`: steps that are done once, leaders, and stores: the modules `checkpoint`, `leader` and `store`.

mod backoff;
pub mod breaker;
mod budget;
mod call_error;
mod causes;
#[cfg(feature = "serde")]
pub mod checkpoint;
mod classify;
pub mod degrade;
mod event;
mod ext;
pub mod failover;
pub mod fallback;
mod fan;
pub mod hedge;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "serde")]
pub mod leader;
pub mod limit;
mod name;
pub mod quorum;
mod random;
mod ratio;
mod rejection;
mod replay;
mod respond;
pub mod retry;
pub mod stack;
#[cfg(feature = "serde")]
pub mod store;
mod survival;
mod sync;
pub mod timeout;
mod verdict;

pub use self::{
    backoff::{Backoff, Factor, Jitter},
    breaker::{Breaker, BreakerHandle, BreakerLayer, Cusum, Probes, Trigger, Window},
    budget::{Budget, Withdrawal},
    call_error::{CallError, FromRejection, never},
    causes::{Cause, Causes, IntoCause, Split, Votes},
    classify::{AllTransient, ByFault, Classify, ClassifyExt, Fault, Forbid, OrElse, Refine},
    degrade::{Answers, Degrade, DegradeHandle, DegradeLayer, Thresholds},
    event::{Event, Observe, Resolution, Teller, Tracing, Why},
    ext::ServiceBuilderExt,
    failover::{Failover, FailoverHandle, FailoverLayer},
    fallback::{Fallback, FallbackHandle, FallbackLayer},
    hedge::{Hedge, HedgeHandle, HedgeLayer, OnFailure},
    limit::{Limit, LimitHandle, LimitLayer},
    name::Name,
    quorum::{Agree, Disagreement, Quorum, QuorumLayer, Tolerance},
    random::Random,
    ratio::{OutOfRange, Quantile, Ratio},
    rejection::{Reason, Rejection},
    replay::{ByClone, EffectsIf, Once, Repeat, Replay},
    respond::{Respond, RespondFuture, RespondLayer},
    retry::{Retry, RetryLayer},
    stack::Stack,
    timeout::{Deadline, Timeout, TimeoutLayer},
    verdict::{Effect, Kind, Verdict},
};
#[cfg(feature = "serde")]
pub use self::{
    checkpoint::{Checkpoint, CheckpointLayer},
    leader::{Leader, LeaderHandle, LeaderLayer},
};
