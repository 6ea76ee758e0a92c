use std::{
    mem,
    task::{Context, Poll},
};

use ::http::Request;
use http_body::Body;
use tower_service::Service;

use super::{ReplayBody, ResponseFuture, pail::Pail};

/// The service of [`BufferBodyLayer`](super::BufferBodyLayer).
#[derive(Clone, Debug)]
pub struct BufferBody<S> {
    pub(super) inner: S,
    pub(super) limit: usize,
}

impl<S, B> Service<Request<B>> for BufferBody<S>
where
    S: Service<Request<ReplayBody<B>>> + Clone,
    B: Body + Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let pail = Pail::new(self.limit);
        let body = request.body();
        if body.is_end_stream() {
            let request = request.map(|_| ReplayBody::empty());
            ResponseFuture::calling(self.inner.call(request))
        } else if pail.would_overflow(body.size_hint().lower()) {
            let request = request.map(ReplayBody::unread);
            ResponseFuture::calling(self.inner.call(request))
        } else {
            let next = self.inner.clone();
            let inner = mem::replace(&mut self.inner, next);
            ResponseFuture::reading(inner, request, pail)
        }
    }
}
