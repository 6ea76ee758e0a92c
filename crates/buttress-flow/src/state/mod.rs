//! States that are saved as they change, and found again at the next start.
//!
//! An agent that works for hours saves what it knows: [`Checkpoints`] keeps each save as a version with
//! metadata, refuses a save that would overwrite what somebody else wrote since, and finds the newest
//! intact version when the agent starts again, even if the very newest is damaged.
//!
//! ```
//! use buttress::store::{Journal, MemoryStore};
//! use buttress_flow::state::Checkpoints;
//! use serde::{Deserialize, Serialize};
//! use serde_json::json;
//!
//! #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
//! struct Agent { notes: Vec<String> }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let journal = Journal::new(MemoryStore::new());
//! let mut checkpoints = Checkpoints::new(journal.clone(), "researcher");
//! assert!(checkpoints.recover().await.unwrap().is_none(), "it is the first start");
//! let mut agent = Agent::default();
//! for step in 1..=3 {
//!     agent.notes.push(format!("note {step}"));
//!     checkpoints.save(&agent, json!({ "step": step })).await.unwrap();
//! }
//!
//! // The next start, in this process or another.
//! let mut checkpoints = Checkpoints::<Agent>::new(journal, "researcher");
//! let saved = checkpoints.recover().await.unwrap().unwrap();
//! assert_eq!((saved.state, saved.version), (agent, 3));
//! assert_eq!(saved.metadata, json!({ "step": 3 }));
//! # }
//! ```
//!
//! | to | use |
//! |---|---|
//! | go on at start | [`recover`](Checkpoints::recover) |
//! | save | [`save`](Checkpoints::save), or every so often with [`Periodic`] |
//! | see what there is | [`list`](Checkpoints::list), [`load`](Checkpoints::load), [`verify`](Checkpoints::verify) |
//! | go back | [`rewind`](Checkpoints::rewind) |
//!
//! # Who may save
//! Whoever has the newest version: a save names the version that it follows, and is refused as
//! [stale](buttress::store::StoreError::Stale) if there is a newer one. So of two runs of one agent the one that
//! lags behind finds out at its next save, whatever the clocks say. It may [recover](Checkpoints::recover) and go
//! on from there. Under a [lease](buttress::store::Journal::held) every save is fenced besides.
//!
//! # What is kept
//! Each version is whole, in JSON, with SHA-256 over its bytes. How many are kept is a matter of the
//! store's [retention](buttress::store::Retention); the newest is kept as long as the subject is, which is pruned
//! when nothing was saved for long enough, 90 days by default.
//!
//! A subject is a workflow of its own in the namespace of the journal: do not call it like a workflow that a
//! graph runs, and keep it out of a namespace that [workers](crate::worker) serve, who would take it up. What a
//! worker's task is to remember belongs to its own workflow: `Checkpoints::new(task.journal().clone(), task.id())`.
//!
//! # Telemetry
//! [`Recorded`](buttress::Event::Recorded) for each save, [`Damaged`](buttress::Event::Damaged) for each version that
//! was passed over, [`Fenced`](buttress::Event::Fenced) for a save under a lease that is lost; the pattern is
//! `state`, the name the subject.

mod checkpoints;
mod error;
mod every;
mod periodic;
mod save;
mod version;

pub use self::{
    checkpoints::Checkpoints,
    error::StateError,
    every::Every,
    periodic::{Periodic, Saver},
    version::{Listed, Saved},
};
