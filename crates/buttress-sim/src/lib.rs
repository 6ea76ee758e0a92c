//! The unreliable tool of the experiments and tests.
mod deck;
mod fate;
mod faults;
#[cfg(feature = "http")]
pub mod http;
mod noise;
pub mod probe;
mod rule;
mod takes;
mod tool;

pub use self::{
    fate::{FailKind, Fate},
    faults::Faults,
    rule::{Burst, Calls, Rule, Then, When, Window},
    takes::{Impossible, Shares, Takes},
    tool::{Ended, OnOutcome, Outcome, Stats, Tool, ToolError, ToolFuture, ToolReply, ToolRequest},
};
