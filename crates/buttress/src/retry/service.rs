use std::{
    mem,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{ResponseFuture, RetryLayer};
use crate::{Classify, Repeat, Replay};

/// The service of [`RetryLayer`].
#[derive(Clone, Debug)]
pub struct Retry<S, C, R> {
    pub(super) inner: S,
    pub(super) layer: RetryLayer<C, R>,
}

impl<S, Req, C, R> Service<Req> for Retry<S, C, R>
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
        let layer = &self.layer;
        let call = layer.classify.begin(&request);
        let repeat = layer.replay.repeat(&request);
        let copy = match repeat {
            Repeat::Freely | Repeat::IfUnsent if layer.policy.attempts > 1 => {
                layer.replay.copy(&request)
            }
            _ => None,
        };
        let (future, kept) = match copy {
            Some(copy) => {
                let next = self.inner.clone();
                let mut inner = mem::replace(&mut self.inner, next);
                (inner.call(request), Some((inner, copy)))
            }
            None => (self.inner.call(request), None),
        };
        ResponseFuture::new(future, call, repeat, kept, layer.clone())
    }
}
