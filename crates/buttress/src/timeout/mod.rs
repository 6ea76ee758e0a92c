//! Bounds the time of a call.
//!
//! One layer serves both uses; its place in the stack decides which. Below retry, hedge or
//! breaker it bounds each attempt, and they see its [`Rejection::Timeout`](crate::Rejection) as a
//! transient failure. Above them it bounds the whole call, and because the bound is
//! [ambient](Deadline), the layers inside do not start what cannot end in time.
//!
//! ```
//! use std::time::Duration;
//! use buttress::{Backoff, Rejection, RetryLayer, TimeoutLayer};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(20))) // the call
//!     .layer(RetryLayer::new().attempts(9).backoff(Backoff::constant(Duration::from_secs(1))))
//!     .layer(TimeoutLayer::new(Duration::from_secs(5))) // each attempt
//!     .service(service_fn(async |_: ()| {
//!         std::future::pending::<()>().await;
//!         Ok::<_, BoxError>(())
//!     }));
//! let error = service.oneshot(()).await.unwrap_err();
//! // The fourth attempt was under way when the time of the call was over.
//! let after = Duration::from_secs(20);
//! assert_eq!(error.downcast_ref(), Some(&Rejection::Timeout { after }));
//! # }
//! ```
//!
//! # Defaults
//! The wait for readiness is not covered; [`TimeoutLayer::and_readiness`] covers it.
//!
//! # Clone
//! Clones share nothing.
//!
//! # Cancellation
//! When the time is over, the inner future is dropped before the refusal is returned.
//! The clock starts when the response future is first polled, and is read, and a timer made,
//! only if the inner service does not answer at once.
//!
//! # Errors
//! [`Rejection::Timeout`](crate::Rejection::Timeout) after the time, which leaves open whether
//! the call had an effect, [`Rejection::Unready`](crate::Rejection::Unready) if the service was
//! not ready by then, which does not.

mod deadline;
mod future;
pub(crate) mod lapses;
mod layer;
mod service;

pub use self::{
    deadline::Deadline,
    future::ResponseFuture,
    layer::{AndReadinessLayer, TimeoutLayer},
    service::Timeout,
};
