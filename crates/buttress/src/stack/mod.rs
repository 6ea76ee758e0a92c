//! The recommended stacks in one call, and a check of the order of any other.
//!
//! [`Stack`] puts the layers around a service in the order that works:
//!
//! ```
//! use buttress::Stack;
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let stack = Stack::tool("weather");
//! println!("{stack}");
//! let service = ServiceBuilder::new()
//!     .layer(stack)
//!     .service(service_fn(async |city: &'static str| Ok::<_, BoxError>(format!("sunny in {city}"))));
//! assert_eq!(service.oneshot("Rome").await.unwrap(), "sunny in Rome");
//! # }
//! ```
//!
//! # The order, and why
//!
//! Outermost first, with what goes wrong otherwise:
//!
//! | layer | why here |
//! |---|---|
//! | [fallback](crate::fallback) | a time limit around it lets a slow primary eat the time of the fallback; below retry, breaker or failover it hides failures from them |
//! | `checkpoint` | a retry or a hedge around it begins the step again and again, an open breaker keeps back what was done; a time limit may cut off the recording |
//! | [timeout](crate::timeout) of the call | what is inside sees the deadline, and starts nothing that cannot end in time |
//! | [degrade](crate::degrade), [quorum](crate::quorum) | a retry around them repeats members that had answered, too |
//! | [retry](crate::retry) | a limit around it holds a place while it only waits |
//! | [hedge](crate::hedge) | within an attempt of the retry: it waits for nothing |
//! | [breaker](crate::breaker) | around a retry it sees only calls whose attempts are used up: 20 calls to open instead of 5 |
//! | [failover](crate::failover) | each replica may have a breaker of its own inside |
//! | [limit](crate::limit) | counts what is really sent |
//! | [timeout](crate::timeout) of an attempt | its end is a verdict for all above; a hang is a failure that can be repeated |
//! | `.map_err(CallError::Service)` | one error type for all of them |
//!
//! # Check
//!
//! [`outline`] lists what a stack is made of, and [`Parts::check`] finds the pairs in it whose order
//! does harm. [`ServiceBuilderExt::check`](crate::ServiceBuilderExt::check) does both:
//!
//! ```
//! use std::time::Duration;
//! use buttress::{BreakerLayer, RetryLayer, ServiceBuilderExt, TimeoutLayer};
//! use tower::{BoxError, ServiceBuilder, service_fn};
//!
//! let tool = service_fn(async |n: u32| Ok::<_, BoxError>(n));
//! let disorder = ServiceBuilder::new()
//!     .layer(BreakerLayer::default())
//!     .layer(RetryLayer::new())
//!     .layer(TimeoutLayer::new(Duration::from_secs(5)))
//!     .check(tool)
//!     .unwrap_err();
//! assert_eq!(
//!     disorder.to_string(),
//!     "breaker (1) around retry (2): the breaker sees only calls whose attempts are used up, \
//!      put the breaker inside",
//! );
//! ```
//!
//! What types can catch, they do: a layer that can refuse does not compile over an error that cannot
//! say so, one that repeats does not compile over a request that cannot be copied, unless it is
//! told [once](crate::Once).

mod order;
mod outline;
mod preset;

#[cfg(feature = "serde")]
pub(crate) use self::outline::note_effect;
pub(crate) use self::outline::{note, note_limit};
pub use self::{
    order::{Clash, Disorder, Rule},
    outline::{Part, Parts, outline},
    preset::{Stack, Stacked},
};
