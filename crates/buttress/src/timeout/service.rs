#[cfg(feature = "http")]
use std::time::Duration;
use std::{
    fmt, mem,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{Deadline, ResponseFuture, TimeoutLayer};
use crate::FromRejection;

/// The service of [`TimeoutLayer`].
#[derive(Clone)]
pub struct Timeout<S> {
    inner: S,
    layer: TimeoutLayer,
    /// How to copy the inner service where the limit covers its readiness: it is then polled
    /// inside the future and never here.
    renew: Option<fn(&S) -> S>,
}

impl<S> Timeout<S> {
    pub(super) const fn new(inner: S, layer: TimeoutLayer, renew: Option<fn(&S) -> S>) -> Self {
        Self { inner, layer, renew }
    }
}

impl<S> Timeout<S> {
    /// Calls with a limit of its own for this call, if that is shorter than the layer's.
    #[cfg(feature = "http")]
    pub(crate) fn call_within<Req>(
        &mut self,
        request: Req,
        limit: Duration,
    ) -> ResponseFuture<S, Req>
    where
        S: Service<Req>,
    {
        let mut layer = self.layer.clone();
        layer.limit = layer.limit.min(limit);
        self.call_under(request, layer)
    }

    /// Calls under the limit of `layer`.
    #[inline]
    fn call_under<Req>(&mut self, request: Req, layer: TimeoutLayer) -> ResponseFuture<S, Req>
    where
        S: Service<Req>,
    {
        match self.renew {
            Some(renew) => {
                let next = renew(&self.inner);
                let inner = mem::replace(&mut self.inner, next);
                ResponseFuture::readying(inner, request, layer)
            }
            None => {
                let limit = Deadline::within(layer.limit);
                let future = limit.scope(|| self.inner.call(request));
                ResponseFuture::calling(future, layer)
            }
        }
    }
}

impl<S, Req> Service<Req> for Timeout<S>
where
    S: Service<Req>,
    S::Error: FromRejection,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self.renew {
            Some(_) => Poll::Ready(Ok(())),
            None => self.inner.poll_ready(cx),
        }
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.call_under(request, self.layer.clone())
    }
}

impl<S: fmt::Debug> fmt::Debug for Timeout<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("inner", &self.inner)
            .field("limit", &self.layer.limit)
            .field("covers_readiness", &self.renew.is_some())
            .finish()
    }
}
