//! Many calls, in order: workflow graph, checkpointed state, saga, two-phase commit, workers.
//!
//! | module | what it is for |
//! |---|---|
//! | [`graph`] | workflows as graphs of services, which go on where they had come to |
//! | [`state`] | the state of an agent, saved as it changes and found again at the next start |
//! | [`saga`] | steps that are undone in reverse when a later one fails |
//! | [`transaction`] | all participants do it, or none: two-phase commit |
//! | [`worker`] | any number of processes that share the workflows of a store |

mod crowd;
mod docket;
pub mod graph;
mod patience;
pub mod saga;
pub mod state;
pub mod transaction;
mod voice;
pub mod worker;
