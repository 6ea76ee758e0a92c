use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::{pin_project, pinned_drop};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    Ended, ToolError, ToolReply,
    service::{Call, Shared},
};
use crate::Fate;

/// The future of a call of a [`Tool`](super::Tool).
#[pin_project(PinnedDrop)]
pub struct ToolFuture {
    shared: Arc<Shared>,
    query: Arc<str>,
    call: Call,
    stage: Stage,
    #[pin]
    timer: Option<Sleep>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Not polled yet.
    New,
    Running {
        since: Instant,
    },
    Done,
}

impl ToolFuture {
    pub(super) const fn new(shared: Arc<Shared>, query: Arc<str>, call: Call) -> Self {
        Self { shared, query, call, stage: Stage::New, timer: None }
    }
}

impl Future for ToolFuture {
    type Output = Result<ToolReply, ToolError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let ran = loop {
            match *this.stage {
                Stage::New => {
                    let delay = this.call.dealt.fate.delay();
                    if delay == Some(Duration::ZERO) {
                        break Duration::ZERO;
                    }
                    let since = Instant::now();
                    *this.stage = Stage::Running { since };
                    // What ends later than can be told never ends.
                    let end = match &this.call.served {
                        Some(served) => served.end(),
                        None => delay.and_then(|delay| since.checked_add(delay)),
                    };
                    this.timer.set(end.map(sleep_until));
                }
                Stage::Running { since } => {
                    let Some(timer) = this.timer.as_mut().as_pin_mut() else {
                        return Poll::Pending;
                    };
                    ready!(timer.poll(cx));
                    break Instant::now().saturating_duration_since(since);
                }
                // Polled again after it was done, which no future owes an answer to.
                Stage::Done => return Poll::Pending,
            }
        };
        let reply = |correct| ToolReply {
            query: this.query.clone(),
            instance: this.call.dealt.instance,
            correct,
        };
        let outcome = match this.call.dealt.fate {
            Fate::Pass { .. } => Ok(reply(true)),
            Fate::Corrupt { .. } => Ok(reply(false)),
            Fate::Fail { kind, .. } => Err(ToolError::Failed(kind)),
            Fate::Throttle { retry_after, .. } => Err(ToolError::Throttled { retry_after }),
            Fate::DropMidAnswer { .. } => Err(ToolError::Dropped),
            Fate::Crash { .. } => Err(ToolError::Crashed),
            // It has no delay, so it never gets here.
            Fate::Hang => return Poll::Pending,
        };
        *this.stage = Stage::Done;
        this.timer.set(None);
        let ended = if outcome.is_ok() { Ended::Answered } else { Ended::Failed };
        this.shared.end(*this.call, ended, ran);
        Poll::Ready(outcome)
    }
}

#[pinned_drop]
impl PinnedDrop for ToolFuture {
    fn drop(self: Pin<&mut Self>) {
        let ran = match self.stage {
            Stage::New => Duration::ZERO,
            Stage::Running { since } => Instant::now().saturating_duration_since(since),
            Stage::Done => return,
        };
        self.shared.end(self.call, Ended::Cancelled, ran);
    }
}

impl fmt::Debug for ToolFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolFuture")
            .field("call", &self.call)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
