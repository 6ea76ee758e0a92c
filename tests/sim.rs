//! The unreliable tool, its server and the probe: what tests and experiments rely on.

mod http;
mod probe;
mod tool;
