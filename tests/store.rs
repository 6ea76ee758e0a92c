//! What every store is held to, held against the one in memory; and that the suite can fail.

mod canary;
mod memory;
