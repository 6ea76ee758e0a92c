//! Tries one service after another until one gives an acceptable answer.
//!
//! The service below the layer is the primary. The tiers after it are services, functions of the
//! request, and values, each of a type of its own, tried in their order. Only a value has to be
//! `Clone`; other responses need not be. Nothing is allocated while the primary answers.
//!
//! ```
//! use std::io;
//! use buttress::{FallbackLayer, Rejection};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let best = service_fn(async |_: String| {
//!     Err::<String, BoxError>(io::Error::from(io::ErrorKind::ConnectionRefused).into())
//! });
//! let cheaper = service_fn(async |question: String| match question.len() {
//!     ..20 => Ok::<_, BoxError>(format!("a short answer to: {question}")),
//!     _ => Err(Rejection::full("cheaper", None).into()),
//! });
//! let layer = FallbackLayer::to(cheaper).named("cheaper")
//!     .then_value("ask me later".to_owned()).named("rule");
//! let handle = layer.handle();
//! let service = ServiceBuilder::new().layer(layer).service(best);
//!
//! let short = service.clone().oneshot("How tall is it?".to_owned()).await.unwrap();
//! assert_eq!(short, "a short answer to: How tall is it?");
//! let long = service.oneshot("How tall is it, and is it taller in summer?".to_owned()).await;
//! assert_eq!(long.unwrap(), "ask me later");
//! let answered: Vec<u64> = handle.answered().map(|(_, calls)| calls).collect();
//! assert_eq!(answered, [1, 1]);
//! # }
//! ```
//!
//! | tier | added by | takes the request | may cost a token |
//! |---|---|---|---|
//! | a service | [`to`](FallbackLayer::to), [`then`](FallbackLayer::then) | sends it | yes |
//! | a function | [`to_fn`](FallbackLayer::to_fn), [`then_fn`](FallbackLayer::then_fn) | looks at it | no |
//! | a value | [`to_value`](FallbackLayer::to_value), [`then_value`](FallbackLayer::then_value), [`then_value_with`](FallbackLayer::then_value_with) | no | no |
//!
//! and what an outcome of a service or function does:
//!
//! | kind | what it does |
//! |---|---|
//! | [success](crate::Kind::Success) | is returned |
//! | [permanent](crate::Kind::Permanent) | is returned as it is, unless [`on_permanent`](FallbackLayer::on_permanent) |
//! | any other | leads to the next tier in the same poll; [`on`](FallbackLayer::on) narrows it down |
//!
//! A tier is passed over, and why is told, when the request may not be sent to it:
//!
//! | the request may be repeated | a service is tried | a function is tried |
//! |---|---|---|
//! | [freely](crate::Repeat::Freely) | after any failure | yes |
//! | [if unsent](crate::Repeat::IfUnsent) | if nothing before it may have had an effect | yes |
//! | [never](crate::Repeat::Never), or it cannot be copied | if nothing before it was sent the request | likewise |
//!
//! No service is tried when a surrounding [deadline](crate::Deadline) has passed, or without a
//! token where there is a [budget](FallbackLayer::budget). Values are always given.
//!
//! # Readiness
//! A primary that is ready is called as it is. One that fails to become ready, or is not ready,
//! holds nothing up: the layer is ready all the same. Since an instance that has failed is of no
//! more use, and one that waits would keep its place in a queue while nobody polls it, a clone
//! takes its place, and is made ready inside of the response future. There the primary, like each
//! tier, has the [patience](FallbackLayer::patience) of the layer to become ready before the next
//! one is tried; the last one that may be tried is waited for as long as the caller does. So the
//! caller feels no backpressure; where it should, put a [`single`](FallbackLayer::single) layer
//! or a limit outside.
//!
//! # Defaults
//! Tiers are named `primary`, `tier 2`, `tier 3`, .. A service has 1 s to become ready. Every
//! request may be repeated and is copied by `Clone`, the error says what it means, there is no
//! budget, and every cause is told when all have failed.
//!
//! # Clone
//! One layer value has one set of counts and one budget, shared by all services made of it. While
//! the primary answers, nothing but the request is copied (and that not for values alone). Tiers
//! are kept once, never polled there, and cloned when they are tried; the service and its response
//! future are `Send` if they are `Sync` besides, which tower's `BoxCloneSyncService` is and its
//! `BoxCloneService` is not.
//!
//! # Cancellation
//! One tier runs at a time. What failed, an unacceptable answer too, is dropped before the next
//! one begins; dropping the future drops what runs. A token that was not spent goes back to the
//! budget.
//!
//! # Errors
//! [`Rejection::AllFailed`](crate::Rejection::AllFailed) with the causes of all that were tried,
//! in their order; an answer that was not accepted is among them as [`NotAccepted`], one that was
//! not ready in time as [`Rejection::Unready`](crate::Rejection::Unready). If no other tier than
//! the primary could be tried, its outcome is returned as it is. With
//! [`last_error`](FallbackLayer::last_error), or with a value at the end of the chain, the layer
//! makes no errors and the error type may be any.
//!
//! # Telemetry
//! [`Failed`](crate::Event::Failed), [`FallingBack`](crate::Event::FallingBack) and
//! [`Suppressed`](crate::Event::Suppressed) for the tiers passed over, [`Won`](crate::Event::Won)
//! with the number of the tier where it was not the primary. The response itself says it with
//! [`mark`](FallbackLayer::mark); a [`FallbackHandle`] counts.
//!
//! # Order in the stack
//! Outermost, above all: a timeout outside of it would end the very calls that it should rescue.
//! A slow primary is rescued by a [`TimeoutLayer`](crate::TimeoutLayer) inside:
//! `fallback(timeout(primary))`.
//!
//! # Stale values
//! A function may look the request up among answers that were good before:
//! `.then_fn(|question: &Question| cache.last(question).ok_or(Error::Unknown))`. The cache is
//! filled below the layer, where the primary answers.
//!
//! # When not to use
//! Where a wrong or stale answer is worse than none; and where the other tier depends on the same
//! thing as the primary, and fails with it.

mod chain;
mod conclude;
mod descent;
mod future;
mod handle;
mod layer;
mod mark;
mod service;
mod tiers;

pub use self::{
    conclude::{AllCauses, Answered, LastError, NotAccepted},
    future::ResponseFuture,
    handle::FallbackHandle,
    layer::{FallbackLayer, SingleLayer},
    mark::{Mark, Tier, Unmarked},
    service::Fallback,
    tiers::{ByFn, ByService, ByValue, ByValueWith, Primary, Then},
};
