use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tower_service::Service;

use super::{guard::Guard, waiters::Seat};
use crate::{Classify, FromRejection, Rejection};

/// The future of [`Breaker`](super::Breaker) and [`KeyedBreaker`](super::KeyedBreaker).
#[pin_project]
pub struct ResponseFuture<S, C, Req>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    #[pin]
    stage: Stage<S, S::Future, Req>,
    /// After the stage: what runs is dropped before it is told that it was.
    running: Option<Running<C::Call>>,
    classify: C,
}

/// What is kept until the outcome is known.
struct Running<T> {
    guard: Guard,
    call: T,
}

#[pin_project(project = StageProj)]
enum Stage<S, F, Req> {
    Rejected {
        rejection: Option<Rejection>,
    },
    /// The inner service is made ready; the request waits.
    Readying {
        inner: S,
        request: Option<Req>,
        /// Where it learns that the circuit opened meanwhile.
        seat: Option<Seat>,
    },
    Calling {
        #[pin]
        future: F,
    },
}

impl<S, C, Req> ResponseFuture<S, C, Req>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    #[inline]
    pub(super) const fn rejected(rejection: Rejection, classify: C) -> Self {
        Self { stage: Stage::Rejected { rejection: Some(rejection) }, running: None, classify }
    }

    pub(super) const fn readying(
        inner: S,
        request: Req,
        guard: Guard,
        classify: C,
        call: C::Call,
    ) -> Self {
        let stage = Stage::Readying { inner, request: Some(request), seat: None };
        Self { stage, running: Some(Running { guard, call }), classify }
    }

    #[inline]
    pub(super) const fn calling(
        future: S::Future,
        guard: Guard,
        classify: C,
        call: C::Call,
    ) -> Self {
        let running = Some(Running { guard, call });
        Self { stage: Stage::Calling { future }, running, classify }
    }
}

impl<S, C, Req> Future for ResponseFuture<S, C, Req>
where
    S: Service<Req>,
    S::Error: FromRejection,
    C: Classify<Req, S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let error = loop {
            let future = match this.stage.as_mut().project() {
                StageProj::Calling { future } => match future.poll(cx) {
                    // Judged apart: an outcome that is moved whole costs more.
                    Poll::Ready(Ok(response)) => {
                        if let Some(Running { guard, call }) = this.running {
                            guard.settle(this.classify.verdict(call, Ok(&response)));
                        }
                        return Poll::Ready(Ok(response));
                    }
                    Poll::Ready(Err(error)) => break error,
                    Poll::Pending => {
                        if let Some(running) = this.running {
                            running.guard.pending();
                        }
                        return Poll::Pending;
                    }
                },
                StageProj::Readying { inner, request, seat } => {
                    let Some(running) = this.running else { return Poll::Pending };
                    match inner.poll_ready(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => break error,
                        Poll::Pending => {
                            running.guard.watch(seat, cx.waker());
                            // It may have opened before the waker was in place.
                            if running.guard.is_current() {
                                return Poll::Pending;
                            }
                            if let Err(rejection) = running.guard.renew() {
                                this.stage.set(Stage::Rejected { rejection: Some(rejection) });
                            }
                            continue;
                        }
                    }
                    *seat = None;
                    let Some(request) = request.take() else { return Poll::Pending };
                    // The wait may have been long: a circuit that opened meanwhile holds.
                    if let Err(rejection) = running.guard.renew() {
                        this.stage.set(Stage::Rejected { rejection: Some(rejection) });
                        continue;
                    }
                    inner.call(request)
                }
                StageProj::Rejected { rejection } => match rejection.take() {
                    Some(rejection) => {
                        return Poll::Ready(Err(S::Error::from_rejection(rejection)));
                    }
                    // Polled again after it was done, which no future owes an answer to.
                    None => return Poll::Pending,
                },
            };
            this.stage.set(Stage::Calling { future });
        };
        if let Some(Running { guard, call }) = this.running {
            guard.settle(this.classify.verdict(call, Err(&error)));
        }
        Poll::Ready(Err(error))
    }
}

impl<S, C, Req> fmt::Debug for ResponseFuture<S, C, Req>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Rejected { .. } => "rejected",
            Stage::Readying { .. } => "readying",
            Stage::Calling { .. } => "calling",
        };
        f.debug_struct("ResponseFuture")
            .field("stage", &stage)
            .field("guard", &self.running.as_ref().map(|running| &running.guard))
            .finish_non_exhaustive()
    }
}
