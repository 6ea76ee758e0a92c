//! What we are up against: a tool that fails, hangs, throttles, lies and crashes, reproducibly.
//!
//! ```text
//!            seed, number of the call, time
//!                        │
//!  Faults ── rules, else the usual mix ──▶ Fate ──▶ Tool ──▶ reply or error
//!                                                    │
//!                                     http::Server ──┘   on a port
//! ```
//!
//! ```
//! use buttress_sim::{Burst, Fate, Faults, Rule, Tool, ToolRequest, When};
//! use buttress::Ratio;
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! // The tool of the experiments, which once in a while hangs for ten calls in a row.
//! let burst = Burst::new(Ratio::percent(1), Ratio::percent(10));
//! let faults = Faults::unreliable().rule(Rule::new(When::Burst(burst), Fate::Hang));
//! let tool = Tool::new(faults.clone(), 7);
//!
//! // What becomes of a call is known beforehand: by its seed and number.
//! let planned = faults.fate(7, 1, std::time::Duration::ZERO);
//! let reply = tool.oneshot(ToolRequest::from("user profile")).await;
//! assert_eq!(reply.is_ok(), planned.is_answer());
//! # }
//! ```
//!
//! | what | where |
//! |---|---|
//! | the plan: [`Faults`], made of [`Shares`] and [`Takes`], and [`Rule`]s with [`When`] | pure functions |
//! | its limits: [`Capacity`], the workers and the queue | first come, first served |
//! | the tool: [`Tool`] with its [`Stats`] and [`Outcome`]s | a Tower service, in process |
//! | the server: `http::Server`, behind the feature `http` | HTTP/1.1 on a port |
//! | the probe: [`probe::ProbeService`] | a strict service for tests of layers |

mod capacity;
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
    capacity::Capacity,
    fate::{FailKind, Fate},
    faults::Faults,
    rule::{Burst, Calls, Rule, Then, When, Window},
    takes::{Impossible, Shares, Takes},
    tool::{Ended, OnOutcome, Outcome, Stats, Tool, ToolError, ToolFuture, ToolReply, ToolRequest},
};
