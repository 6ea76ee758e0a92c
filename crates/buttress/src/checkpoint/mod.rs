//! Does each step of a workflow once: what was done is answered from a store, in this process or the
//! next.
//!
//! Requires the feature `serde`.

mod codec;
mod course;
mod detach;
mod effects;
mod future;
mod halt;
#[cfg(feature = "http")]
mod http;
mod instance;
mod keyed;
mod layer;
mod memo;
mod probe;
mod service;
mod tenure;

#[cfg(feature = "http")]
pub use self::http::{AtHand, Http};
pub use self::{
    codec::{Codec, Json},
    detach::{Detach, DetachFuture, DetachLayer},
    effects::{Effects, InDoubt},
    future::ResponseFuture,
    halt::Halt,
    keyed::{Keyed, Step, StepOf, Unkeyed, fingerprint},
    layer::CheckpointLayer,
    memo::{Forget, Memo, Remember},
    probe::{Ask, Landing, Unasked},
    service::Checkpoint,
};
