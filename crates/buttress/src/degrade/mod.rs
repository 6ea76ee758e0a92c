//! Answers with what is left when some of several services fail.
//!
//! An ensemble calls its members at once: those that are required, of which a few may fail, and
//! those that are optional, of which all may. Each is made ready by itself, so that one that hangs
//! holds up the answer, for as long as there is [patience](DegradeLayer::patience), but none of
//! the others.
//!
//! ```
//! use std::time::Duration;
//! use buttress::{DegradeLayer, degrade::Level};
//! use tower::{BoxError, ServiceExt, service_fn, util::BoxCloneService};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let prices = service_fn(async |ticker: &str| Ok::<_, BoxError>(format!("{ticker} at 54")));
//! let news = service_fn(async |_: &str| std::future::pending::<Result<String, BoxError>>().await);
//! let rumours = service_fn(async |_: &str| Err::<String, _>("nobody talks".into()));
//! // Members of different types are boxed.
//! let report = DegradeLayer::new()
//!     .required("prices", BoxCloneService::new(prices))
//!     .optional("news", BoxCloneService::new(news))
//!     .optional("rumours", BoxCloneService::new(rumours))
//!     .patience(Duration::from_secs(20))
//!     .into_service();
//! let handle = report.handle();
//!
//! let answers = report.oneshot("ACME").await.unwrap();
//! assert_eq!(answers.level(), Level::Minimal); // one of three
//! assert_eq!(answers.get("prices").unwrap(), "ACME at 54");
//! let failed: Vec<String> = answers.failed().iter().map(ToString::to_string).collect();
//! assert_eq!(failed, ["news: no answer within 20s", "rumours: nobody talks"]);
//! assert_eq!(handle.level(), Level::Minimal);
//! # }
//! ```
//!
//! As a layer, it puts its members beside the inner service, which becomes the first required one:
//!
//! ```
//! use buttress::{DegradeLayer, ServiceBuilderExt};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let site = |path: &'static str| service_fn(move |word: &'static str| async move {
//!     Ok::<_, BoxError>(format!("/{path}/{word}"))
//! });
//! let (texts, images) = (site("texts"), site("images"));
//! let service = ServiceBuilder::new()
//!     .map_response(|answers: buttress::Answers<String>| {
//!         answers.into_iter().map(|(_, link)| link).collect::<Vec<_>>().join(" ")
//!     })
//!     .degrade(DegradeLayer::new().inner_name("texts").optional("images", images))
//!     .service(texts);
//! assert_eq!(service.oneshot("cat").await.unwrap(), "/texts/cat /images/cat");
//! # }
//! ```
//!
//! # The response
//! Unlike other layers this one changes the response type, to [`Answers`]: what one service
//! answers has no room for what several do, and how their answers become one, only the caller can
//! tell. Put `map_response` outside, as above, to have one response again.
//!
//! # The level
//! That of a call, by the share of all members that succeeded:
//!
//! | share | level |
//! |---|---|
//! | 80 % or more | [`Full`](Level::Full) |
//! | 50 % or more | [`Degraded`](Level::Degraded) |
//! | less | [`Minimal`](Level::Minimal) |
//!
//! That across calls, which a [`DegradeHandle`] tells, and can force:
//!
//! | a call that is | does |
//! |---|---|
//! | worse | makes the level worse at once |
//! | as bad | starts the row of better calls anew |
//! | better | adds to the row: three in a row lower the level to the worst of them |
//! | refused | counts as minimal |
//! | dropped | nothing |
//!
//! # Which outcomes are successes
//! Those that the classifier takes for one, answers and errors; an error that is accepted leaves no
//! answer behind. An answer that is not accepted is a failure, and dropped.
//!
//! # Defaults
//! 30 % of the required members may fail, so none of three and three of ten. Minimal below 50 %,
//! degraded below 80 %, better after three calls. No patience: a call ends when all its members
//! have. Requests are copied by `Clone`, the error says what it means.
//!
//! # Clone
//! One layer value is one level across calls: its clones, and all services that they make, share
//! it. Setters of what it is made of (name, listener, recovery) make a new one. Each member is
//! cloned once per call.
//!
//! # Cancellation
//! Dropping the future drops all members' calls. The deadline of a surrounding
//! [`TimeoutLayer`](crate::TimeoutLayer) ends patience as well: what is there by then is the
//! answer, and the call does not time out.
//!
//! Answers hold what they hold, a permit or a body, until all members have ended. Over limits on
//! concurrency whose permits are held by responses, members and calls may so wait for each other:
//! have patience.
//!
//! # Errors
//! [`Rejection::TooFew`](crate::Rejection::TooFew) with the required members that failed and why,
//! as soon as they are too many; the others are dropped before it is returned. Without required
//! members no call fails, not even if all members do. A member that was given up has failed with
//! [`Rejection::Timeout`](crate::Rejection::Timeout), or with
//! [`Unready`](crate::Rejection::Unready) if it was not even called.
//!
//! # Telemetry
//! [`Failed`](crate::Event::Failed) with the number of the member, from 1, as its attempt;
//! [`Suppressed`](crate::Event::Suppressed) for a member without a copy of the request;
//! [`Rejected`](crate::Event::Rejected); [`LevelChanged`](crate::Event::LevelChanged), a warning
//! if it becomes worse.
//!
//! # Cost
//! A call allocates once for each member and once for the answers; besides, if it has to wait
//! under a patience or a deadline, for a timer, and for what is told of failures.
//!
//! # Order in the stack
//! Outermost, but for what replaces whole answers, or ends the call. Retry, breaker and timeout
//! belong around each member: a retry around the ensemble repeats members that had answered, too,
//! and a breaker is also what leaves a member alone that is down for long.
//!
//! # When not to use
//! For several services of which any one will do, see [`hedge`](crate::hedge).

mod answers;
mod future;
mod gauge;
mod handle;
mod layer;
mod level;
mod quota;
mod service;
mod shared;
mod standing;
mod tally;

pub use self::{
    answers::{Answers, IntoIter},
    future::ResponseFuture,
    handle::{Counters, DegradeHandle},
    layer::DegradeLayer,
    level::{Level, Thresholds},
    service::Degrade,
};
