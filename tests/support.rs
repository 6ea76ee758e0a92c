//! What several files need.

pub(crate) mod postgres;
pub(crate) mod slow;
pub(crate) mod through;

use std::{
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use buttress::{Fault, Rejection, Verdict};
use proptest::{
    strategy::Strategy,
    test_runner::{Config, TestRunner},
};
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

/// Polls a future so many times, without a task: what is dropped then has gone no further.
pub(crate) fn poll_times<F: Future>(mut future: Pin<&mut F>, times: usize) -> Poll<F::Output> {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..times {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Poll::Ready(output);
        }
    }
    Poll::Pending
}

/// Plays histories, each in a simulated time of its own. That is minutes of it, so it is one in `share` of the cases
/// that others get.
pub(crate) fn simulate<H: Strategy>(histories: &H, share: u32, play: impl AsyncFn(H::Value)) {
    let cases = (Config::default().cases / share).max(16);
    let mut runner = TestRunner::new(Config { cases, ..Config::default() });
    let outcome = runner.run(histories, |history| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(play(history));
        Ok(())
    });
    outcome.unwrap();
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
