//! Sagas: steps that are undone, in reverse, if a later one fails.
//!
//! Each step is an [`Action`], a request to a service, with a compensation whose request is made of the
//! response that the action really got. The steps are done in order. All of it is recorded: a saga goes on in
//! another process where it was left, and undoes what was done before.
//!
//! ```
//! use buttress::{checkpoint::{Effects, InDoubt, Step}, store::{Journal, MemoryStore}};
//! use buttress_flow::saga::{Action, Outcome, Saga, Standing};
//! use serde::{Deserialize, Serialize};
//! use tower::{BoxError, service_fn};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Trip { traveller: String, seat: Option<u32> }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! // Each gets its idempotency key as `step.key`, to be sent along.
//! let airline = service_fn(async |step: Step<String>| Ok::<u32, BoxError>(step.request.len() as u32));
//! let cancel = service_fn(async |step: Step<u32>| {
//!     assert_eq!(step.request, 3);
//!     Ok::<(), BoxError>(())
//! });
//! # #[derive(Debug)] struct Full;
//! # impl std::fmt::Display for Full { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("full") } }
//! # impl buttress::Fault for Full { fn verdict(&self) -> buttress::Verdict { buttress::Verdict::permanent() } }
//! // Its error says of itself that it is permanent.
//! let hotel = service_fn(async |_: Step<()>| Err::<(), Full>(Full));
//!
//! let effects = Effects::SideEffect(InDoubt::Retry);
//! let flight = Action::new("flight", effects, airline, |trip: &Trip| trip.traveller.clone())
//!     .then(|trip, seat| trip.seat = Some(*seat))
//!     .undo(effects, cancel, |_, seat| *seat);
//! let hotel = Action::new("hotel", effects, hotel, |_: &Trip| ());
//!
//! let saga = Saga::new("trip", Journal::new(MemoryStore::new())).step(flight).pivot(hotel);
//! let report = saga.run("trip-17", Trip { traveller: "Ada".into(), seat: None }).await.unwrap();
//! assert_eq!(report.outcome, Outcome::Compensated);
//! assert_eq!(report.step("flight").unwrap().standing, Standing::Compensated);
//! assert_eq!(report.step("hotel").unwrap().error.as_deref(), Some("full"));
//! # }
//! ```
//!
//! # What a step is
//!
//! | added by | if it fails | once it is done |
//! |---|---|---|
//! | [`step`](Saga::step) | what was done is undone | it is undone if a later one fails |
//! | [`harmless`](Saga::harmless) | what was done is undone | there is nothing to undo |
//! | [`pivot`](Saga::pivot) | what was done is undone | there is no way back |
//! | [`retriable`](Saga::retriable), after the pivot | it is tried until it is done | |
//!
//! # How often
//! Results exactly once; effects at most once ([`InDoubt::Fail`]), at least once ([`InDoubt::Retry`]),
//! effectively once ([`InDoubt::Retry`] and a tool that honours the key).
//!
//! Actions and compensations are [checkpoints](buttress::checkpoint) with keys of their own. What failed for good has
//! failed for good, in every process that takes the saga up; that the saga turns back is written down
//! before anything is undone.
//!
//! # What becomes of it
//!
//! | outcome | when | finished |
//! |---|---|---|
//! | [`Completed`](Outcome::Completed) | all steps are done | yes |
//! | [`Compensated`](Outcome::Compensated) | a step failed, all before it is undone | yes |
//! | [`InDoubt`](Outcome::InDoubt) | nobody knows what came of a step | no |
//! | [`Stuck`](Outcome::Stuck) | a compensation, or a retriable step, failed for good or too often | no |
//! | [`Interrupted`](Outcome::Interrupted) | the store failed, another process took it over, a record cannot be read | no |
//!
//! What is not finished can be [resumed](Saga::resume), by whoever [recovers](Saga::recover), and is
//! kept until it is. **Nothing is undone past a step in doubt**, since it may have been done: it is tried again when the saga is
//! resumed, or left alone, as declared; a [probe](Action::probe) asks the world. A compensation that is
//! stuck holds up those of the steps before it, and is tried again when the saga is resumed.
//!
//! # Defaults
//! 5 attempts at each step, 100 ms and more apart.
//!
//! # Cancellation
//! Dropping the future leaves the saga as it is: an action that was under way is in doubt. The same process may
//! resume it at once, others when its lease is over.
//!
//! # Errors
//! [`Refused`] if the saga was not taken up. Of an action: what is [permanent](buttress::Kind::Permanent)
//! is a failure at once, all else is tried again, and after the last attempt it has failed if it is known that
//! none had an effect, else it is in doubt.
//!
//! # Telemetry
//! The events of its checkpoints, with the name of the step; that of a compensation ends in `/undo`.
//!
//! # When not to use
//! Where others must not see what may be undone yet: between its steps a saga shows all of it. See
//! [two-phase commit](crate::transaction), if the participants can prepare.
//!
//! [`InDoubt::Fail`]: buttress::checkpoint::InDoubt::Fail
//! [`InDoubt::Retry`]: buttress::checkpoint::InDoubt::Retry

mod action;
mod bench;
mod drive;
pub mod plan;
mod report;
mod script;

pub use self::{
    action::{Action, Undoable},
    plan::{Outcome, Standing},
    report::{Refused, Report, StepReport},
    script::{Back, Forward, Saga},
};
