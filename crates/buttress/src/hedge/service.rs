use std::{
    mem,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{ResponseFuture, future::Kept, layer::Settings};
use crate::{Classify, Repeat, Replay};

/// The service of [`HedgeLayer`](super::HedgeLayer).
#[derive(Clone, Debug)]
pub struct Hedge<S, C, R> {
    pub(super) inner: S,
    /// Where further attempts go in turn. Never polled here: they become ready in the future.
    pub(super) others: Vec<Option<S>>,
    pub(super) settings: Settings<C, R>,
}

impl<S, Req, C, R> Service<Req> for Hedge<S, C, R>
where
    S: Service<Req> + Clone,
    C: Classify<Req, S::Response, S::Error> + Clone,
    R: Replay<Req> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, C, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let settings = &self.settings;
        let call = settings.classify.begin(&request);
        let copy = match settings.replay.repeat(&request) {
            Repeat::Freely if settings.attempts > 1 => settings.replay.copy(&request),
            _ => None,
        };
        let (future, kept) = match copy {
            Some(copy) => {
                let next = self.inner.clone();
                let mut inner = mem::replace(&mut self.inner, next);
                let future = inner.call(request);
                (future, Some(Kept::new(inner, self.others.clone(), copy)))
            }
            None => (self.inner.call(request), None),
        };
        ResponseFuture::new(future, call, kept, settings.clone())
    }
}
