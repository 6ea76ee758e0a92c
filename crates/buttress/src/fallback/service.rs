use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    FallbackHandle, FallbackLayer, Mark, ResponseFuture, conclude::Conclude, tiers::Tiers,
};
use crate::{Classify, Repeat, Replay};

/// The service of [`FallbackLayer`].
pub struct Fallback<S, T, C, R, M, K> {
    primary: Instance<S>,
    layer: Arc<FallbackLayer<T, C, R, M, K>>,
}

/// The primary, and how ready it is.
pub(super) struct Instance<S> {
    inner: S,
    ready: bool,
    /// How to copy it, where it can be.
    renew: Option<fn(&S) -> S>,
}

impl<S> Instance<S> {
    pub(super) const fn new(inner: S, renew: Option<fn(&S) -> S>) -> Self {
        Self { inner, ready: false, renew }
    }

    /// Makes it ready, or else leaves that to the response future.
    #[inline]
    fn poll_ready<Req>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req>,
    {
        let poll = self.inner.poll_ready(cx);
        self.ready = matches!(poll, Poll::Ready(Ok(())));
        match self.renew {
            Some(renew) if !self.ready => {
                // One that has failed is of no more use, and one that waits would keep its place
                // in a queue with nobody to poll it until there is a call.
                self.inner = renew(&self.inner);
                Poll::Ready(Ok(()))
            }
            _ => poll,
        }
    }
}

impl<S, T, C, R, M, K> Fallback<S, T, C, R, M, K> {
    pub(super) const fn new(
        primary: Instance<S>,
        layer: Arc<FallbackLayer<T, C, R, M, K>>,
    ) -> Self {
        Self { primary, layer }
    }

    /// The handle of the layer.
    pub fn handle(&self) -> FallbackHandle {
        self.layer.handle()
    }
}

impl<S: Clone, T, C, R, M, K> Clone for Fallback<S, T, C, R, M, K> {
    fn clone(&self) -> Self {
        let primary = Instance::new(self.primary.inner.clone(), self.primary.renew);
        Self::new(primary, self.layer.clone())
    }
}

impl<S, Req, T, C, R, M, K> Service<Req> for Fallback<S, T, C, R, M, K>
where
    S: Service<Req>,
    T: Tiers<Req, S::Response, S::Error>,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
    M: Conclude<S::Response, S::Error>,
    K: Mark<S::Response>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, T, C, R, M, K>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.primary.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let settings = &self.layer.settings;
        let repeat = settings.replay.repeat(&request);
        match self.primary.renew {
            Some(renew) if !self.primary.ready => {
                let next = renew(&self.primary.inner);
                let inner = mem::replace(&mut self.primary.inner, next);
                ResponseFuture::readying(inner, request, repeat, self.layer.clone())
            }
            _ => {
                self.primary.ready = false;
                let call = settings.classify.begin(&request);
                let copy = match repeat {
                    Repeat::Freely | Repeat::IfUnsent if settings.chain.hands_on(0) => {
                        settings.replay.copy(&request)
                    }
                    _ => None,
                };
                let future = self.primary.inner.call(request);
                ResponseFuture::calling(future, call, repeat, copy, self.layer.clone())
            }
        }
    }
}

impl<S: fmt::Debug, T, C, R, M, K> fmt::Debug for Fallback<S, T, C, R, M, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("primary", &self.primary.inner)
            .field("ready", &self.primary.ready)
            .field("layer", &self.layer)
            .finish()
    }
}
