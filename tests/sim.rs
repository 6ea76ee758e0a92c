//! The unreliable tool, its server and the probe: what tests and experiments rely on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod capacity;
mod http;
mod probe;
mod tool;
