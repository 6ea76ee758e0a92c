//! Starts further attempts before the first has ended, and takes the first good answer.
//!
//! A slow attempt is overtaken, a failed one is replaced at once. The first *acceptable* outcome
//! wins, never merely the first, so hedging cannot lower success. Losers are dropped before
//! the winner is returned.
//!
//! ```
//! use std::{sync::atomic::{AtomicU32, Ordering}, time::Duration};
//! use buttress::HedgeLayer;
//! use tokio::time::{Instant, sleep};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let calls = AtomicU32::new(0);
//! let service = ServiceBuilder::new()
//!     .layer(HedgeLayer::after(Duration::from_secs(1)))
//!     .service(service_fn(async |_: &str| {
//!         let slow = calls.fetch_add(1, Ordering::Relaxed) == 0;
//!         sleep(Duration::from_millis(if slow { 6_000 } else { 700 })).await;
//!         Ok::<_, BoxError>("sunny")
//!     }));
//! let start = Instant::now();
//! assert_eq!(service.oneshot("weather").await.unwrap(), "sunny");
//! assert_eq!(start.elapsed(), Duration::from_millis(1_700));
//! # }
//! ```
//!
//! When the next attempt starts:
//!
//! | made by | the next attempt starts |
//! |---|---|
//! | [`HedgeLayer::immediate`] | at once: redundant execution |
//! | [`HedgeLayer::after`] | when a fixed delay has passed since the last |
//! | [`HedgeLayer::gaps`] | after each gap of a list |
//! | [`HedgeLayer::learned`] | when waiting longer costs more than another attempt |
//! | [`HedgeLayer::percentile`] | when a share of the first attempts would have ended |
//!
//! and what an outcome does:
//!
//! | kind | what it does |
//! |---|---|
//! | [success](crate::Kind::Success) | wins |
//! | [permanent](crate::Kind::Permanent) | is returned at once |
//! | [transient](crate::Kind::Transient), [rejected](crate::Kind::Rejected) | starts the next in the same poll; a refusal's token goes back to the budget |
//! | [throttled](crate::Kind::Throttled), [reroute](crate::Kind::Reroute) | starts the next at another target; none at this one |
//! | [unknown](crate::Kind::Unknown) | starts the next when no other is running |
//!
//! If all failed, the last real failure is returned, and a layer's refusal only if there was
//! nothing else.
//!
//! # Defaults
//! Two attempts in all, no budget, every request may be repeated and is copied by `Clone`, the
//! error says what it means.
//!
//! # Clone
//! One layer value has one learned delay, shared by all services made of it. The inner service
//! is cloned once per call; requests that may not be repeated are sent without a clone.
//!
//! # Cancellation
//! Dropping the future drops all attempts. What had not been sent is paid back to the budget; how
//! long each had run is told, and remembered by a learned delay. An answer that was not accepted is
//! kept as the most telling failure, unless the next attempt has to wait for readiness and no other
//! runs: it is then dropped, lest it hold what that one waits for. Should readiness fail after
//! that, the error of readiness is all that is left to return.
//!
//! No further attempt starts once a surrounding [deadline](crate::Deadline) has passed.
//!
//! # Errors
//! None of its own. A further attempt whose service cannot be made ready is a failed attempt.
//!
//! # Order in the stack
//! Outside the breaker and the timeout of an attempt. Instead of retry, or inside of it: a hedge
//! waits for nothing, a retry backs off.
//!
//! # When not to use
//! Where attempts have effects and no idempotency key, and where the dependency is slow because it
//! is overloaded: give the layer a [budget](HedgeLayer::budget) there.

mod delay;
mod future;
mod handle;
mod layer;
mod race;
mod schedule;
mod service;

pub use self::{
    future::ResponseFuture, handle::HedgeHandle, layer::HedgeLayer, schedule::OnFailure,
    service::Hedge,
};
