use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{Ask, CheckpointLayer, Codec, Forget, Json, Keyed, Memo, ResponseFuture, Unasked};
use crate::{ByFault, Classify, FromRejection};

/// The service of [`CheckpointLayer`].
pub struct Checkpoint<S, K = Json, C = ByFault, N = Forget, P = Unasked> {
    pub(super) inner: S,
    pub(super) layer: Arc<CheckpointLayer<K, C, N, P>>,
}

impl<S: Clone, K, C, N, P> Clone for Checkpoint<S, K, C, N, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, Req, K, C, N, P> Service<Req> for Checkpoint<S, K, C, N, P>
where
    S: Service<Req> + Clone,
    S::Error: FromRejection,
    Req: Keyed,
    K: Codec<S::Response>,
    C: Classify<Req, S::Response, S::Error>,
    N: Memo<S::Error>,
    P: Ask<Req, S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, K, C, N, P>;

    /// Always ready: what was done is answered while the service is down.
    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let next = self.inner.clone();
        let inner = mem::replace(&mut self.inner, next);
        ResponseFuture::new(inner, request, self.layer.clone())
    }
}

impl<S: fmt::Debug, K: fmt::Debug, C, N, P> fmt::Debug for Checkpoint<S, K, C, N, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish()
    }
}
