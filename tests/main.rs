//! One test binary: a file per pattern.

mod support;
mod timeout;
