use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::{pin_project, pinned_drop};
use tokio::time::{Sleep, sleep};

use super::{
    Act, Hold, ProbeError, ProbeReply,
    ledger::{Counts, Shared},
    service::Permit,
};

/// The future of a call of a [`ProbeService`](super::ProbeService). It is not `Unpin`.
///
/// # Panics
/// When it is polled after it has ended, and when that is planned.
#[pin_project(PinnedDrop)]
pub struct ProbeFuture {
    shared: Arc<Shared>,
    id: u64,
    call: u64,
    act: Act,
    hold: Hold,
    permit: Option<Permit>,
    stage: Stage,
    #[pin]
    timer: Option<Sleep>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Running,
    Ended,
}

impl ProbeFuture {
    pub(super) const fn new(
        shared: Arc<Shared>,
        id: u64,
        call: u64,
        act: Act,
        hold: Hold,
        permit: Permit,
    ) -> Self {
        let permit = Some(permit);
        Self { shared, id, call, act, hold, permit, stage: Stage::New, timer: None }
    }
}

impl Future for ProbeFuture {
    type Output = Result<ProbeReply, ProbeError>;

    #[expect(clippy::panic, reason = "some calls are planned to panic")]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        assert!(
            *this.stage != Stage::Ended,
            "the law of futures: call {} was polled after it had ended",
            this.call
        );
        *this.stage = Stage::Running;
        this.shared.with(|ledger, _| ledger.counts.polls += 1);
        if *this.act == Act::Hang {
            let waker = cx.waker().clone();
            match this.shared.with(|ledger, after| ledger.hang(*this.call, waker, after)) {
                Some(act) if act != Act::Hang => *this.act = act,
                _ => return Poll::Pending,
            }
        }
        let (after, count): (_, fn(&mut Counts) -> &mut u64) = match *this.act {
            Act::Answer { after } => (after, |counts| &mut counts.answered),
            Act::Fail { after, .. } => (after, |counts| &mut counts.failed),
            Act::Panic | Act::Hang => (Duration::ZERO, |counts| &mut counts.panicked),
        };
        if !after.is_zero() {
            if this.timer.is_none() {
                this.timer.set(Some(sleep(after)));
            }
            if let Some(timer) = this.timer.as_mut().as_pin_mut() {
                ready!(timer.poll(cx));
            }
        }
        *this.stage = Stage::Ended;
        this.timer.set(None);
        this.shared.with(|ledger, _| {
            ledger.counts.in_flight -= 1;
            *count(&mut ledger.counts) += 1;
        });
        let permit = match this.hold {
            Hold::Future => None,
            Hold::Answer | Hold::Reply => this.permit.take(),
        };
        match *this.act {
            Act::Answer { .. } => {
                let permit = permit.filter(|_| *this.hold == Hold::Reply);
                Poll::Ready(Ok(ProbeReply::new(*this.id, *this.call, permit, this.shared.clone())))
            }
            Act::Fail { verdict, .. } => Poll::Ready(Err(ProbeError::Failed(verdict))),
            Act::Panic | Act::Hang => panic!("call {} panics as planned", this.call),
        }
    }
}

#[pinned_drop]
impl PinnedDrop for ProbeFuture {
    fn drop(self: Pin<&mut Self>) {
        self.shared.with(|ledger, after| {
            ledger.forget_hanging(self.call, after);
            let counts = &mut ledger.counts;
            counts.futures -= 1;
            match self.stage {
                Stage::New => {
                    counts.in_flight -= 1;
                    counts.dropped_unpolled += 1;
                }
                Stage::Running => {
                    counts.in_flight -= 1;
                    counts.dropped_running += 1;
                }
                Stage::Ended => {}
            }
        });
    }
}

impl fmt::Debug for ProbeFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeFuture")
            .field("call", &self.call)
            .field("act", &self.act)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
