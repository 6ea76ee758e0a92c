use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use crate::{FromRejection, Rejection};

/// The future of [`Leader`](super::Leader).
#[pin_project]
pub struct ResponseFuture<F> {
    #[pin]
    stage: Stage<F>,
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

impl<F> ResponseFuture<F> {
    #[inline]
    pub(super) const fn calling(future: F) -> Self {
        Self { stage: Stage::Calling { future } }
    }

    pub(super) const fn rejected(rejection: Rejection) -> Self {
        Self { stage: Stage::Rejected { rejection: Some(rejection) } }
    }
}

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: FromRejection,
{
    type Output = Result<T, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().stage.project() {
            StageProj::Calling { future } => future.poll(cx),
            StageProj::Rejected { rejection } => match rejection.take() {
                Some(rejection) => Poll::Ready(Err(E::from_rejection(rejection))),
                // Polled again after it was done, which no future owes an answer to.
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stage {
            Stage::Calling { .. } => "ResponseFuture(calling)",
            Stage::Rejected { .. } => "ResponseFuture(rejected)",
        })
    }
}
