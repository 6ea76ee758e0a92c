//! Does each step of a workflow once: what was done is answered from a store, in this process or the
//! next.
//!
//! Requires the feature `serde`.

mod codec;
mod course;
mod effects;
mod future;
mod halt;
mod instance;
mod keyed;
mod layer;
mod memo;
mod probe;
mod service;
mod tenure;

pub use self::{
    codec::{Codec, Json},
    effects::{Effects, InDoubt},
    future::ResponseFuture,
    halt::Halt,
    keyed::{Keyed, Step, StepOf, Unkeyed, fingerprint},
    layer::CheckpointLayer,
    memo::{Forget, Memo, Remember},
    probe::{Ask, Landing, Unasked},
    service::Checkpoint,
};
