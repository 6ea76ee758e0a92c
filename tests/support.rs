//! What several files need.

pub(crate) mod slow;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use buttress::{Fault, Rejection, Verdict};

/// An error that is told what it means, and keeps which attempt it belongs to.
#[derive(Debug, PartialEq)]
pub(crate) struct Failed(pub(crate) u32, pub(crate) Verdict);

impl Fault for Failed {
    fn verdict(&self) -> Verdict {
        self.1
    }
}

impl From<Rejection> for Failed {
    fn from(rejection: Rejection) -> Self {
        Self(0, rejection.verdict())
    }
}

/// Polls a future once, with the waker of the task.
pub(crate) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}
