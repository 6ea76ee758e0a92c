//! What the lab promises, from plan to report.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that unwraps says what it expects")]

mod drill;
mod experiment;
mod limits;
mod plan;
mod program;
mod resolve;
mod store;
