//! Lets only so many calls run at once.
//!
//! ```text
//!   a call ──▶ room? ──yes──▶ runs, and makes room when it ends
//!                │ no                        ▲
//!                ▼                           │ first come, first served
//!          room in line? ──yes──▶ waits ─────┘
//!                │ no
//!                ▼
//!       refused: come back later
//! ```
//!
//! [`LimitLayer::fixed`] is a bulkhead: what is slow or hangs takes up so many calls, connections
//! and tokens, and no more. [`LimitLayer::adaptive`] finds out how many calls the dependency can
//! take: the limit grows while answers come, and shrinks when it is overloaded.
//!
//! ```
//! use std::{num::NonZeroU32, time::Duration};
//! use buttress::{LimitLayer, Rejection};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();
//! let limit = LimitLayer::fixed(TWO).queue(1).name("search");
//! let handle = limit.handle();
//! let service = ServiceBuilder::new().layer(limit).service(service_fn(async |n: u32| {
//!     tokio::time::sleep(Duration::from_secs(1)).await;
//!     Ok::<_, BoxError>(n)
//! }));
//! let call = |n| service.clone().oneshot(n);
//! let (first, second, third, fourth) = tokio::join!(call(1), call(2), call(3), call(4));
//! // Two ran, one waited for its turn, one was too many.
//! assert!(first.is_ok() && second.is_ok() && third.is_ok());
//! let error = fourth.unwrap_err();
//! let Some(Rejection::Full { name, retry_after }) = error.downcast_ref() else { panic!("{error}") };
//! assert_eq!(name.as_str(), "search");
//! assert!(retry_after.is_some());
//! assert_eq!((handle.in_flight(), handle.queued(), handle.counters().admitted), (0, 0, 3));
//! # }
//! ```
//!
//! # How the limit adapts
//! It grows by one for as many answers as it is high, while at least half of it is used, and shrinks
//! to seven tenths at a sign of overload: additive increase, multiplicative decrease. Then only
//! calls that began later can change it, and not before a [period](LimitLayer::period) is over
//! can they shrink it again; until then signs of overload only keep it from growing.
//!
//! When three periods have passed since it last shrank, a limit that is below half of what it was
//! when its fall began grows by one for each answer instead, up to there: calls that take seconds
//! would otherwise hold it down for long after a trouble is over.
//!
//! | the end of a call | says |
//! |---|---|
//! | [`Success`](crate::Kind::Success), [`Permanent`](crate::Kind::Permanent) | answered; overloaded if it took [too long](LimitLayer::slow_after), where that is set |
//! | [`Throttled`](crate::Kind::Throttled) | overloaded |
//! | [`Transient`](crate::Kind::Transient), [`Unknown`](crate::Kind::Unknown) | overloaded, if a [`TimeoutLayer`](crate::TimeoutLayer) inside ended it, or it took 10 s; else nothing |
//! | [`Reroute`](crate::Kind::Reroute), [`Rejected`](crate::Kind::Rejected) | nothing |
//! | its future was dropped | overloaded, if its [deadline](crate::Deadline) had passed and it had run for longer than it had waited, or it took 10 s; else nothing |
//!
//! A quick failure says nothing, since a tool that fails now and then is not overloaded. Timeouts that
//! are somebody else's are told by a classifier that calls them throttled, or by
//! [`slow_after`](LimitLayer::slow_after).
//!
//! # Waiting
//! A service instance waits in `poll_ready`, in the order in which they came, before the inner
//! service is polled. As many may wait as may run: what tools take is seconds, and who waits for
//! longer than a call takes is seldom waited for. Where calls have hardly more time than they take,
//! keep the line short: who waits spends that time in it. Where the line is full the instance is ready,
//! and its call is refused at once. It waits until there is room,
//! [`wait_at_most`](LimitLayer::wait_at_most) is over, or the caller drops it, as a
//! [`TimeoutLayer`](crate::TimeoutLayer) with [readiness](crate::TimeoutLayer::and_readiness)
//! does. Room that was made belongs to the first in line, even before it is polled again.
//!
//! # Defaults
//! As many may wait as may run, for as long as their callers do. Adaptive limits start at 20, stay
//! between 1 and 1 000, and shrink once per second at most.
//!
//! # Clone
//! One layer value is one limit: its clones, and all services that they make, share it. Setters
//! make a new limit. Service clones have no permit, and no place in line.
//!
//! # Cancellation
//! The permit is given back when the call ends, before its outcome is returned, or when its future
//! is dropped; an instance that is dropped gives back its permit or its place in line. What was
//! granted to one who is gone goes to the next.
//!
//! # Errors
//! [`Rejection::Full`](crate::Rejection::Full) with the name of the limit and an estimate of when
//! the call would have had its turn. The inner service is then neither polled nor called.
//!
//! # Telemetry
//! [`Rejected`](crate::Event::Rejected); [`LimitChanged`](crate::Event::LimitChanged), with
//! [`Overload`](crate::Why::Overload), [`Growth`](crate::Why::Growth) or
//! [`Command`](crate::Why::Command). A [`LimitHandle`] tells how things stand.
//!
//! # Order in the stack
//! Inside of retry, hedge and breaker, which see its refusals at once and for what they are; outside
//! of the timeout of each attempt, so that waiting is not part of it and timeouts are seen.
//!
//! # When not to use
//! An adaptive limit takes timeouts for overload. Before a tool that times out now and then for
//! other reasons it shrinks to little: use a fixed one. Neither knows of callers in other processes:
//! what they share is limited by whoever serves them.

mod aimd;
mod future;
mod gate;
mod guard;
mod handle;
mod layer;
mod pace;
mod permits;
mod place;
#[cfg(test)]
mod reference;
mod service;
mod sign;
mod wait;

pub use self::{
    future::ResponseFuture,
    handle::{Counters, LimitHandle},
    layer::{Adaptive, Fixed, LimitLayer},
    service::Limit,
};
