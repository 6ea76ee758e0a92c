//! The attempts after the first, and what they have in common with it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::{
    layer::Settings,
    schedule::{After, Course, MOST_TARGETS, Next},
};
use crate::{
    Budget, Classify, Deadline, Event, Kind, Replay, Verdict, Why, Withdrawal, budget::poll_attempt,
};

/// Attempts started in one poll before others may run: with failures at hand, a call of very many
/// attempts would keep the thread to itself.
const STARTS_PER_POLL: u32 = 32;

/// See the [module](self).
#[pin_project]
pub(super) struct Race<S, Req, C>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    others: Vec<Attempt<S::Future, C::Call>>,
    course: Course,
    kept: Option<Kept<S, Req>>,
    readying: Option<Readying>,
    best: Option<Failure<S::Response, S::Error>>,
    /// When somebody first had to wait: the beginning of the call.
    begun: Instant,
    /// Whether it is still to be told if the first attempt outlived the delay.
    undecided: bool,
    /// Whether it was told why there is no next attempt.
    told: bool,
    #[pin]
    timer: Option<Sleep>,
}

/// An attempt after the first.
struct Attempt<F, K> {
    future: Pin<Box<F>>,
    call: K,
    number: u32,
    target: u32,
    started: Instant,
    /// What it cost, should it turn out that it was never sent.
    cost: u32,
}

/// What further attempts are made of.
pub(super) struct Kept<S, Req> {
    /// The instances of the targets, the first of them that of the first attempt. An instance
    /// that is no use any more is dropped, so that it holds no permit and no place in a queue.
    inner: Option<S>,
    others: Vec<Option<S>>,
    request: Option<Req>,
}

/// The instance of this target is being made ready for an attempt.
struct Readying {
    target: u32,
    why: Why,
    /// Goes back to the budget if the attempt is never sent.
    paid: Option<Withdrawal>,
}

/// The most telling failure so far.
struct Failure<Res, Err> {
    outcome: Result<Res, Err>,
    rank: Rank,
}

/// How much an outcome tells. The later of equals is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    NotReady,
    Refused,
    Real,
}

enum Step<T> {
    Started,
    Waiting,
    Over(T),
}

impl<S, Req> Kept<S, Req> {
    #[inline]
    pub(super) const fn new(inner: S, others: Vec<Option<S>>, request: Req) -> Self {
        Self { inner: Some(inner), others, request: Some(request) }
    }

    fn targets(&self) -> u32 {
        u32::try_from(self.others.len() + 1).unwrap_or(MOST_TARGETS)
    }

    fn slot(&mut self, target: u32) -> Option<&mut Option<S>> {
        match target {
            0 => Some(&mut self.inner),
            other => self.others.get_mut(other as usize - 1),
        }
    }

    fn instance(&mut self, target: u32) -> Option<&mut S> {
        self.slot(target)?.as_mut()
    }

    fn forget(&mut self, target: u32) {
        if let Some(slot) = self.slot(target) {
            *slot = None;
        }
    }
}

impl<S: Clone, Req> Kept<S, Req> {
    /// Gives up what an instance has reserved or waits for.
    fn renew(&mut self, target: u32) {
        if let Some(instance) = self.instance(target) {
            *instance = instance.clone();
        }
    }
}

impl<S, Req, C> Race<S, Req, C>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    pub(super) fn new<R>(kept: Kept<S, Req>, settings: &Settings<C, R>) -> Self {
        Self {
            others: Vec::new(),
            course: Course::new(settings.attempts, kept.targets(), settings.on_failure),
            kept: Some(kept),
            readying: None,
            best: None,
            begun: Instant::now(),
            undecided: true,
            told: false,
            timer: None,
        }
    }

    /// The age of the call, and so of its first attempt.
    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether it is still open if the first attempt outlived the delay.
    pub(super) const fn is_undecided(&self) -> bool {
        self.undecided
    }

    /// Notes how long the attempts had run that are now dropped, and drops those that are here.
    pub(super) fn cancel<R>(
        self: Pin<Box<Self>>,
        first_is_running: bool,
        settings: &Settings<C, R>,
    ) {
        let first = first_is_running.then_some((1, self.begun));
        let others = self.others.iter().map(|other| (other.number, other.started));
        for (attempt, started) in first.into_iter().chain(others) {
            let after = started.elapsed();
            settings.delay.censored(after);
            settings.voice.tell(Event::Cancelled { attempt, after });
        }
    }
}

impl<S, Req, C> Race<S, Req, C>
where
    S: Service<Req> + Clone,
    C: Classify<Req, S::Response, S::Error>,
{
    /// Polls what runs, each once, then starts what is due.
    pub(super) fn poll<R: Replay<Req>>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        settings: &Settings<C, R>,
    ) -> Poll<Result<S::Response, S::Error>> {
        let mut index = 0;
        while index < self.others.len() {
            match self.as_mut().poll_other(index, cx, settings) {
                Poll::Ready(Some(outcome)) => return Poll::Ready(outcome),
                Poll::Ready(None) => {}
                Poll::Pending => index += 1,
            }
        }
        for _ in 0..STARTS_PER_POLL {
            match self.as_mut().start_next(cx, settings) {
                Step::Waiting => return Poll::Pending,
                Step::Over(outcome) => return Poll::Ready(outcome),
                Step::Started => {
                    let newest = self.others.len() - 1;
                    if let Poll::Ready(Some(outcome)) =
                        self.as_mut().poll_other(newest, cx, settings)
                    {
                        return Poll::Ready(outcome);
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Polls an attempt; gives the outcome of the call, if that is now known, when it has ended.
    fn poll_other<R>(
        mut self: Pin<&mut Self>,
        index: usize,
        cx: &mut Context<'_>,
        settings: &Settings<C, R>,
    ) -> Poll<Option<Result<S::Response, S::Error>>> {
        let others = self.as_mut().project().others;
        let attempt = others[index].future.as_mut();
        let Poll::Ready(outcome) = poll_attempt(settings.budget.as_ref(), attempt, cx) else {
            return Poll::Pending;
        };
        let Attempt { future, call, number, target, started, cost } = others.remove(index);
        drop(future);
        let verdict = settings.classify.verdict(&call, outcome.as_ref());
        if verdict.kind == Kind::Rejected
            && let Some(budget) = &settings.budget
        {
            budget.refund(cost);
        }
        Poll::Ready(self.settle(settings, number, target, Some(started), verdict, outcome))
    }

    /// Takes note of an attempt that has ended, and gives its outcome back if it ends the call.
    /// Without a time of its own it is as old as the call.
    pub(super) fn settle<R>(
        self: Pin<&mut Self>,
        settings: &Settings<C, R>,
        number: u32,
        target: u32,
        started: Option<Instant>,
        verdict: Verdict,
        outcome: Result<S::Response, S::Error>,
    ) -> Option<Result<S::Response, S::Error>> {
        let this = self.project();
        let Settings { delay, budget, voice, .. } = settings;
        if verdict.is_success() {
            delay.ended(started.unwrap_or(*this.begun).elapsed());
            if let Some(budget) = budget {
                budget.earn();
            }
            voice.tell(Event::Won { attempt: number });
            return Some(outcome);
        }
        voice.tell(Event::Failed { attempt: number, verdict });
        delay.censored(started.unwrap_or(*this.begun).elapsed());
        if number == 1 {
            // It did not end in time, nor did it outlive anything: it says nothing of the delay.
            *this.undecided = false;
        }
        if this.course.failed(verdict.kind, target) == After::Return {
            return Some(outcome);
        }
        let barred = this.course.is_barred(target);
        if let Some(readying) = this.readying.as_ref().map(|readying| readying.target)
            && (this.course.is_held() || barred && readying == target)
        {
            *this.readying = None;
            if let Some(kept) = this.kept {
                kept.renew(readying);
            }
        }
        if barred && let Some(kept) = this.kept {
            kept.forget(target);
        }
        let rank = if verdict.kind == Kind::Rejected { Rank::Refused } else { Rank::Real };
        if this.best.as_ref().is_none_or(|best| rank >= best.rank) {
            *this.best = Some(Failure { outcome, rank });
        }
        None
    }

    /// Starts the next attempt if it is due and its instance is ready.
    fn start_next<R: Replay<Req>>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        settings: &Settings<C, R>,
    ) -> Step<Result<S::Response, S::Error>> {
        let Settings { delay, budget, voice, .. } = settings;
        loop {
            let mut this = self.as_mut().project();
            let launched = this.course.launched();
            let attempt = launched + 1;
            let Some(readying) = this.readying.as_ref() else {
                match this.course.next(*this.begun, Instant::now, || delay.gap(launched)) {
                    Next::Launch(why) => {
                        if why == Why::Delay && std::mem::take(this.undecided) {
                            delay.outlived(true);
                        }
                        let Some(target) = this.course.next_target() else {
                            this.course.stop(Why::NotReady);
                            continue;
                        };
                        // The deadline would end it at once.
                        if Deadline::remaining() == Some(Duration::ZERO) {
                            this.course.stop(Why::Deadline);
                            continue;
                        }
                        let paid = budget.as_ref().map(Budget::withdraw);
                        if let Some(None) = paid {
                            this.course.stop(Why::Budget);
                            continue;
                        }
                        *this.readying = Some(Readying { target, why, paid: paid.flatten() });
                    }
                    Next::At(at) => {
                        match this.timer.as_mut().as_pin_mut() {
                            Some(timer) if timer.deadline() == at => {}
                            Some(timer) => timer.reset(at),
                            None => this.timer.set(Some(sleep_until(at))),
                        }
                        if let Some(timer) = this.timer.as_pin_mut()
                            && timer.poll(cx).is_pending()
                        {
                            return Step::Waiting;
                        }
                    }
                    Next::Hold => return Step::Waiting,
                    Next::Stop(why) => {
                        let running = this.course.running() > 0;
                        // That no attempts are left matters only once all have failed.
                        let premature = running && why == Why::Attempts;
                        if !(*this.told || premature) {
                            *this.told = true;
                            voice.tell(Event::Suppressed { attempt, why });
                        }
                        return match this.best.take_if(|_| !running) {
                            Some(best) => Step::Over(best.outcome),
                            None => Step::Waiting,
                        };
                    }
                }
                continue;
            };
            let target = readying.target;
            let Some(instance) = this.kept.as_mut().and_then(|kept| kept.instance(target)) else {
                *this.readying = None;
                this.course.not_ready(target);
                continue;
            };
            match instance.poll_ready(cx) {
                Poll::Pending => {
                    // An answer that was not accepted may hold the very thing that is waited for.
                    if this.course.running() == 0
                        && this.best.take_if(|best| best.outcome.is_ok()).is_some()
                    {
                        continue;
                    }
                    return Step::Waiting;
                }
                Poll::Ready(Ok(())) => {
                    if self.as_mut().launch(settings) {
                        return Step::Started;
                    }
                }
                Poll::Ready(Err(error)) => {
                    // A failed attempt like any other, save that its error explains less than
                    // any outcome does.
                    *this.told = true;
                    voice.tell(Event::Suppressed { attempt, why: Why::NotReady });
                    *this.readying = None;
                    if let Some(kept) = this.kept {
                        kept.forget(target);
                    }
                    this.course.not_ready(target);
                    if this.best.is_none() {
                        *this.best = Some(Failure { outcome: Err(error), rank: Rank::NotReady });
                    }
                }
            }
        }
    }

    /// Sends the next attempt to the instance that has become ready.
    fn launch<R: Replay<Req>>(self: Pin<&mut Self>, settings: &Settings<C, R>) -> bool {
        let this = self.project();
        let Settings { classify, replay, voice, .. } = settings;
        let (Some(readying), Some(kept)) = (this.readying.take(), this.kept.as_mut()) else {
            return false;
        };
        let Readying { target, why, paid } = readying;
        let copy = match &kept.request {
            Some(request) if !this.course.is_last() => replay.copy(request),
            _ => None,
        };
        let last = copy.is_none();
        let Some(request) = copy.or_else(|| kept.request.take()) else { return false };
        let Some(instance) = kept.instance(target) else { return false };
        let call = classify.begin(&request);
        let future = Box::pin(instance.call(request));
        let cost = paid.map_or(0, Withdrawal::spend_all);
        let started = Instant::now();
        this.course.launch(target, started);
        *this.told = false;
        if last {
            let used_up = this.course.launched() >= settings.attempts;
            this.course.stop(if used_up { Why::Attempts } else { Why::NotRepeatable });
            *this.kept = None;
        }
        let number = this.course.launched();
        let after = started.saturating_duration_since(*this.begun);
        voice.tell(Event::Hedging { attempt: number, after, why });
        this.others.push(Attempt { future, call, number, target, started, cost });
        true
    }
}

impl<S, Req, C> fmt::Debug for Race<S, Req, C>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race").field("course", &self.course).finish_non_exhaustive()
    }
}
