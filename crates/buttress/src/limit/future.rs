use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tower_service::Service;

use super::guard::Guard;
use crate::{Classify, FromRejection, Rejection, timeout::lapses};

/// The future of [`Limit`](super::Limit).
#[pin_project]
pub struct ResponseFuture<S, C, Req>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    #[pin]
    stage: Stage<S::Future>,
    /// After the stage: what runs is dropped before the next may run.
    running: Option<Running<C::Call>>,
    classify: C,
}

/// What is kept until the outcome is known.
struct Running<T> {
    guard: Guard,
    call: T,
}

#[pin_project(project = StageProj)]
enum Stage<F> {
    Calling {
        #[pin]
        future: F,
    },
    Rejected {
        rejection: Option<Rejection>,
    },
}

impl<S, C, Req> ResponseFuture<S, C, Req>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
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

    pub(super) const fn rejected(rejection: Rejection, classify: C) -> Self {
        Self { stage: Stage::Rejected { rejection: Some(rejection) }, running: None, classify }
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
        let this = self.project();
        let future = match this.stage.project() {
            StageProj::Calling { future } => future,
            StageProj::Rejected { rejection } => {
                return match rejection.take() {
                    Some(rejection) => Poll::Ready(Err(S::Error::from_rejection(rejection))),
                    // Polled again after it was done, which no future owes an answer to.
                    None => Poll::Pending,
                };
            }
        };
        let lapses = lapses::count();
        match future.poll(cx) {
            // Judged apart: an outcome that is moved whole costs more.
            Poll::Ready(Ok(response)) => {
                if let Some(Running { guard, call }) = this.running {
                    let verdict = this.classify.verdict(call, Ok(&response));
                    guard.settle(verdict, lapses::count() != lapses);
                }
                Poll::Ready(Ok(response))
            }
            Poll::Ready(Err(error)) => {
                if let Some(Running { guard, call }) = this.running {
                    let verdict = this.classify.verdict(call, Err(&error));
                    guard.settle(verdict, lapses::count() != lapses);
                }
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                if let Some(running) = this.running {
                    running.guard.pending();
                }
                Poll::Pending
            }
        }
    }
}

impl<S, C, Req> fmt::Debug for ResponseFuture<S, C, Req>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Calling { .. } => "calling",
            Stage::Rejected { .. } => "rejected",
        };
        f.debug_struct("ResponseFuture")
            .field("stage", &stage)
            .field("guard", &self.running.as_ref().map(|running| &running.guard))
            .finish_non_exhaustive()
    }
}
