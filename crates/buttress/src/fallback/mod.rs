//! Tries one service after another.

mod chain;
mod conclude;
mod descent;
mod future;
mod handle;
mod layer;
mod mark;
mod service;
mod tiers;

pub use self::{
    conclude::{AllCauses, Answered, LastError, NotAccepted},
    future::ResponseFuture,
    handle::FallbackHandle,
    layer::{FallbackLayer, SingleLayer},
    mark::{Mark, Tier, Unmarked},
    service::Fallback,
    tiers::{ByFn, ByService, ByValue, ByValueWith, Primary, Then},
};
