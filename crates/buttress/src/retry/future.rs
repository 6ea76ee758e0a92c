use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;

use super::{
    RetryLayer,
    policy::{Decision, Facts},
};
use crate::{
    Classify, Deadline, Event, Kind, Repeat, Replay, Verdict, Why, Withdrawal, budget::poll_attempt,
};

/// Attempts sent in one poll before others may run.
const SENT_PER_POLL: u32 = 32;

/// The future of [`Retry`](super::Retry).
#[pin_project]
pub struct ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    #[pin]
    stage: Stage<S::Future>,
    attempt: u32,
    call: C::Call,
    repeat: Repeat,
    /// The instance and the request for the next attempt, if there may be one.
    kept: Option<(S, Req)>,
    /// When the layer's own limit is reached.
    end: Option<Instant>,
    /// The wait before this attempt.
    delay: Duration,
    /// Paid for the attempt that is being waited for, and not yet spent.
    withdrawal: Option<Withdrawal>,
    /// What the running attempt cost, should it turn out that it was never sent.
    cost: u32,
    /// The error of the attempt before, should there be no next one.
    last: Option<S::Error>,
    layer: Arc<RetryLayer<C, R>>,
}

#[pin_project(project = StageProj)]
enum Stage<F> {
    Calling {
        #[pin]
        future: F,
    },
    /// Boxed: it is made after a failure only, and every call would carry its size.
    Waiting {
        timer: Pin<Box<Sleep>>,
    },
    /// The kept instance is made ready for the next attempt.
    Readying,
    Done,
}

impl<S, Req, C, R> ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    #[inline]
    pub(super) fn new(
        future: S::Future,
        call: C::Call,
        repeat: Repeat,
        kept: Option<(S, Req)>,
        layer: Arc<RetryLayer<C, R>>,
    ) -> Self {
        Self {
            stage: Stage::Calling { future },
            attempt: 1,
            call,
            repeat,
            kept,
            end: layer.limit.and_then(|limit| Instant::now().checked_add(limit)),
            delay: Duration::ZERO,
            withdrawal: None,
            cost: 0,
            last: None,
            layer,
        }
    }
}

impl<S, Req, C, R> Future for ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut sent = 0;
        loop {
            let mut this = self.as_mut().project();
            let next = match this.stage.as_mut().project() {
                StageProj::Calling { future } => {
                    // Judged apart: an outcome that is moved whole costs more.
                    let (outcome, verdict) =
                        match ready!(poll_attempt(this.layer.budget.as_ref(), future, cx)) {
                            Ok(response) => {
                                let verdict = this.layer.classify.verdict(this.call, Ok(&response));
                                if verdict.is_success() {
                                    self.succeeded();
                                    return Poll::Ready(Ok(response));
                                }
                                (Ok(response), verdict)
                            }
                            Err(error) => {
                                let verdict = this.layer.classify.verdict(this.call, Err(&error));
                                (Err(error), verdict)
                            }
                        };
                    match self.as_mut().failed(verdict) {
                        Some(delay) => {
                            let this = self.as_mut().project();
                            // An unacceptable response is let go before the wait, body and all.
                            if let Err(error) = outcome {
                                *this.last = Some(error);
                            }
                            match delay {
                                Duration::ZERO => Stage::Readying,
                                delay => Stage::Waiting { timer: Box::pin(sleep(delay)) },
                            }
                        }
                        None => return Poll::Ready(outcome),
                    }
                }
                StageProj::Waiting { timer } => {
                    ready!(timer.as_mut().poll(cx));
                    Stage::Readying
                }
                StageProj::Readying => {
                    let Some((inner, _)) = this.kept.as_mut() else { return Poll::Pending };
                    if let Err(error) = ready!(inner.poll_ready(cx)) {
                        *this.withdrawal = None;
                        let attempt = *this.attempt + 1;
                        let why = Why::NotReady;
                        this.layer.voice.tell(Event::Suppressed { attempt, why });
                        // What the service said before is nearer to the cause.
                        let error = this.last.take().unwrap_or(error);
                        this.stage.set(Stage::Done);
                        return Poll::Ready(Err(error));
                    }
                    // The wait for readiness knows no limit of its own.
                    if this.end.is_some_and(|end| Instant::now() >= end)
                        && let Some(error) = this.last.take()
                    {
                        *this.withdrawal = None;
                        let attempt = *this.attempt + 1;
                        this.layer.voice.tell(Event::Suppressed { attempt, why: Why::Deadline });
                        this.stage.set(Stage::Done);
                        return Poll::Ready(Err(error));
                    }
                    // With failures at hand, a call of very many attempts would keep the thread.
                    sent += 1;
                    if sent > SENT_PER_POLL {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    match self.as_mut().send() {
                        Some(future) => Stage::Calling { future },
                        None => return Poll::Pending,
                    }
                }
                // Polled again after it was done, which no future owes an answer to.
                StageProj::Done => return Poll::Pending,
            };
            self.as_mut().project().stage.set(next);
        }
    }
}

impl<S, Req, C, R> ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
{
    #[inline]
    fn succeeded(&self) {
        if let Some(budget) = &self.layer.budget {
            budget.earn();
        }
        if self.attempt > 1 {
            self.layer.voice.tell(Event::Won { attempt: self.attempt });
        }
    }

    /// Decides after a failed attempt: the wait before the next, or `None` if there is none.
    #[cold]
    fn failed(self: Pin<&mut Self>, verdict: Verdict) -> Option<Duration> {
        let this = self.project();
        let RetryLayer { policy, budget, random, voice, .. } = &**this.layer;
        let attempt = *this.attempt;
        voice.tell(Event::Failed { attempt, verdict });
        if verdict.kind == Kind::Rejected
            && let Some(budget) = budget
        {
            budget.refund(std::mem::take(this.cost));
        }
        let deadline = [*this.end, Deadline::current()].into_iter().flatten().min();
        let facts = Facts {
            attempt,
            verdict,
            repeat: if this.kept.is_some() || attempt >= policy.attempts {
                *this.repeat
            } else {
                Repeat::Never
            },
            previous: *this.delay,
            left: deadline.map(|end| end.saturating_duration_since(Instant::now())),
        };
        let attempt = attempt + 1;
        let why = match policy.decide(facts, || random.unit()) {
            Decision::Stop(why) => why,
            Decision::Wait(delay) => {
                *this.withdrawal = budget.as_ref().and_then(|b| b.withdraw_for(verdict.kind));
                if budget.is_none() || this.withdrawal.is_some() {
                    *this.delay = delay;
                    voice.tell(Event::Retrying { attempt, delay });
                    return Some(delay);
                }
                Why::Budget
            }
        };
        voice.tell(Event::Suppressed { attempt, why });
        None
    }

    /// Sends the next attempt to the instance that has become ready.
    fn send(self: Pin<&mut Self>) -> Option<S::Future> {
        let this = self.project();
        let (mut inner, request) = this.kept.take()?;
        *this.attempt += 1;
        let more = *this.attempt < this.layer.policy.attempts;
        let copy = if more { this.layer.replay.copy(&request) } else { None };
        *this.call = this.layer.classify.begin(&request);
        *this.cost = this.withdrawal.take().map_or(0, Withdrawal::spend_all);
        let future = inner.call(request);
        *this.kept = copy.map(|copy| (inner, copy));
        Some(future)
    }
}

impl<S, Req, C, R> fmt::Debug for ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Calling { .. } => "calling",
            Stage::Waiting { .. } => "waiting",
            Stage::Readying => "readying",
            Stage::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("stage", &stage)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
