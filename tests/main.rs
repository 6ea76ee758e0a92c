//! One test binary: a file per pattern.

#![allow(clippy::unwrap_used, reason = "a test that unwraps says what it expects")]

mod breaker;
mod budget;
mod checkpoint;
mod contract;
mod degrade;
mod failover;
mod fallback;
mod faulty;
mod graph;
mod hedge;
mod http;
mod kills;
mod leader;
mod limit;
mod postgres;
mod quorum;
mod retry;
mod saga;
mod sim;
mod spawn;
mod stack;
mod state;
mod store;
mod support;
mod timeout;
mod transaction;
mod worker;
mod worker_processes;
