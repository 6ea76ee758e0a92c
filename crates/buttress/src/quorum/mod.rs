//! Asks several, and returns what enough of them agree on.
//!
//! Against answers that are wrong and look right: models that make things up, replicas that are
//! corrupt or stale. Where all that happens is that calls fail or are slow, a
//! [hedge](crate::HedgeLayer) costs less.
//!
//! ```
//! use buttress::{QuorumLayer, Rejection};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let model = |answer: &'static str| {
//!     BoxCloneService::new(service_fn(move |_: &str| async move { Ok::<_, BoxError>(answer) }))
//! };
//! let layer = QuorumLayer::with(vec![model("paris"), model("Paris ")])
//!     .agree_by(|answer: &&str| answer.trim().to_lowercase());
//! let service = ServiceBuilder::new().layer(layer.clone()).service(model("Lyon"));
//! assert_eq!(service.oneshot("capital of France?").await.unwrap(), "Paris ");
//!
//! // All three would have to agree, and do not.
//! let service = ServiceBuilder::new().layer(layer.needed(3)).service(model("Lyon"));
//! let error = service.oneshot("capital of France?").await.unwrap_err();
//! let Some(Rejection::NoQuorum { split, .. }) = error.downcast_ref() else { panic!() };
//! let votes = split.votes;
//! assert_eq!((votes.needed, votes.largest, votes.dissent()), (3, 2, 1));
//! # }
//! ```
//!
//! | who is asked | |
//! |---|---|
//! | [`QuorumLayer::of`] | one service, several times |
//! | [`QuorumLayer::with`] | several services: worth more, where errors are correlated within one |
//!
//! | which answers agree | what is kept while the vote is open | which is returned |
//! |---|---|---|
//! | equal ones, the default | one of each group | the one that decides |
//! | [`agree_by`](QuorumLayer::agree_by): equal keys | the keys | the one that decides |
//! | [`agree_with`](QuorumLayer::agree_with): a closure | one of each group | the one that decides |
//! | [`within`](QuorumLayer::within): near numbers | all | the median of those that agree |
//! | [`first_success`](QuorumLayer::first_success): any | nothing | the first |
//! | [`agree`](QuorumLayer::agree): your own [`Agree`] | as you like | as you like |
//!
//! and what an outcome is to the vote:
//!
//! | kind | what it is |
//! |---|---|
//! | [success](crate::Kind::Success) | an answer |
//! | [permanent](crate::Kind::Permanent), and an error taken for a success | a vote that there is no answer: all such agree with each other, and if they are enough the last is returned as it is |
//! | any other, and an error of readiness | a failed member, which has no vote |
//!
//! The call ends with the vote that decides it, or in the poll that leaves none to decide it; whoever
//! still runs is dropped.
//!
//! # Defaults
//! A strict majority of the weights, each 1; all are asked at once; answers are compared by
//! equality; every request may be repeated and is copied by `Clone`; the error says what it means.
//!
//! # Clone
//! Calls share nothing. Each clones the service once per member that it asks: the clones become
//! ready in the response future, so that one that never does holds up none of the others. A
//! [lazy](QuorumLayer::lazy) vote clones all members besides, for as long as some are not asked. The
//! layer itself is always ready, and the caller does not feel the backpressure of what is inside.
//!
//! # Cancellation
//! Dropping the future drops all members, and tells how long each had run.
//!
//! Kept answers hold what they hold, a permit or a body, until the vote has ended. Over a limit on
//! concurrency whose permits are held by responses, a vote may so wait for itself: use
//! [`agree_by`](QuorumLayer::agree_by), which keeps none.
//!
//! A [lazy](QuorumLayer::lazy) vote asks nobody else once a surrounding
//! [deadline](crate::Deadline) has passed.
//!
//! # Errors
//! [`Rejection::NoQuorum`](crate::Rejection::NoQuorum) with the votes, and the error of each member
//! that gave no answer. What it means to the layers outside follows from those, unless members
//! contradict each other: then it is [unknown](crate::Kind::Unknown). Those that answered, or were
//! dropped once the request was sent, may have had an effect all the same.
//!
//! A request that may not be repeated [freely](crate::Repeat::Freely) is sent to one member if the
//! vote of one is enough; if not, to nobody, and the refusal is permanent.
//!
//! # Telemetry
//! [`Failed`](crate::Event::Failed) for each member, whose number is the `attempt`;
//! [`Hedging`](crate::Event::Hedging) for those asked later, [`Cancelled`](crate::Event::Cancelled)
//! for those dropped; [`Suppressed`](crate::Event::Suppressed) for the next one, where nobody else
//! is asked for want of a copy or of time; [`Disagreed`](crate::Event::Disagreed), or [`Agreed`](crate::Event::Agreed)
//! where some dissented or failed. To let the caller see the votes, [`mark`](QuorumLayer::mark) the
//! answers.
//!
//! # Order in the stack
//! Outside retry, hedge, breaker and the timeout of an attempt, so that each member has its own;
//! inside the timeout of the call, without which an undecided vote waits for the slowest. One
//! breaker inside is shared by the replicas of one service; services that fail apart each want
//! one of their own, below [`QuorumLayer::with`].
//!
//! # When not to use
//! For requests with effects, which would happen several times; and for replicas that are wrong
//! together: with independent errors at rate c, two of three are wrong in at most 3c² − 2c³ of the
//! calls, with common ones still in c.

mod agree;
mod future;
mod groups;
mod hooks;
mod layer;
mod round;
mod service;
mod tally;
mod within;

pub use self::{
    agree::{Agree, AnyAnswer, ByEquality, ByKey, ByPair, Cast, Keep},
    future::ResponseFuture,
    hooks::{Disagreement, Group, Marked, Otherwise},
    layer::QuorumLayer,
    service::Quorum,
    within::{Tolerance, Within},
};
