//! Calls one of several replicas, and leaves alone what is ill.
//!
//! Replicas are services of one type (box them where they differ) that give the same answers: a
//! model at two providers, a tool in three regions. Which of them is called:
//!
//! | made by | who is called | when one fails |
//! |---|---|---|
//! | [`FailoverLayer::active_active`] | all that are well share the load | it is ejected for a while, and comes back slowly |
//! | [`FailoverLayer::active_passive`] | the active one | the best standby is promoted, the old one demoted |
//!
//! In both, a call that failed is tried on another replica, if it may be repeated.
//!
//! ```
//! use std::io::{Error, ErrorKind};
//! use buttress::FailoverLayer;
//! use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let rome = BoxCloneService::new(service_fn(async |_: ()| {
//!     Err::<&str, BoxError>(Error::from(ErrorKind::ConnectionRefused).into())
//! }));
//! let oslo = BoxCloneService::new(service_fn(async |_: ()| Ok::<_, BoxError>("oslo")));
//!
//! let layer = FailoverLayer::active_passive().primary("rome").standby("oslo", oslo);
//! let handle = layer.handle();
//! let mut service = ServiceBuilder::new().layer(layer).service(rome);
//! for _ in 0..3 {
//!     // Each of these fails in Rome first.
//!     assert_eq!(service.ready().await.unwrap().call(()).await.unwrap(), "oslo");
//! }
//! assert_eq!(handle.active().unwrap().as_str(), "oslo");
//! assert_eq!(handle.snapshot()[0].failed, 3);
//! # }
//! ```
//!
//! # How outcomes are read
//!
//! | kind | the replica | the call |
//! |---|---|---|
//! | [success](crate::Kind::Success) | is well | is answered |
//! | [permanent](crate::Kind::Permanent) | is well: it answered | is answered |
//! | [transient](crate::Kind::Transient), [unknown](crate::Kind::Unknown) | has failed | is tried elsewhere |
//! | [throttled](crate::Kind::Throttled) | rests as long as it asked for | is tried elsewhere |
//! | [reroute](crate::Kind::Reroute) | nothing | is tried elsewhere, whatever the number of attempts |
//! | [rejected](crate::Kind::Rejected) | rests as long as it asked for | the same, and a token goes back to the budget |
//! | not ready in time, or an error of readiness | has failed | goes elsewhere, for nothing was sent |
//!
//! A replica that rests is passed over while there are others.
//!
//! # When a replica looks ill
//! After so many [failures](FailoverLayer::failures) in a row, or so large a
//! [share](FailoverLayer::failure_rate) of failures of late; where all are active also when it is
//! [so much slower](FailoverLayer::slower_than) than the median of the others. It is then ejected:
//! the first time for a few seconds, [longer](FailoverLayer::ejection) each further time. When it
//! comes back, its first failure ejects it again. That a connection was refused counts like any
//! other failure: the call is rescued elsewhere, and a restart is no reason to change.
//!
//! **All active.** No more than [a share](FailoverLayer::most_ejected) of the replicas is
//! ejected; others that look ill are needed, and stay. When
//! [more than half](FailoverLayer::panic_above) look ill, first attempts go to all again, and whoever
//! answers is back. Who comes back starts with a tenth of its share, which
//! [grows](FailoverLayer::slow_start).
//!
//! **One active.** When the active one looks ill, the standby is promoted that looks well, has the
//! lowest [priority](Replica::priority), then the lowest latency seen, then comes first. There is
//! one promotion in the time of [hold-down](FailoverLayer::hold_down), so nothing flaps; calls to an
//! ill active one go to a standby meanwhile. Who was demoted is a standby once its ejection is over;
//! it is promoted again when it is needed, or if it is the first,
//! [`fail_back`](FailoverLayer::fail_back) says so, and it has answered one call. With `attempts(1)` a call that was sent is never
//! tried on a second replica.
//!
//! A [`FailoverHandle`] looks at the replicas from outside, tells what health checks find, drains
//! and promotes.
//!
//! # Defaults
//! A call is tried on two replicas, a replica has 1 s to become ready. 5 failures in a row (one
//! active: 3), or half of 20 or more calls of the last 30 to 60 s, or 3 times the latency of the
//! others. Ejected for 5 s, doubling to 60 s, less a random half; at most half of the replicas.
//! Back within 30 s. Held down for 10 s, no fail-back. No budget; all requests may be repeated and
//! are copied by `Clone`; the error says what it means.
//!
//! # Clone
//! One layer value is one roster: its clones, and all services that they make, share what is
//! known of the replicas. Setters make a new roster. A clone of the service costs one reference
//! count: instances of the replicas rest on a shelf that all share, are taken for a call, and go
//! back when it is sent. The service is always ready. Who is called is chosen when the future is
//! first polled, and made ready there, so replicas that are not chosen hold nothing.
//!
//! # Cancellation
//! Dropping the future drops what runs, or the instance that was being made ready. See
//! [`FailoverLayer::slow_after`] for when that counts as a failure of the replica. No further
//! replica is tried once a surrounding [deadline](crate::Deadline) has passed. A result from before
//! a replica was ejected, promoted or demoted changes nothing after it.
//!
//! # Errors
//! If no replica answers, the last real error, or a layer's refusal, or the first error of
//! readiness: in this order of preference. [`Rejection::Unavailable`](crate::Rejection::Unavailable)
//! if no replica could be called: all are drained or ill by a health check, or none became ready.
//! An unacceptable response is dropped if another replica keeps the call waiting, lest it hold what
//! that one waits for; it is then as if the replica had not been called.
//!
//! # Telemetry
//! [`Ejected`](crate::Event::Ejected), [`Readmitted`](crate::Event::Readmitted),
//! [`Promoted`](crate::Event::Promoted), [`Demoted`](crate::Event::Demoted),
//! [`Panicking`](crate::Event::Panicking), [`Calmed`](crate::Event::Calmed) of the roster;
//! [`Failed`](crate::Event::Failed), [`Diverted`](crate::Event::Diverted),
//! [`PassedOver`](crate::Event::PassedOver), [`Suppressed`](crate::Event::Suppressed),
//! [`Won`](crate::Event::Won), [`Rejected`](crate::Event::Rejected) of a call;
//! [`Stale`](crate::Event::Stale), [`Abandoned`](crate::Event::Abandoned) as for breakers. Replicas
//! are told by their place in the list, from 1.
//!
//! # Order in the stack
//! Inside of retry, which waits where this layer does not, and outside of what belongs to each
//! replica: a timeout of the attempt, without which a replica that hangs is found out only by
//! callers that give up, and perhaps a limit. A breaker in each replica is not needed.
//!
//! # When not to use
//! Where replicas hold state of their own that calls depend on: this layer knows of no leader
//! but within one process. Where callers need to feel backpressure, put a limit outside.

mod aside;
mod desk;
mod future;
mod handle;
mod layer;
mod manners;
#[cfg(test)]
mod reference;
mod roster;
mod seat;
mod service;
mod shelf;
#[cfg(test)]
mod tests;

pub use self::{
    future::ResponseFuture,
    handle::{FailoverHandle, Standing, State, View},
    layer::{FailoverLayer, Replica},
    roster::Balance,
    seat::Health,
    service::Failover,
};
