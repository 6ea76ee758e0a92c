//! Two-phase commit: several participants do all of it, or none.
//!
//! The [`Coordinator`] asks all participants to prepare, side by side. If each says that it can, the
//! decision to commit is written to the log; if one does not, or is not heard of in time, that to abort. Then all are
//! told, again and again, until each has acknowledged. Whatever dies on the way, a
//! [recovery](Coordinator::recover) brings every transaction to one outcome at all participants.
//!
//! A participant is a service of [`Transaction`]s that answers with a [`Standing`] (or an
//! [`Answer`], which also says why):
//!
//! ```
//! use std::{collections::HashMap, sync::{Arc, Mutex}};
//! use buttress::store::{Journal, MemoryStore};
//! use buttress_flow::transaction::{Ask, Coordinator, Outcome, Standing, Transaction};
//! use tower::{BoxError, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let account = |balance: u32| {
//!     let book = Arc::new(Mutex::new(HashMap::<String, Standing>::new()));
//!     service_fn(move |asked: Transaction<u32>| {
//!         let possible = match asked.ask {
//!             Ask::Prepare(amount) => Ask::Prepare(amount <= balance),
//!             Ask::Commit => Ask::Commit,
//!             Ask::Abort => Ask::Abort,
//!             Ask::Status => Ask::Status,
//!         };
//!         let book = book.clone();
//!         async move {
//!             let mut book = book.lock().unwrap(); // a real one writes to its disk before it answers
//!             let standing = book.entry(asked.id).or_default();
//!             *standing = standing.after(possible);
//!             Ok::<_, BoxError>(*standing)
//!         }
//!     })
//! };
//! let journal = Journal::new(MemoryStore::new()).namespace("transfers");
//! let coordinator = Coordinator::new(journal)
//!     .participant("giver", account(100))
//!     .participant("taker", account(u32::MAX));
//!
//! let report = coordinator.run("transfer-1", [("giver", 60), ("taker", 60)]).await.unwrap();
//! assert_eq!((report.outcome, report.finished), (Outcome::Committed, true));
//! let report = coordinator.run("transfer-2", [("giver", 600), ("taker", 600)]).await.unwrap();
//! assert_eq!(report.outcome, Outcome::Aborted);
//! # }
//! ```
//!
//! # What the client is told
//!
//! | outcome | means |
//! |---|---|
//! | [`Committed`](Outcome::Committed), [`Aborted`](Outcome::Aborted) | so it is, or will be, at every participant |
//! | [`Mixed`](Outcome::Mixed) | a participant did otherwise on its own account: somebody has to mend it |
//! | [`InDoubt`](Outcome::InDoubt) | the decision is not known to be durable: the next recovery decides |
//!
//! A [`Report`] says what happened at each participant. If it is not finished, somebody has not
//! acknowledged: the outcome stands, and the delivery goes on at the next recovery.
//! [`attend`](Coordinator::attend) recovers for as long as it runs.
//!
//! # What is asked of participants
//! To answer by the id, and to keep what they answered: [`Standing::after`] is the whole of it. Whoever
//! is prepared waits for the decision, however long that takes, and holds what it reserved.
//!
//! # More than one coordinator
//! Any number, in any number of processes, with the same participants and the same store. A transaction is
//! held by a lease while it is under way. Its outcome does not depend on that: a recovery first writes the decision to abort,
//! unless there is a decision, and the store keeps the first that is written. So nobody presumes anything,
//! and a coordinator that wakes up too late learns what was decided.
//!
//! # Defaults
//! 10 s to prepare and 10 s for each acknowledgement; 5 attempts to tell a participant, 100 ms and
//! more apart.
//!
//! # Cancellation
//! Dropping the future of [`run`](Coordinator::run) leaves the transaction to the next recovery: at once in
//! the same process, when the lease is over in others. Before the decision it is then aborted.
//!
//! # Errors
//! [`Refused`] if nobody was asked to do anything. A damaged decision is never replaced: its transaction
//! stays in doubt, with the store's error in the report.
//!
//! # When not to use
//! With slow participants, or those that cannot prepare, which is most of the tools of an agent: what is
//! reserved stays so until all have answered. Use a [saga](crate::saga).

mod coordinator;
mod desk;
mod drive;
mod log;
pub mod protocol;
mod report;
mod standing;

pub use self::{
    coordinator::Coordinator,
    protocol::{Decision, Outcome, Vote},
    report::{Participant, Refused, Report},
    standing::{Answer, Ask, Standing, Transaction},
};
