//! Asking the world what became of a step.

use std::future::{Future, Pending};

use crate::store::IdempotencyKey;

/// What the world says of a step in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing<Res> {
    /// It was done, and this was the response.
    Landed(Res),
    /// It was not done, and will not be by a message still under way.
    Absent,
    /// Nobody knows.
    Unknown,
}

/// Asks the world what became of a step.
///
/// Closures of the request and its idempotency key that return a future of a [`Landing`] do. Take out
/// of the request what you need before the `async move` block.
pub trait Ask<Req, Res, E> {
    /// What is waited for.
    type Future: Future<Output = Result<Landing<Res>, E>>;

    /// Asks, unless nobody is there to be asked.
    fn ask(&self, request: &Req, key: IdempotencyKey) -> Option<Self::Future>;
}

/// Nobody is asked: the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unasked;

impl<Req, Res, E> Ask<Req, Res, E> for Unasked {
    type Future = Pending<Result<Landing<Res>, E>>;

    fn ask(&self, _: &Req, _: IdempotencyKey) -> Option<Self::Future> {
        None
    }
}

impl<F, Fut, Req, Res, E> Ask<Req, Res, E> for F
where
    F: Fn(&Req, IdempotencyKey) -> Fut,
    Fut: Future<Output = Result<Landing<Res>, E>>,
{
    type Future = Fut;

    fn ask(&self, request: &Req, key: IdempotencyKey) -> Option<Fut> {
        Some(self(request, key))
    }
}
