//! Many calls, in order: workflow graph, checkpointed state, saga, two-phase commit, workers.

pub mod graph;
pub mod state;
