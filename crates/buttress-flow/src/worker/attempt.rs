//! The user's part of a turn: what the handler does, and how it ends.

use std::{
    any::Any,
    fmt::Display,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
    time::Duration,
};

use buttress::{Fault, Verdict, store::Payload};
use serde::Serialize;
use tokio::time::sleep;

use super::{Task, paper, run::Stop};

/// How a handler ended.
pub(super) enum Ending {
    Done(Payload),
    Failed { verdict: Verdict, message: String },
    Interrupted,
}

/// Runs the handler to its end, or until the grace that follows a shutdown is over.
pub(super) async fn handle<H, F, T, E>(
    handler: &H,
    task: Task,
    stop: &Stop,
    grace: Duration,
) -> Ending
where
    H: Fn(Task) -> F,
    F: Future<Output = Result<T, E>>,
    T: Serialize,
    E: Fault + Display,
{
    // In a block, so that whatever of the user's code panics is caught: the handler before its future is
    // there, the future, its result or error when it is looked at.
    let mut work = pin!(async {
        match handler(task).await {
            Ok(value) => match paper::write("result", &value) {
                Ok(payload) => Ending::Done(payload),
                Err(error) => failed(&error),
            },
            Err(error) => failed(&error),
        }
    });
    let mut patience = pin!(async {
        stop.stopped().await;
        sleep(grace).await;
    });
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Ready(ending)) => Poll::Ready(ending),
        Ok(Poll::Pending) => patience.as_mut().poll(cx).map(|()| Ending::Interrupted),
        Err(panic) => Poll::Ready(Ending::Failed {
            verdict: Verdict::unknown(),
            message: format!("the handler panicked: {}", words(&*panic)),
        }),
    })
    .await
}

fn failed<E: Fault + Display>(error: &E) -> Ending {
    Ending::Failed { verdict: error.verdict(), message: error.to_string() }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}
