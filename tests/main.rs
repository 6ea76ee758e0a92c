//! One test binary: a file per pattern.

#![allow(clippy::unwrap_used, reason = "a test that unwraps says what it expects")]

mod breaker;
mod budget;
mod contract;
mod fallback;
mod hedge;
mod http;
mod retry;
mod sim;
mod support;
mod timeout;
