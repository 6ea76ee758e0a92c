//! Many calls, in order: workflow graph, checkpointed state, saga, two-phase commit, workers.
//!
//! | module | what it is for |
//! |---|---|
//! | [`graph`] | workflows as graphs of services, which go on where they had come to |
//! | [`state`] | the state of an agent, saved as it changes and found again at the next start |
//! | [`worker`] | any number of processes that share the workflows of a store |

pub mod graph;
pub mod state;
pub mod worker;
