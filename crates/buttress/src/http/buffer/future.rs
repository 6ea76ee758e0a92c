use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::{HeaderMap, Request};
use bytes::{Buf, Bytes};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use super::{ReplayBody, pail::Pail};

/// The future of [`BufferBody`](super::BufferBody).
#[pin_project]
pub struct ResponseFuture<S, B>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body,
{
    #[pin]
    stage: Stage<S, S::Future, B>,
}

#[pin_project(project = StageProj)]
#[expect(
    clippy::large_enum_variant,
    reason = "a request is large, and a box would be an allocation"
)]
enum Stage<S, F, B> {
    /// The body is read; the instance that is ready waits.
    Reading { inner: S, request: Option<Request<B>>, pail: Pail },
    Calling {
        #[pin]
        future: F,
    },
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body,
{
    pub(super) const fn calling(future: S::Future) -> Self {
        Self { stage: Stage::Calling { future } }
    }

    pub(super) const fn reading(inner: S, request: Request<B>, pail: Pail) -> Self {
        Self { stage: Stage::Reading { inner, request: Some(request), pail } }
    }
}

impl<S, B> Future for ResponseFuture<S, B>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body + Unpin,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        loop {
            let future = match stage.as_mut().project() {
                StageProj::Reading { inner, request, pail } => {
                    let Some(body) = request.as_mut().map(Request::body_mut) else {
                        return Poll::Pending;
                    };
                    let end = ready!(read(body, pail, cx));
                    let Some(request) = request.take() else { return Poll::Pending };
                    inner.call(request.map(|rest| end.into_body(pail, rest)))
                }
                StageProj::Calling { future } => return future.poll(cx),
            };
            stage.set(Stage::Calling { future });
        }
    }
}

/// Why the reading ended.
enum End<B: Body> {
    Whole(Option<HeaderMap>),
    /// There is more than fits, perhaps beginning with this frame.
    Large(Option<Bytes>),
    Failed(B::Error),
}

impl<B: Body> End<B> {
    fn into_body(self, pail: &mut Pail, rest: B) -> ReplayBody<B> {
        let read = pail.pour();
        match self {
            Self::Whole(trailers) => ReplayBody::whole(read, trailers),
            Self::Large(next) => ReplayBody::large(read, next.unwrap_or_default(), rest),
            Self::Failed(error) => ReplayBody::failed(read, error),
        }
    }
}

/// Reads until the end, the limit or a failure.
fn read<B: Body + Unpin>(body: &mut B, pail: &mut Pail, cx: &mut Context<'_>) -> Poll<End<B>> {
    loop {
        let frame = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            None => return Poll::Ready(End::Whole(None)),
            Some(Err(error)) => return Poll::Ready(End::Failed(error)),
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(mut data) => {
                let chunk = data.copy_to_bytes(data.remaining());
                if let Err(chunk) = pail.push(chunk) {
                    return Poll::Ready(End::Large(Some(chunk)));
                }
            }
            // Trailers are the last frame of a body.
            Err(frame) => return Poll::Ready(End::Whole(frame.into_trailers().ok())),
        }
        if body.is_end_stream() {
            return Poll::Ready(End::Whole(None));
        }
        if pail.would_overflow(body.size_hint().lower()) {
            return Poll::Ready(End::Large(None));
        }
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ResponseFuture");
        match &self.stage {
            Stage::Reading { pail, .. } => {
                debug.field("stage", &"reading").field("read", &pail.len())
            }
            Stage::Calling { .. } => debug.field("stage", &"calling"),
        };
        debug.finish_non_exhaustive()
    }
}
