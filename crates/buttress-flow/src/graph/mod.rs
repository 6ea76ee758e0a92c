//! Workflows as graphs: nodes are services, edges say what comes next.

mod cursor;
mod draft;
mod error;
mod fan;
mod mermaid;
mod node;
mod plan;
mod progress;
mod service;
mod walk;

pub use self::{
    draft::{Draft, Split, Turn},
    error::{Flaw, GraphError, RunError},
    fan::FanOut,
    node::BoxNode,
    progress::{Follow, News, Progress, Tracing},
    service::{Graph, RunFuture},
};

/// The name of where runs begin. No node has it.
pub const START: &str = "start";

/// The name of where runs end, for edges that lead there. No node has it.
pub const END: &str = "end";
