//! Any number of processes that do the workflows of one store together.
//!
//! ```text
//!   submit ──▶ ┌───────────┐ ◀── claims, renews ── worker ── handler(task) ── its steps
//!              │   store   │ ◀── claims, renews ── worker ── handler(task)
//!   wait ◀──── └───────────┘        a worker dies: its workflows are taken up by the others
//! ```
//!
//! ```
//! use std::time::Duration;
//! use buttress::store::{Journal, MemoryStore};
//! use buttress_flow::worker::{Task, WorkError, Worker, submit, wait};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let journal = Journal::new(MemoryStore::new()).namespace("greetings");
//! submit(&journal, "order-17", "Ada").await.unwrap();
//!
//! let worker = Worker::new(journal.clone());
//! let handler = async |task: Task| Ok::<_, WorkError>(format!("Hello, {}", task.input::<String>()?));
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let running = tokio::spawn(async move { worker.run(handler, async { let _ = stopped.await; }).await });
//!
//! let greeting: String = wait(&journal, "order-17", Duration::from_secs(1)).await.unwrap();
//! assert_eq!(greeting, "Hello, Ada");
//! stop.send(()).unwrap();
//! running.await.unwrap();
//! # }
//! ```
//!
//! # Exactly once, and what that means
//! A workflow has one result, the first that was written, in whatever worker and after however many attempts. Its
//! handler may run several times: after a failure, and when its worker died or stalled. What it did before is
//! not done again where its steps go through a [`CheckpointLayer`](buttress::CheckpointLayer), a graph or a saga over the
//! [journal of the task](Task::journal); all else that it does must bear repetition.
//!
//! ```
//! use buttress::{checkpoint::Effects, store::{Journal, MemoryStore}};
//! use buttress_flow::{graph::{END, Graph, Run}, worker::{Task, Worker, submit, wait}};
//! # use std::time::Duration;
//! use tower::{BoxError, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
//! let greet = service_fn(async |name: String| Ok::<_, BoxError>(format!("Hello, {name}")));
//! let graph = Graph::new("greeting").step("greet", Effects::Idempotent, greet).edge("greet", END).build()?;
//! let handler = async |task: Task| {
//!     let runs = graph.clone().durable(task.journal().clone())?;
//!     runs.oneshot(Run::new(task.id(), task.input()?)).await
//! };
//!
//! let journal = Journal::new(MemoryStore::new()).namespace("greetings");
//! submit(&journal, "order-17", "Ada").await?;
//! let worker = Worker::new(journal.clone());
//! tokio::select! {
//!     () = worker.run(handler, std::future::pending()) => {}
//!     greeting = wait::<String>(&journal, "order-17", Duration::from_secs(1)) => assert_eq!(greeting?, "Hello, Ada"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Under the worker's lease they leave the end of the workflow to the worker.
//!
//! # Who holds a workflow
//! A worker holds it by a [lease](buttress::store::Lease), renewed after a third of its time while the handler
//! runs. The handler's future is dropped as soon as the lease is lost or cannot be
//! [proven](buttress::store::Tenure) to hold any more, and before it is polled again if the process was stopped
//! meanwhile. Whatever it, or what it started, still writes to the journal of the task is refused by the store.
//!
//! | an attempt | counts | the workflow is taken up again |
//! |---|---|---|
//! | succeeds | | never: its result is recorded |
//! | fails, [permanently](buttress::Kind::Permanent) | yes | never: it is recorded as failed |
//! | fails otherwise, or panics | yes | after the backoff, or what the failure asks for if that is longer |
//! | loses its lease, or its process dies | yes | when the lease has run out |
//! | is cut short by a shutdown | no | at once |
//!
//! A workflow that has used up its [attempts](Worker::attempts), such as one that takes its process down each time, is
//! recorded as failed with the reason. [`result`] and [`wait`] tell it; to try it once more after a repair,
//! [fork](buttress::store::Store::fork) it under another name at the last version before its result.
//!
//! # Defaults
//! Four workflows at once, a look for work every second or sooner, 10 attempts with a backoff of 1 s doubled up to 5 min,
//! 30 s of grace, pruning every hour. Leases are as long as the [journal's](buttress::store::Journal::ttl), 30 s, and
//! relied upon for nine tenths of that.
//!
//! # Cancellation
//! After a shutdown nothing more is taken up; handlers have the [grace](Worker::grace) to end, then they are dropped
//! and their workflows given back. Dropping the future of [`Worker::run`] drops them at once and gives
//! nothing back: others take over when the leases have run out, and the attempts count.
//!
//! # Telemetry
//! The teller is `worker`, its name the workflow: [`Claimed`](buttress::Event::Claimed),
//! [`Recorded`](buttress::Event::Recorded), [`Failed`](buttress::Event::Failed) and
//! [`Retrying`](buttress::Event::Retrying), [`GivenUp`](buttress::Event::GivenUp),
//! [`Fenced`](buttress::Event::Fenced) when a lease was lost, [`Damaged`](buttress::Event::Damaged),
//! [`StoreFailed`](buttress::Event::StoreFailed). [`status`] says how a workflow stands.
//!
//! # When not to use
//! The namespace belongs to its workers: they take up every open workflow of it. Keep those that are driven by hand
//! in another. A name is to be used once: while the store keeps the ended workflow it answers
//! with its result, and after that it would be done again with the same idempotency keys.

mod attempt;
mod desk;
mod error;
mod paper;
mod run;
mod slots;
mod task;
mod turn;

pub use self::{
    desk::{State, Status, Submitted, result, status, submit, wait},
    error::WorkError,
    paper::{ATTEMPTS, INPUT, RESULT},
    run::{HOUSEKEEPING, Worker},
    task::Task,
};
