//! Keeps request bodies up to a limit, so that requests can be sent twice.

mod body;
mod future;
mod layer;
mod pail;
mod service;

pub use self::{
    body::ReplayBody, future::ResponseFuture, layer::BufferBodyLayer, service::BufferBody,
};
