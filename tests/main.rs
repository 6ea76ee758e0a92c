//! One test binary: a file per pattern.

mod retry;
mod support;
mod timeout;
