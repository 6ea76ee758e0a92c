use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{ResponseFuture, RetryLayer};
use crate::{Classify, Repeat, Replay};

/// The service of [`RetryLayer`].
#[derive(Debug)]
pub struct Retry<S, C, R> {
    pub(super) inner: S,
    pub(super) layer: Arc<RetryLayer<C, R>>,
}

impl<S: Clone, C, R> Clone for Retry<S, C, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
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

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
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
        // The clone goes into the future, to be made ready there should it be needed.
        let kept = copy.map(|copy| (self.inner.clone(), copy));
        ResponseFuture::new(self.inner.call(request), call, repeat, kept, self.layer.clone())
    }
}
