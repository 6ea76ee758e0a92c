//! One test binary: a file per pattern.

mod sim;
mod support;
mod timeout;
