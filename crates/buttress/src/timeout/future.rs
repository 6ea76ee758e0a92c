use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::{Deadline, TimeoutLayer, lapses};
use crate::{Event, FromRejection, Rejection};

/// The future of [`Timeout`](super::Timeout).
#[pin_project]
pub struct ResponseFuture<S: Service<Req>, Req> {
    #[pin]
    stage: Stage<S, S::Future, Req>,
    /// When the time is over; unknown until the inner service is first pending.
    end: Option<Instant>,
    #[pin]
    timer: Option<Sleep>,
    layer: TimeoutLayer,
}

#[pin_project(project = StageProj)]
enum Stage<S, F, Req> {
    /// The inner service is made ready; the request waits.
    Readying { inner: S, request: Option<Req> },
    Calling {
        #[pin]
        future: F,
    },
    /// The time is over: what ran is gone.
    Done,
}

impl<S: Service<Req>, Req> ResponseFuture<S, Req> {
    #[inline]
    pub(super) const fn calling(future: S::Future, layer: TimeoutLayer) -> Self {
        Self { stage: Stage::Calling { future }, end: None, timer: None, layer }
    }

    pub(super) const fn readying(inner: S, request: Req, layer: TimeoutLayer) -> Self {
        let stage = Stage::Readying { inner, request: Some(request) };
        Self { stage, end: None, timer: None, layer }
    }
}

impl<S, Req> Future for ResponseFuture<S, Req>
where
    S: Service<Req>,
    S::Error: FromRejection,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let limit = this.layer.limit;
        let deadline = match *this.end {
            Some(end) => Deadline::at(end),
            None => Deadline::within(limit),
        };
        let mut stage = this.stage.as_mut();
        if let Poll::Ready(outcome) = deadline.scope(|| advance(&mut stage, cx)) {
            return Poll::Ready(outcome);
        }
        if this.timer.is_none() {
            // A limit too long to be told as a time never ends.
            let Some(end) = Instant::now().checked_add(limit) else { return Poll::Pending };
            *this.end = Some(end);
            this.timer.set(Some(sleep_until(end)));
        }
        if let Some(timer) = this.timer.as_mut().as_pin_mut() {
            ready!(timer.poll(cx));
        }
        let rejection = match *this.stage {
            Stage::Readying { .. } => Rejection::unready(limit),
            Stage::Calling { .. } | Stage::Done => Rejection::timeout(limit),
        };
        this.stage.set(Stage::Done);
        lapses::bump();
        this.layer.voice.tell(Event::TimedOut { after: limit });
        Poll::Ready(Err(S::Error::from_rejection(rejection)))
    }
}

/// Polls what is under way, from readiness on to the response.
#[inline]
fn advance<S: Service<Req>, Req>(
    stage: &mut Pin<&mut Stage<S, S::Future, Req>>,
    cx: &mut Context<'_>,
) -> Poll<Result<S::Response, S::Error>> {
    loop {
        let future = match stage.as_mut().project() {
            StageProj::Readying { inner, request } => {
                ready!(inner.poll_ready(cx))?;
                let Some(request) = request.take() else { return Poll::Pending };
                inner.call(request)
            }
            StageProj::Calling { future } => return future.poll(cx),
            // Polled again after it was done, which no future owes an answer to.
            StageProj::Done => return Poll::Pending,
        };
        stage.set(Stage::Calling { future });
    }
}

impl<S: Service<Req>, Req> fmt::Debug for ResponseFuture<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Readying { .. } => "readying",
            Stage::Calling { .. } => "calling",
            Stage::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("stage", &stage)
            .field("limit", &self.layer.limit)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
