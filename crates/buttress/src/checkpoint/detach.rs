//! Steps that are brought to their end though nobody waits for them any more.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Ask, Checkpoint, CheckpointLayer, Codec, Forget, Json, Keyed, Memo, ResponseFuture, Unasked,
};
use crate::{ByFault, Classify, FromRejection};

/// A [`CheckpointLayer`] whose steps go on when the call is dropped.
#[derive(Clone, Debug)]
pub struct DetachLayer<K = Json, C = ByFault, N = Forget, P = Unasked>(
    pub(super) CheckpointLayer<K, C, N, P>,
);

impl<S, K, C, N, P> Layer<S> for DetachLayer<K, C, N, P>
where
    K: Clone,
    C: Clone,
    N: Clone,
    P: Clone,
{
    type Service = Detach<S, K, C, N, P>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.note(true);
        Detach(Checkpoint { inner, layer: self.0.clone().into() })
    }
}

/// The service of [`CheckpointLayer::detach_on_drop`].
pub struct Detach<S, K = Json, C = ByFault, N = Forget, P = Unasked>(Checkpoint<S, K, C, N, P>);

impl<S: Clone, K, C, N, P> Clone for Detach<S, K, C, N, P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S, Req, K, C, N, P> Service<Req> for Detach<S, K, C, N, P>
where
    S: Service<Req> + Clone + Send + 'static,
    S::Response: Send,
    S::Error: FromRejection + Send,
    S::Future: Send,
    Req: Keyed + Send + 'static,
    K: Codec<S::Response> + Send + Sync + 'static,
    C: Classify<Req, S::Response, S::Error, Call: Send> + Send + Sync + 'static,
    N: Memo<S::Error> + Send + Sync + 'static,
    P: Ask<Req, S::Response, S::Error, Future: Send> + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = DetachFuture<ResponseFuture<S, Req, K, C, N, P>>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        DetachFuture {
            future: Some(Box::pin(self.0.call(request))),
            leave: |future| {
                // Without a runtime nothing can go on, and after its end nothing should.
                if future.under_way()
                    && let Ok(runtime) = Handle::try_current()
                {
                    runtime.spawn(async move { drop(future.await) });
                }
            },
        }
    }
}

impl<S: fmt::Debug, K: fmt::Debug, C, N, P> fmt::Debug for Detach<S, K, C, N, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Detach").field(&self.0).finish()
    }
}

/// The future of [`Detach`].
pub struct DetachFuture<F> {
    /// Boxed: it must not be moved when it goes on elsewhere.
    future: Option<Pin<Box<F>>>,
    leave: fn(Pin<Box<F>>),
}

impl<F: Future> Future for DetachFuture<F> {
    type Output = F::Output;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out, so that one that panics does not go on.
        let Some(mut future) = self.future.take() else { return Poll::Pending };
        let poll = future.as_mut().poll(cx);
        if poll.is_pending() {
            self.future = Some(future);
        }
        poll
    }
}

impl<F> Drop for DetachFuture<F> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            (self.leave)(future);
        }
    }
}

impl<F: fmt::Debug> fmt::Debug for DetachFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DetachFuture").field(&self.future).finish()
    }
}
