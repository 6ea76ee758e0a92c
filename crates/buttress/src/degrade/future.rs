use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::{Answers, layer::Plan, tally::Tally};
use crate::{
    Classify, Deadline, Effect, Event, FromRejection, IntoCause, Rejection, Verdict, Why,
    fan::{Ended, Fan},
};

/// The future of [`Degrade`](super::Degrade).
#[pin_project]
pub struct ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    fan: Fan<S, Req>,
    /// The members for which there is no copy of the request.
    left_out: Vec<usize>,
    /// What the classifier remembers of the request.
    call: C::Call,
    /// What has become of the members, until the call has ended.
    tally: Option<Tally<S::Response>>,
    wait: Wait,
    plan: Arc<Plan<C, R>>,
}

/// How long members are waited for.
enum Wait {
    /// Nobody has had to wait yet.
    Not,
    Endless,
    Until {
        timer: Pin<Box<Sleep>>,
        after: Duration,
    },
}

impl Wait {
    /// The deadline of the members: they are not told of a surrounding one, which they see.
    #[inline]
    fn deadline(&self, patience: Option<Duration>) -> Deadline {
        match (self, patience) {
            (Self::Not, Some(patience)) => Deadline::within(patience),
            (Self::Until { timer, .. }, _) => Deadline::at(timer.deadline()),
            (Self::Not | Self::Endless, _) => Deadline::default(),
        }
    }

    /// Whether the time is over, and how long it was.
    fn poll(&mut self, cx: &mut Context<'_>, patience: Option<Duration>) -> Poll<Duration> {
        if let Self::Not = self {
            *self = Self::begin(patience);
        }
        let Self::Until { timer, after } = self else { return Poll::Pending };
        // Timers count whole milliseconds: they may be late, and then later than that of whoever
        // set the deadline.
        if timer.as_mut().poll(cx).is_pending() && Instant::now() < timer.deadline() {
            return Poll::Pending;
        }
        Poll::Ready(*after)
    }

    #[cold]
    fn begin(patience: Option<Duration>) -> Self {
        let around = Deadline::current();
        if patience.is_none() && around.is_none() {
            return Self::Endless;
        }
        let now = Instant::now();
        let end = patience.and_then(|patience| now.checked_add(patience));
        match end.into_iter().chain(around).min() {
            Some(end) => Self::Until {
                timer: Box::pin(sleep_until(end)),
                after: end.saturating_duration_since(now),
            },
            // A time too long to be told as one never ends.
            None => Self::Endless,
        }
    }
}

impl<S, Req, C, R> ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    pub(super) const fn new(
        fan: Fan<S, Req>,
        left_out: Vec<usize>,
        call: C::Call,
        plan: Arc<Plan<C, R>>,
    ) -> Self {
        Self { fan, left_out, call, tally: Some(Tally::new()), wait: Wait::Not, plan }
    }
}

impl<S, Req, C, R> Future for ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    S::Error: FromRejection + IntoCause,
    C: Classify<Req, S::Response, S::Error>,
{
    type Output = Result<Answers<S::Response>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (fan, plan) = (this.fan, &**this.plan);
        let Some(tally) = this.tally else { return Poll::Pending };
        leave_out(plan, tally, mem::take(this.left_out));
        if !tally.is_too_few(&plan.seats) {
            let deadline = this.wait.deadline(plan.patience);
            let call = &*this.call;
            deadline.scope(|| fan.poll(cx, |ended| settle(plan, tally, call, ended)));
        }
        if fan.running() > 0 && !tally.is_too_few(&plan.seats) {
            let after = ready!(this.wait.poll(cx, plan.patience));
            give_up(plan, tally, fan, after);
        }
        // What nobody needs any more may still have been sent.
        let sent = fan.unfinished().any(|(_, sent)| sent);
        fan.clear();
        let Some(tally) = this.tally.take() else { return Poll::Pending };
        let gauge = &plan.gauge;
        if tally.is_too_few(&plan.seats) {
            let effect = if sent { Effect::Maybe } else { Effect::None };
            let rejection = tally.into_rejection(&plan.seats, gauge.voice().name(), effect);
            gauge.rejected();
            gauge.voice().tell(Event::Rejected { retry_after: rejection.retry_after() });
            return Poll::Ready(Err(S::Error::from_rejection(rejection)));
        }
        let answers = tally.into_answers(&plan.seats);
        gauge.answered(answers.level());
        Poll::Ready(Ok(answers))
    }
}

/// Takes those for failed for which there is no copy of the request.
#[inline]
fn leave_out<C, R, Res>(plan: &Plan<C, R>, tally: &mut Tally<Res>, places: Vec<usize>) {
    for place in places {
        let verdict = Verdict::permanent().with_effect(Effect::None);
        tally.failed(&plan.seats, place, verdict, "the request could not be copied");
        let attempt = number(place);
        plan.gauge.voice().tell(Event::Suppressed { attempt, why: Why::NotRepeatable });
    }
}

/// Takes note of a member that ended; gives something back if no other need be polled.
#[inline]
fn settle<C, R, Req, Res, E>(
    plan: &Plan<C, R>,
    tally: &mut Tally<Res>,
    call: &C::Call,
    Ended { place, outcome, sent }: Ended<Res, E>,
) -> Option<()>
where
    C: Classify<Req, Res, E>,
    E: IntoCause,
{
    let seats = &plan.seats;
    match outcome {
        Ok(response) => {
            let verdict = plan.classify.verdict(call, Ok(&response));
            if verdict.is_success() {
                tally.succeeded(seats, place, verdict, Some(response));
                return None;
            }
            drop(response);
            fail(plan, tally, place, verdict, "the answer was not accepted".into())
        }
        Err(error) => {
            let verdict = plan.classify.verdict(call, Err(&error));
            // Whatever the error says: before it was ready, it was not called.
            let verdict = if sent { verdict } else { verdict.with_effect(Effect::None) };
            if verdict.is_success() {
                tally.succeeded(seats, place, verdict, None);
                return None;
            }
            fail(plan, tally, place, verdict, error.into_cause())
        }
    }
}

/// Takes those for failed that still run.
#[cold]
fn give_up<C, R, S, Req, Res>(
    plan: &Plan<C, R>,
    tally: &mut Tally<Res>,
    fan: &mut Fan<S, Req>,
    after: Duration,
) where
    S: Service<Req>,
{
    let rest: Vec<(usize, bool)> = fan.unfinished().collect();
    fan.clear();
    for (place, sent) in rest {
        let rejection = if sent { Rejection::timeout(after) } else { Rejection::unready(after) };
        fail(plan, tally, place, rejection.verdict(), rejection.into());
    }
}

#[cold]
fn fail<C, R, Res>(
    plan: &Plan<C, R>,
    tally: &mut Tally<Res>,
    place: usize,
    verdict: Verdict,
    error: Box<dyn std::error::Error + Send + Sync>,
) -> Option<()> {
    let too_few = tally.failed(&plan.seats, place, verdict, error);
    plan.gauge.voice().tell(Event::Failed { attempt: number(place), verdict });
    too_few.then_some(())
}

/// Members are counted from 1 in events.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX).saturating_add(1)
}

impl<S, Req, C, R> fmt::Debug for ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("running", &self.fan)
            .field("ended", &self.tally.is_none())
            .finish_non_exhaustive()
    }
}
