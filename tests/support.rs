//! What several files need.

pub(crate) mod postgres;
pub(crate) mod slow;
pub(crate) mod through;

use std::{
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use buttress::{Fault, Rejection, Verdict};
use tokio::sync::watch;

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

/// A future that is not polled while it is stopped.
pub(crate) async fn stoppable<F: Future>(
    future: F,
    mut stopped: watch::Receiver<bool>,
) -> F::Output {
    let mut future = pin!(future);
    loop {
        let _ = stopped.wait_for(|stopped| !*stopped).await;
        let mut changed = pin!(async {
            if stopped.changed().await.is_err() {
                // Nobody is left who could stop it.
                pending::<()>().await;
            }
        });
        let done = poll_fn(|cx| match changed.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => future.as_mut().poll(cx).map(Some),
        });
        if let Some(output) = done.await {
            return output;
        }
    }
}
