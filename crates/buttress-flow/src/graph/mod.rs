//! Workflows as graphs: nodes are services, edges say what comes next.
//!
//! A node is a service that makes the next state of a state, with whatever layers around it. Edges lead
//! from node to node, by what the state is like if need be; a [`FanOut`] runs branches at once and puts
//! their results together. The graph is a service itself.
//!
//! ```
//! use buttress::RetryLayer;
//! use buttress_flow::graph::{END, Graph};
//! use tower::{BoxError, ServiceExt, service_fn};
//!
//! #[derive(Clone, Debug, Default, PartialEq)]
//! struct Report { draft: String, rounds: u32 }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let write = service_fn(async |report: Report| {
//!     Ok::<_, BoxError>(Report { draft: report.draft + "word ", rounds: report.rounds + 1 })
//! });
//! let review = service_fn(async |report: Report| Ok::<_, BoxError>(report));
//!
//! let graph = Graph::new("report")
//!     .node("write", write)
//!     .node("review", review)
//!     .edge("write", "review")
//!     .route("review", |report: &Report| report.draft.len() > 12, [(true, END), (false, "write")])
//!     .wrap(RetryLayer::new()) // around each of the nodes
//!     .most_visits(5)
//!     .build()
//!     .unwrap();
//! let report = graph.clone().oneshot(Report::default()).await.unwrap();
//! assert_eq!(report.rounds, 3);
//!
//! // A graph is a node like any other. What does not fit together is told when it is built.
//! let strict = Graph::new("strict")
//!     .nest("report", graph)
//!     .edge("report", "report")
//!     .build();
//! assert_eq!(
//!     strict.unwrap_err().to_string(),
//!     "graph `strict` cannot be built: no path leads from `report` to the end",
//! );
//! # }
//! ```
//!
//! | to | use |
//! |---|---|
//! | add a node | [`node`](Draft::node), [`step`](Draft::step), [`keyed_step`](Draft::keyed_step), [`fan_out`](Draft::fan_out), [`nest`](Draft::nest) |
//! | say what comes next | [`edge`](Draft::edge), [`route`](Draft::route), [`split`](Draft::split) in success, retry and fail |
//! | make failures part of the state | [`catch`](Draft::catch), [`FanOut::settled`] |
//! | protect all nodes | [`wrap`](Draft::wrap), [`wrap_each`](Draft::wrap_each) |
//! | bound cycles | [`most_visits`](Draft::most_visits), [`most_steps`](Draft::most_steps) |
//! | see what goes on | [`follow`](Draft::follow), [`observe`](Draft::observe) |
//! | draw it | [`to_mermaid`](Graph::to_mermaid) |
//! | keep results | [`durable`](Graph::durable) |
//!
//! # Results that are kept
//!
//! A [`DurableGraph`] records the result of every node. The same [`Run`] once more, in this process or
//! another, goes on after the last node that was done: those before it are answered from the store, and
//! may be down. Of a fan-out only the branches are called that did not succeed.
//!
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use buttress::{checkpoint::{Effects, InDoubt, Step}, store::{Journal, MemoryStore}};
//! use buttress_flow::graph::{END, Graph, Run};
//! use tower::{BoxError, ServiceExt, service_fn};
//!
//! static CHARGED: AtomicU32 = AtomicU32::new(0);
//!
//! fn order(shipping_is_up: bool) -> Graph<Vec<String>, BoxError> {
//!     Graph::new("order")
//!         // It gets the key by which the tool knows that it was asked before.
//!         .keyed_step("charge", Effects::SideEffect(InDoubt::Retry), service_fn(
//!             async |step: Step<Vec<String>>| {
//!                 assert!(step.key.is_some());
//!                 CHARGED.fetch_add(1, Ordering::Relaxed);
//!                 Ok::<_, BoxError>([step.request, vec!["charged".into()]].concat())
//!             },
//!         ))
//!         .step("ship", Effects::Idempotent, service_fn(move |state: Vec<String>| async move {
//!             match shipping_is_up {
//!                 true => Ok([state, vec!["shipped".into()]].concat()),
//!                 false => Err(BoxError::from("nobody is there")),
//!             }
//!         }))
//!         .edge("charge", "ship")
//!         .edge("ship", END)
//!         .build()
//!         .unwrap()
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let store = MemoryStore::new();
//! let journal = Journal::new(store.clone()).owner("first");
//! let first = order(false).durable(journal).unwrap();
//! let error = first.oneshot(Run::new("order-17", vec![])).await.unwrap_err();
//! assert_eq!(error.to_string(), "node `ship` of graph `order` failed: nobody is there");
//!
//! // Another process, which knows no more than the name.
//! let journal = Journal::new(store).owner("second");
//! let second = order(true).durable(journal).unwrap();
//! let state = second.oneshot(Run::resume("order-17")).await.unwrap();
//! assert_eq!(state, ["charged", "shipped"]);
//! assert_eq!(CHARGED.load(Ordering::Relaxed), 1);
//! # }
//! ```
//!
//! Each visit of a node is a [step](buttress::checkpoint) of the workflow, named after the node; the number
//! of the visit is its occurrence. A branch is `fan-out/branch`, a node of a graph within `node/inner`. What
//! the run began with is the step `start`, what came of it is `end`, and with that the workflow is
//! finished; under a [lease](buttress::store::Journal::held) that somebody else keeps, such as a
//! [worker](crate::worker), it is theirs to end. What becomes of a node in doubt is
//! [declared](buttress::checkpoint::Effects) when it is added.
//!
//! So that a run goes on as it went before, functions of edges and joins must depend on the state alone;
//! what is decided by a die, a clock or a model belongs into a node. The state of a node is compared with the
//! one that it was recorded for: a program that makes another of it is told so by
//! [`Halt::Mismatch`](buttress::checkpoint::Halt::Mismatch). What serde leaves out of the state is not kept.
//!
//! # When the graph has changed
//! A run records what the graph looked like when it began. One that has changed since goes on with it as long as it
//! comes to all that was recorded before it comes to anything new: nodes, branches and edges beyond may be others
//! than they were. Where a node or a branch that was recorded has another name now, is gone or comes later, the run
//! ends with [`RunError::Changed`] before anything new is called: under another name it would be done again, with
//! another key. The graph that it began with can go on with it. So can any, with a
//! [fork](buttress::store::Store::fork) at a version before what has changed. What has ended is answered by any
//! graph.
//!
//! # Clone
//! Clones are the same graph, and share their nodes' templates: every visit calls a clone of its node.
//!
//! # Cancellation
//! Nodes run in the task of the caller, branches side by side in it. Dropping the future drops what runs. What
//! was kept is kept.
//!
//! # Errors
//! The error type is that of the nodes, which must be [able to carry a refusal](buttress::FromRejection).
//! [`RunError::of`] finds in it which node failed, at which visit and why, and its
//! [verdict](buttress::Fault) is that of the node's error, so a retry around a graph knows what to do. In an
//! enum of yours it is found if `source()` returns the refusal, as thiserror's `#[from]` has it.
//!
//! # Order in the stack
//! Layers of a node are inside of its checkpoint: one intent covers all attempts. A timeout around a
//! graph bounds the run; with results that are kept, a retry around it goes on where it failed.
//!
//! # When not to use
//! For two or three calls in a row with nothing kept, an async function reads better.

mod book;
mod cursor;
mod draft;
mod durable;
mod error;
mod fan;
mod flaw;
mod mermaid;
mod node;
mod outline;
mod plan;
mod progress;
mod service;
mod split;
mod walk;

pub use self::{
    draft::Draft,
    durable::{DurableFuture, DurableGraph, Run},
    error::RunError,
    fan::FanOut,
    flaw::{Flaw, GraphError},
    node::BoxNode,
    progress::{Follow, News, Progress, Tracing},
    service::{Graph, RunFuture},
    split::{Split, Turn},
};

/// The name of where runs begin. No node has it.
pub const START: &str = "start";

/// The name of where runs end, for edges that lead there. No node has it.
pub const END: &str = "end";
