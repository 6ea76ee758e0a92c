//! Keeps calls from a dependency that is down.
//!
//! ```text
//!             enough evidence                  the open time is over
//!   CLOSED ─────────────────────▶  OPEN  ──────────────────────────▶ HALF-OPEN
//!  calls pass                 calls are rejected                 a few probes pass
//!     ▲                             ▲                                │      │
//!     │                             └──── too many probes failed ────┘      │
//!     └──────────────────────── enough probes succeeded ────────────────────┘
//! ```
//!
//! What is enough evidence, the [`Trigger`] says. A [`BreakerHandle`] looks at the circuit from
//! outside, and can force it open or closed.
//!
//! ```
//! use buttress::{BreakerLayer, Rejection};
//! use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let breaker = BreakerLayer::default().name("search");
//! let handle = breaker.handle();
//! let mut service = ServiceBuilder::new().layer(breaker).service(service_fn(async |_: ()| {
//!     Err::<(), BoxError>(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into())
//! }));
//! for _ in 0..6 {
//!     assert!(service.ready().await.unwrap().call(()).await.is_err());
//! }
//! let error = service.ready().await.unwrap().call(()).await.unwrap_err();
//! assert!(matches!(error.downcast_ref(), Some(Rejection::Open { name, .. }) if name.as_str() == "search"));
//! assert_eq!(handle.counters().rejected, 1);
//! # }
//! ```
//!
//! # How outcomes are read
//! Answers are good for health, be they final errors ([`Permanent`](crate::Kind::Permanent)).
//! [`Transient`](crate::Kind::Transient) and [`Unknown`](crate::Kind::Unknown) outcomes are
//! failures. [`Throttled`](crate::Kind::Throttled) ones count as failures in rates and scores, but
//! not in a row of failures; they fail a probe, and their `retry_after` extends the open time.
//! [`Reroute`](crate::Kind::Reroute) and [`Rejected`](crate::Kind::Rejected) say nothing: a probe
//! that ends so gives its place back. Errors of readiness are seen only where the service was
//! made ready for a call, not in `poll_ready`, which knows no request to judge by.
//!
//! # Defaults
//! [`Trigger::default`]. Open for 5 s, doubling up to 30 s, less a random half. Two of three
//! probes must succeed, each within 60 s. A dropped call is a failure after 10 s, or after its
//! deadline. A closed, healthy circuit takes no lock and reads the clock only when a call is first
//! pending; triggers with a window of time read it at each outcome too.
//!
//! # Clone
//! One layer value is one circuit: its clones, and all services that they make, share it. Setters
//! make a new circuit. Service clones are not ready, and hold no probe.
//!
//! # Cancellation
//! A probe that is dropped, or panics, gives its place back. See [`BreakerLayer::slow_after`] for
//! when a dropped call counts as a failure; [`BreakerLayer::probe_patience`] bounds probes that
//! hang. So a timeout placed outside still opens the circuit, and no probe blocks it for ever.
//!
//! # Errors
//! [`Rejection::Open`](crate::Rejection::Open) with the name of the breaker and, while the open
//! time lasts, the rest of it. The inner service is then neither polled nor called; if it was made
//! ready before, a fresh clone takes its place, so that what it had reserved is free.
//!
//! # Telemetry
//! [`Opened`](crate::Event::Opened), [`Probing`](crate::Event::Probing),
//! [`Closed`](crate::Event::Closed), [`Rejected`](crate::Event::Rejected),
//! [`Stale`](crate::Event::Stale) (the call began before the last change of state: its result
//! counts for nothing), [`Abandoned`](crate::Event::Abandoned).
//!
//! # Order in the stack
//! Inside of retry and hedge, which see its rejections at once, and outside of limits and of the
//! timeout of each attempt, which it sees as failures.

mod circuit;
mod cusum;
mod future;
mod guard;
mod handle;
mod instance;
mod keyed;
mod layer;
mod place;
mod probes;
#[cfg(test)]
mod reference;
mod service;
mod shared;
mod switch;
#[cfg(test)]
mod tests;
mod trigger;
mod waiters;
mod window;

pub use self::{
    cusum::Cusum,
    future::ResponseFuture,
    handle::{BreakerHandle, Counters, State},
    keyed::{KeyedBreaker, KeyedBreakerHandle, KeyedBreakerLayer},
    layer::{BreakerLayer, SingleLayer},
    probes::Probes,
    service::Breaker,
    trigger::Trigger,
    window::Window,
};
