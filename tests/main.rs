//! One test binary: a file per pattern.

mod breaker;
mod support;
mod timeout;
