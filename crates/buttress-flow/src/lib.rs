//! Many calls, in order: workflow graph, checkpointed state, saga, two-phase commit, workers.

mod crowd;
mod docket;
mod patience;
pub mod saga;
pub mod transaction;
mod voice;
