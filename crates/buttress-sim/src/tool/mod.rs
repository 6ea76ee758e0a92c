//! The unreliable tool, in process.

mod future;
mod outcome;
mod service;
mod stats;
mod workers;

pub use self::{
    future::ToolFuture,
    outcome::{Ended, OnOutcome, Outcome},
    service::{Tool, ToolError, ToolReply, ToolRequest},
    stats::Stats,
};
