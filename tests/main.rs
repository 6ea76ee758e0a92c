//! One test binary: a file per pattern.

mod hedge;
mod retry;
mod support;
mod timeout;
