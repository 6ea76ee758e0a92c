//! What the patterns need to know of HTTP, for any client that speaks the types of [`mod@::http`].
//!
//! [`ByStatus`] judges responses by status and headers, [`Idempotent`] says which requests may be
//! sent again, and [`BufferBodyLayer`] keeps small bodies so that they can be.
//! [`MarkTier`] writes into a response which tier of a fallback gave it.
//! [`SendDeadlineLayer`] and [`ReceiveDeadlineLayer`] let a deadline travel with the request.
//!
//! ```
//! use std::time::Duration;
//! use buttress::{Backoff, RetryLayer, http};
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower::{BoxError, ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let client = ServiceBuilder::new()
//!     .layer(http::BufferBodyLayer::new(64 * 1024))
//!     .layer(
//!         RetryLayer::new()
//!             .attempts(2)
//!             .backoff(Backoff::constant(Duration::from_millis(1)))
//!             .classify(http::ByStatus)
//!             .replay(http::Idempotent),
//!     )
//!     .map_err(BoxError::from)
//!     .service(Client::builder(TokioExecutor::new()).build_http());
//!
//! # let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
//! # let uri = format!("http://{closed}/orders");
//! let order = ::http::Request::post(uri).body(Full::new(Bytes::from("two apples"))).unwrap();
//! // Nobody listens there, so nothing was sent, and so even this POST was tried twice.
//! let error = client.oneshot(order).await.unwrap_err();
//! assert_eq!(buttress::Verdict::of_chain(&*error).effect, buttress::Effect::None);
//! # }
//! ```
//!
//! # Order in the stack
//! The buffer stands outside whatever repeats (retry, hedge), so that a body is read once for all
//! attempts. The classifier and the replay rule are given to those layers.
//!
//! # Errors
//! [`Verdict::of_chain`](crate::Verdict::of_chain), and with it every boxed error, knows the
//! errors of hyper and reqwest behind the features of those names.

mod buffer;
mod deadline;
#[cfg(feature = "serde")]
mod fenced;
#[cfg(feature = "hyper")]
mod hyper;
mod idempotent;
#[cfg(feature = "reqwest")]
mod reqwest;
mod retry_after;
mod status;
mod tier;

#[cfg(feature = "serde")]
pub use self::fenced::FENCING_TOKEN;
#[cfg(feature = "hyper")]
pub use self::hyper::of_hyper;
#[cfg(feature = "reqwest")]
pub use self::reqwest::of_reqwest;
#[cfg(feature = "hyper")]
use {
    crate::{Effect, Kind, Verdict},
    std::error::Error,
};

pub use self::{
    buffer::{BufferBody, BufferBodyLayer, ReplayBody, ResponseFuture},
    deadline::{
        EndsAt, REQUEST_TIMEOUT_MS, ReceiveDeadline, ReceiveDeadlineLayer, SendDeadline,
        SendDeadlineLayer,
    },
    idempotent::{CopyBody, Idempotent},
    retry_after::retry_after,
    status::{ByStatus, of_status},
    tier::MarkTier,
};

/// Judges the failure to connect by its cause: a refusal, say, of a layer around the connector.
#[cfg(feature = "hyper")]
fn unsent(cause: Option<&(dyn Error + 'static)>) -> Verdict {
    match cause.map(Verdict::of_chain) {
        Some(verdict) if verdict.kind != Kind::Unknown => verdict.with_effect(Effect::None),
        _ => Verdict::transient().with_effect(Effect::None),
    }
}
