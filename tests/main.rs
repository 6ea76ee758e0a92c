//! One test binary: a file per pattern.

mod http;
mod retry;
mod support;
mod timeout;
