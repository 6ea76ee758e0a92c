use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::{Fixed, LimitHandle, ResponseFuture, gate::Gate, place::Place};
use crate::{Classify, FromRejection};

/// The service of [`LimitLayer`](super::LimitLayer).
pub struct Limit<S, C = Fixed> {
    /// Before the place: what it had reserved is free by the time the next in line comes.
    inner: S,
    place: Place,
    classify: C,
}

impl<S, C> Limit<S, C> {
    pub(super) const fn new(inner: S, gate: Arc<Gate>, classify: C) -> Self {
        Self { inner, place: Place::new(gate), classify }
    }

    /// The handle of the limit.
    pub fn handle(&self) -> LimitHandle {
        LimitHandle::new(self.place.gate().clone())
    }
}

impl<S: Clone, C: Clone> Clone for Limit<S, C> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.place.gate().clone(), self.classify.clone())
    }
}

impl<S, C, Req> Service<Req> for Limit<S, C>
where
    S: Service<Req>,
    S::Error: FromRejection,
    C: Classify<Req, S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, C, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if !ready!(self.place.poll(cx)) {
            return Poll::Ready(Ok(()));
        }
        let poll = self.inner.poll_ready(cx);
        if let Poll::Ready(Err(_)) = poll {
            self.place.let_go();
        }
        poll
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        match self.place.begin() {
            Ok(guard) => {
                let call = self.classify.begin(&request);
                let future = self.inner.call(request);
                ResponseFuture::calling(future, guard, self.classify.clone(), call)
            }
            Err(rejection) => ResponseFuture::rejected(rejection, self.classify.clone()),
        }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Limit<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit")
            .field("inner", &self.inner)
            .field("place", &self.place)
            .field("limit", &self.handle())
            .finish_non_exhaustive()
    }
}
