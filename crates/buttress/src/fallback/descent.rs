//! From one tier to the next: made when the primary has failed, or was not ready.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::{
    FallbackLayer, Mark,
    chain::{Decision, Facts, why_on},
    conclude::{Conclude, Failed},
    layer::Settings,
    tiers::{Attempt, Either, Run, Start, Tiers},
};
use crate::{
    Classify, Deadline, Effect, Event, Kind, Rejection, Repeat, Replay, Verdict, Withdrawal,
    budget::poll_attempt,
};

/// The tier that is being tried, and what is left for those after it.
#[pin_project]
pub(super) struct Descent<S, Req, T, C, M>
where
    S: Service<Req>,
    T: Tiers<Req, S::Response, S::Error>,
    C: Classify<Req, S::Response, S::Error>,
    M: Conclude<S::Response, S::Error>,
{
    #[pin]
    running: Option<Either<Attempt<S, S::Future>, T::Run>>,
    /// The place of the tier, the primary's being 0.
    place: usize,
    /// Whether it was sent the request.
    sent: bool,
    /// What the classifier remembers of the call.
    call: Option<C::Call>,
    /// The request before it is sent, then a copy of it if there may be one.
    request: Option<Req>,
    repeat: Repeat,
    /// The worst that any tier so far may have done.
    effect: Effect,
    /// How the primary ended, until that is dealt with.
    failure: Option<Failure<S::Response, S::Error>>,
    kept: M::Kept,
    wait: Wait,
    #[pin]
    timer: Option<Sleep>,
    /// Paid for the tier that is made ready, and not yet spent.
    paid: Option<Withdrawal>,
    /// What the tier cost, should it turn out that it was never sent anything.
    cost: u32,
}

/// What became of a tier that gave no acceptable answer.
pub(super) struct Failure<Res, Err> {
    pub(super) verdict: Verdict,
    pub(super) outcome: Result<Res, Err>,
}

/// How long the tier may take to become ready.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// Nobody has had to wait yet.
    Fresh,
    /// So long, from when somebody first had to.
    For(Duration),
    /// As long as the caller has patience: there is nowhere else to go.
    Endless,
}

/// What is heard of the tier.
enum News<Res, Err> {
    /// It is through, and nobody has judged it yet.
    Ended(Result<Res, Err>),
    /// It is through, and was not accepted.
    Failed(Failure<Res, Err>),
    /// It has not become ready in this time.
    Unready(Duration),
}

/// What follows from that.
enum Next<Res, Err> {
    /// A tier has to be made ready, or to be waited for.
    Running,
    /// Another tier has been tried, and is through.
    Ended(Result<Res, Err>),
    /// The call is over.
    Over(Result<Res, Err>),
}

impl<S, Req, T, C, M> Descent<S, Req, T, C, M>
where
    S: Service<Req>,
    T: Tiers<Req, S::Response, S::Error>,
    C: Classify<Req, S::Response, S::Error>,
    M: Conclude<S::Response, S::Error>,
{
    /// Begins with a primary that is not ready.
    pub(super) fn readying(inner: S, request: Req, repeat: Repeat) -> Self {
        let running = Some(Either::Earlier(Attempt::Readying { inner }));
        Self { running, sent: false, ..Self::new(Some(request), repeat) }
    }

    /// Begins after a primary that has failed.
    pub(super) fn after(
        failure: Failure<S::Response, S::Error>,
        copy: Option<Req>,
        repeat: Repeat,
    ) -> Self {
        Self { failure: Some(failure), sent: true, ..Self::new(copy, repeat) }
    }

    fn new(request: Option<Req>, repeat: Repeat) -> Self {
        Self {
            running: None,
            place: 0,
            sent: false,
            call: None,
            request,
            repeat,
            effect: Effect::None,
            failure: None,
            kept: M::Kept::default(),
            wait: Wait::Fresh,
            timer: None,
            paid: None,
            cost: 0,
        }
    }

    /// Goes from tier to tier until the call is over.
    pub(super) fn poll<R, K>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        layer: &FallbackLayer<T, C, R, M, K>,
    ) -> Poll<Result<S::Response, S::Error>>
    where
        R: Replay<Req>,
        K: Mark<S::Response>,
    {
        let mut news = self.as_mut().project().failure.take().map(News::Failed);
        loop {
            let heard = match news.take() {
                Some(news) => news,
                None => ready!(self.as_mut().advance(cx, &layer.settings)),
            };
            let next = match heard {
                News::Ended(outcome) => self.as_mut().judge(outcome, layer),
                News::Failed(failure) => self.as_mut().failed(failure, layer),
                News::Unready(after) => self.as_mut().give_up(after, layer),
            };
            match next {
                Next::Running => {}
                Next::Ended(outcome) => news = Some(News::Ended(outcome)),
                Next::Over(outcome) => return Poll::Ready(outcome),
            }
        }
    }

    /// Polls the tier, from readiness on to the outcome.
    fn advance<R, K>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        settings: &Settings<C, R, K>,
    ) -> Poll<News<S::Response, S::Error>>
    where
        R: Replay<Req>,
    {
        loop {
            let mut this = self.as_mut().project();
            // Without one it was polled again after it was done.
            let Some(mut tier) = this.running.as_mut().as_pin_mut() else { return Poll::Pending };
            if *this.sent {
                return poll_attempt(settings.budget.as_ref(), tier, cx).map(News::Ended);
            }
            match tier.as_mut().poll_ready(cx) {
                Poll::Ready(Ok(())) => self.as_mut().send(settings),
                Poll::Ready(Err(error)) => return Poll::Ready(News::Ended(Err(error))),
                Poll::Pending => return self.wait(cx, settings).map(News::Unready),
            }
        }
    }

    /// Calls the tier that has become ready.
    fn send<R, K>(self: Pin<&mut Self>, settings: &Settings<C, R, K>)
    where
        R: Replay<Req>,
    {
        let mut this = self.project();
        let (Some(tier), Some(request)) = (this.running.as_pin_mut(), this.request.take()) else {
            return;
        };
        *this.call = Some(settings.classify.begin(&request));
        if *this.repeat != Repeat::Never && settings.chain.hands_on(*this.place) {
            *this.request = settings.replay.copy(&request);
        }
        *this.cost = this.paid.take().map_or(0, Withdrawal::spend_all);
        this.timer.set(None);
        *this.sent = true;
        tier.call(request);
    }

    /// Waits for the tier to become ready, if there may be another one to go on to.
    fn wait<R, K>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        settings: &Settings<C, R, K>,
    ) -> Poll<Duration> {
        let mut this = self.project();
        if matches!(this.wait, Wait::Fresh) {
            *this.wait = Wait::Endless;
            let now = Instant::now();
            let end = [now.checked_add(settings.patience), Deadline::current()];
            if *this.place + 1 < settings.chain.len()
                && let Some(end) = end.into_iter().flatten().min()
            {
                let bound = end.saturating_duration_since(now);
                *this.wait = Wait::For(bound);
                // A timer would take a millisecond to tell that no time is left.
                if !bound.is_zero() {
                    this.timer.set(Some(sleep_until(end)));
                }
            }
        }
        let Wait::For(bound) = *this.wait else { return Poll::Pending };
        if let Some(timer) = this.timer.as_pin_mut() {
            ready!(timer.poll(cx));
        }
        Poll::Ready(bound)
    }

    /// Takes the outcome of the tier for the call's, or goes on.
    fn judge<R, K>(
        mut self: Pin<&mut Self>,
        outcome: Result<S::Response, S::Error>,
        layer: &FallbackLayer<T, C, R, M, K>,
    ) -> Next<S::Response, S::Error>
    where
        K: Mark<S::Response>,
    {
        let mut this = self.as_mut().project();
        let Settings { classify, chain, budget, .. } = &layer.settings;
        // What was not sent is still here to be looked at.
        let call = this.call.take().or_else(|| Some(classify.begin(this.request.as_ref()?)));
        let mut verdict = match call {
            Some(call) => classify.verdict(&call, outcome.as_ref()),
            None => Verdict::unknown(),
        };
        if !*this.sent {
            verdict.effect = Effect::None;
        } else if verdict.is_success() {
            this.running.set(None);
            let place = *this.place;
            if let Some(budget) = budget.as_ref().filter(|_| chain.sends(place)) {
                budget.earn();
            }
            return Next::Over(outcome.map(|response| answered(response, place, &layer.settings)));
        }
        self.failed(Failure { verdict, outcome }, layer)
    }

    /// Goes on after a tier that gave no acceptable answer, or ends the call.
    fn failed<R, K>(
        mut self: Pin<&mut Self>,
        failure: Failure<S::Response, S::Error>,
        layer: &FallbackLayer<T, C, R, M, K>,
    ) -> Next<S::Response, S::Error>
    where
        K: Mark<S::Response>,
    {
        let mut this = self.as_mut().project();
        let Settings { chain, voice, counts, budget, .. } = &layer.settings;
        let Failure { verdict, outcome } = failure;
        // It is let go before another one begins, and before the call ends.
        this.running.set(None);
        this.timer.set(None);
        let (place, sent) = (*this.place, *this.sent);
        let failed = Failed { tier: chain.tier(place), verdict, sent };
        voice.tell(Event::Failed { attempt: failed.tier.number(), verdict });
        if sent && chain.sends(place) {
            *this.effect = verdict.effect.max(*this.effect);
            let cost = std::mem::take(this.cost);
            if let Some(budget) = budget.as_ref().filter(|_| verdict.kind == Kind::Rejected) {
                budget.refund(cost);
            }
        }
        match self.as_mut().decide(verdict, &layer.settings) {
            Decision::Try(next) => {
                M::keep(self.as_mut().project().kept, failed, outcome);
                self.start(next, verdict, layer)
            }
            over => {
                if place > 0 {
                    counts.failed();
                }
                let this = self.project();
                // Whoever keeps the future keeps no token with it.
                *this.paid = None;
                Next::Over(match over {
                    Decision::Return => outcome,
                    _ => M::conclude(this.kept, failed, outcome, || voice.name()),
                })
            }
        }
    }

    /// Goes on to another tier if the one that is not ready is not the last that may be tried.
    fn give_up<R, K>(
        mut self: Pin<&mut Self>,
        after: Duration,
        layer: &FallbackLayer<T, C, R, M, K>,
    ) -> Next<S::Response, S::Error>
    where
        K: Mark<S::Response>,
    {
        let verdict = Rejection::unready(after).verdict();
        let Decision::Try(next) = self.as_mut().decide(verdict, &layer.settings) else {
            *self.project().wait = Wait::Endless;
            return Next::Running;
        };
        let mut this = self.as_mut().project();
        this.running.set(None);
        let tier = layer.settings.chain.tier(*this.place);
        layer.settings.voice.tell(Event::Failed { attempt: tier.number(), verdict });
        M::unready(this.kept, Failed { tier, verdict, sent: false }, after);
        self.start(next, verdict, layer)
    }

    /// Decides what follows, and pays for it.
    fn decide<R, K>(
        self: Pin<&mut Self>,
        verdict: Verdict,
        settings: &Settings<C, R, K>,
    ) -> Decision {
        let this = self.project();
        let facts = Facts {
            place: *this.place,
            verdict,
            sent: *this.sent,
            effect: *this.effect,
            repeat: *this.repeat,
            request: this.request.is_some(),
            late: Deadline::current().is_some_and(|end| Instant::now() >= end),
        };
        // What was paid for a tier that was not sent anything pays for the next.
        let pay = || match &settings.budget {
            Some(budget) if this.paid.is_none() => {
                *this.paid = budget.withdraw_for(verdict.kind);
                this.paid.is_some()
            }
            _ => true,
        };
        let skipped = |attempt, why| settings.voice.tell(Event::Suppressed { attempt, why });
        settings.chain.next(facts, pay, skipped)
    }

    /// Tries the tier at this place.
    fn start<R, K>(
        self: Pin<&mut Self>,
        place: usize,
        last: Verdict,
        layer: &FallbackLayer<T, C, R, M, K>,
    ) -> Next<S::Response, S::Error>
    where
        K: Mark<S::Response>,
    {
        let mut this = self.project();
        let Settings { chain, voice, counts, .. } = &layer.settings;
        if *this.place == 0 {
            counts.fell_back();
        }
        let why = why_on(last.kind, *this.sent);
        voice.tell(Event::FallingBack { tier: chain.tier(place).number(), why });
        (*this.place, *this.sent, *this.call) = (place, false, None);
        *this.wait = Wait::Fresh;
        this.timer.set(None);
        if !chain.sends(place) {
            *this.paid = None;
        }
        match layer.tiers.start(place, this.request.as_ref(), last) {
            Some(Start::Run(tier)) => {
                this.running.set(Some(Either::Last(tier)));
                Next::Running
            }
            Some(Start::Ended(outcome)) => {
                *this.sent = true;
                Next::Ended(outcome)
            }
            Some(Start::Answer(response)) => {
                Next::Over(Ok(answered(response, place, &layer.settings)))
            }
            // The chain lets through only what can start.
            None => Next::Running,
        }
    }
}

/// Tells who answered.
fn answered<Res, C, R, K: Mark<Res>>(
    mut response: Res,
    place: usize,
    settings: &Settings<C, R, K>,
) -> Res {
    let Settings { chain, voice, counts, mark, .. } = settings;
    let tier = chain.tier(place);
    if place > 0 {
        counts.answered(place);
        voice.tell(Event::Won { attempt: tier.number() });
    }
    mark.mark(&mut response, tier);
    response
}

impl<S, Req, T, C, M> fmt::Debug for Descent<S, Req, T, C, M>
where
    S: Service<Req>,
    T: Tiers<Req, S::Response, S::Error>,
    C: Classify<Req, S::Response, S::Error>,
    M: Conclude<S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descent")
            .field("tier", &(self.place + 1))
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}
