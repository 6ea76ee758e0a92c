//! Steps that are done once: an outcome that was recorded is the answer, in this process or the next.
//!
//! Requires the feature `serde`.

mod codec;
mod effects;
mod halt;
mod keyed;

pub use self::{
    codec::{Codec, Json},
    effects::{Effects, InDoubt},
    halt::Halt,
    keyed::{Keyed, Step, fingerprint},
};
