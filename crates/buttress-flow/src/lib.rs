//! Many calls, in order: workflow graph, checkpointed state, saga, two-phase commit, workers.

mod crowd;
mod docket;
pub mod transaction;
