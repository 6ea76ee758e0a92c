//! Repeats a call that failed in a way that may pass.
//!
//! After each outcome: is it worth repeating, are attempts left, would the wait pass the
//! deadline, is there budget? Then the wait, then readiness, then the next attempt.
//!
//! ```
//! use std::{io, sync::atomic::{AtomicU32, Ordering}, time::Duration};
//! use buttress::{Backoff, RetryLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let calls = AtomicU32::new(0);
//! let service = ServiceBuilder::new()
//!     .layer(RetryLayer::new().attempts(4).backoff(Backoff::exponential(
//!         Duration::from_millis(200),
//!         Duration::from_secs(5),
//!     )))
//!     .service(service_fn(async |query: &str| match calls.fetch_add(1, Ordering::Relaxed) {
//!         0 | 1 => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
//!         _ => Ok(query.len()),
//!     }));
//! assert_eq!(service.oneshot("weather").await.unwrap(), 7);
//! assert_eq!(calls.into_inner(), 3);
//! # }
//! ```
//!
//! | kind | what it does |
//! |---|---|
//! | [success](crate::Kind::Success) | returns it, feeds the budget |
//! | [transient](crate::Kind::Transient) | waits and repeats; a `retry_after` is never undercut |
//! | [throttled](crate::Kind::Throttled) | the same |
//! | [rejected](crate::Kind::Rejected) | returns it, unless [`wait_when_rejected`](RetryLayer::wait_when_rejected) allows the wait |
//! | [reroute](crate::Kind::Reroute), [permanent](crate::Kind::Permanent) | returns it |
//! | [unknown](crate::Kind::Unknown) | returns it, unless [`retry_unknown`](RetryLayer::retry_unknown) |
//!
//! # Defaults
//! Three attempts in all, 100 ms doubling to 10 s with full jitter, a `retry_after` of up to 60 s
//! is waited for, no budget, requests are copied by `Clone` and taken as repeatable.
//!
//! # Clone
//! Clones share the budget and the random source, nothing else. The request is copied at most
//! `attempts - 1` times: the last attempt moves it. The inner service is cloned once per call.
//!
//! # Cancellation
//! Dropping the future drops the attempt or the wait; a token taken for an attempt that was not
//! sent goes back to the budget. An unacceptable response is dropped before the wait begins.
//!
//! # Errors
//! None of its own: the outcome of the last attempt. If the service fails while it is made
//! ready again, the error of the attempt before is returned.
//!
//! # Order in the stack
//! Outside the breaker, so that the breaker sees each attempt (outside retry it takes 20 calls
//! instead of 5 to open on a dead backend), and outside the timeout of an attempt. A
//! [`TimeoutLayer`](crate::TimeoutLayer) further out is respected: no wait begins that would
//! outlast it.
//!
//! # When not to use
//! For calls that take long and seldom fail, [hedging](crate::HedgeLayer) waits less.

mod future;
mod layer;
mod policy;
mod service;

pub use self::{future::ResponseFuture, layer::RetryLayer, service::Retry};
