use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::{pin_project, pinned_drop};
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::{
    layer::Settings,
    schedule::{After, Course, MOST_TARGETS, Next},
};
use crate::{Classify, Event, Kind, Replay, Why, Withdrawal};

/// The future of [`Hedge`](super::Hedge).
#[pin_project(PinnedDrop)]
pub struct ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    /// The first attempt lives here and the others in boxes, so that a call which needs only one
    /// attempt allocates nothing.
    #[pin]
    first: First<S::Future>,
    /// What the classifier remembers of the first attempt.
    call: Option<C::Call>,
    others: Vec<Attempt<S::Future, C::Call>>,
    course: Course,
    kept: Option<Kept<S, Req>>,
    readying: Option<Readying>,
    best: Option<Failure<S::Response, S::Error>>,
    /// When somebody first had to wait; until then the call has no age.
    begun: Option<Instant>,
    /// Whether it is still to be told if the first attempt outlived the delay.
    undecided: bool,
    #[pin]
    timer: Option<Sleep>,
    settings: Settings<C, R>,
}

#[pin_project(project = FirstProj)]
enum First<F> {
    Running {
        #[pin]
        future: F,
    },
    Gone,
}

/// An attempt after the first.
struct Attempt<F, K> {
    future: Pin<Box<F>>,
    call: K,
    number: u32,
    target: u32,
    started: Instant,
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
    /// Not merely a refusal by a layer.
    real: bool,
}

enum Step<T> {
    Started,
    Waiting,
    Over(T),
}

impl<S, Req> Kept<S, Req> {
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

impl<S, Req, C, R> ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    pub(super) fn new(
        future: S::Future,
        call: C::Call,
        kept: Option<Kept<S, Req>>,
        settings: Settings<C, R>,
    ) -> Self {
        let (attempts, targets) = match &kept {
            Some(kept) => (settings.attempts, kept.targets()),
            None => (1, 1),
        };
        Self {
            first: First::Running { future },
            call: Some(call),
            others: Vec::new(),
            course: Course::new(attempts, targets, settings.on_failure),
            undecided: kept.is_some(),
            kept,
            readying: None,
            best: None,
            begun: None,
            timer: None,
            settings,
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

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // What runs comes first, each once, then what is due.
        if let Some(outcome) = self.as_mut().poll_first(cx) {
            return Poll::Ready(outcome);
        }
        let mut index = 0;
        while index < self.others.len() {
            match self.as_mut().poll_other(index, cx) {
                Poll::Ready(Some(outcome)) => return Poll::Ready(outcome),
                Poll::Ready(None) => {}
                Poll::Pending => index += 1,
            }
        }
        loop {
            match self.as_mut().start_next(cx) {
                Step::Waiting => return Poll::Pending,
                Step::Over(outcome) => return Poll::Ready(outcome),
                Step::Started => {
                    let newest = self.others.len() - 1;
                    if let Poll::Ready(Some(outcome)) = self.as_mut().poll_other(newest, cx) {
                        return Poll::Ready(outcome);
                    }
                }
            }
        }
    }
}

impl<S, Req, C, R> ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
{
    /// Polls the first attempt; gives the outcome of the call if that is now known.
    fn poll_first(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Option<Result<S::Response, S::Error>> {
        let mut this = self.as_mut().project();
        let FirstProj::Running { future } = this.first.as_mut().project() else { return None };
        let Poll::Ready(outcome) = future.poll(cx) else { return None };
        this.first.set(First::Gone);
        let call = this.call.take()?;
        let started = *this.begun;
        self.settle(1, 0, started, &call, outcome)
    }

    /// Polls another attempt; gives the outcome of the call, if that is now known, when the
    /// attempt has ended.
    fn poll_other(
        mut self: Pin<&mut Self>,
        index: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<S::Response, S::Error>>> {
        let others = self.as_mut().project().others;
        let Poll::Ready(outcome) = others[index].future.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        let Attempt { future, call, number, target, started } = others.remove(index);
        drop(future);
        Poll::Ready(self.settle(number, target, Some(started), &call, outcome))
    }

    /// Judges the outcome of an attempt that has ended, and gives it back if it ends the call.
    fn settle(
        mut self: Pin<&mut Self>,
        number: u32,
        target: u32,
        started: Option<Instant>,
        call: &C::Call,
        outcome: Result<S::Response, S::Error>,
    ) -> Option<Result<S::Response, S::Error>> {
        let this = self.as_mut().project();
        let Settings { delay, classify, budget, voice, .. } = this.settings;
        let verdict = classify.verdict(call, outcome.as_ref());
        if verdict.is_success() {
            if delay.learns() {
                delay.ended(age(started));
            }
            if number == 1 && *this.undecided {
                delay.outlived(false);
            }
            if let Some(budget) = budget {
                budget.deposit();
            }
            if number > 1 {
                voice.tell(Event::Won { attempt: number });
            }
            self.finish();
            return Some(outcome);
        }
        voice.tell(Event::Failed { attempt: number, verdict });
        if delay.learns() {
            delay.censored(age(started));
        }
        let rejected = verdict.kind == Kind::Rejected;
        if rejected
            && number > 1
            && let Some(budget) = budget
        {
            budget.refund();
        }
        if this.course.failed(verdict.kind, target) == After::Return {
            self.finish();
            return Some(outcome);
        }
        if this.course.is_barred(target) {
            if this.readying.as_ref().is_some_and(|readying| readying.target == target) {
                *this.readying = None;
            }
            if let Some(kept) = this.kept {
                kept.forget(target);
            }
        }
        let real = !rejected;
        if real || this.best.as_ref().is_none_or(|best| !best.real) {
            *this.best = Some(Failure { outcome, real });
        }
        None
    }

    /// Starts the next attempt if it is due and its instance is ready.
    fn start_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Step<Result<S::Response, S::Error>> {
        loop {
            let mut this = self.as_mut().project();
            let Settings { delay, budget, voice, .. } = this.settings;
            if delay.learns() && this.begun.is_none() && this.course.running() > 0 {
                *this.begun = Some(Instant::now());
            }
            let launched = this.course.launched();
            let attempt = launched + 1;
            let Some(readying) = this.readying.as_ref() else {
                match this.course.next(Instant::now, || delay.gap(launched)) {
                    Next::Launch(why) => {
                        if why == Why::Delay && std::mem::take(this.undecided) {
                            delay.outlived(true);
                        }
                        let Some(target) = this.course.next_target() else {
                            this.course.stop(Why::NotReady);
                            continue;
                        };
                        let paid = budget.as_ref().map(crate::Budget::withdraw);
                        if let Some(None) = paid {
                            voice.tell(Event::Suppressed { attempt, why: Why::Budget });
                            this.course.stop(Why::Budget);
                            continue;
                        }
                        *this.readying = Some(Readying { target, why, paid: paid.flatten() });
                    }
                    Next::At(at) => {
                        this.begun.get_or_insert_with(Instant::now);
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
                    Next::Stop(_) if this.course.running() > 0 => return Step::Waiting,
                    Next::Stop(why) => {
                        // Nothing was kept from a request that may not be repeated.
                        let why = match why {
                            Why::Attempts if this.settings.attempts > launched => {
                                Why::NotRepeatable
                            }
                            why => why,
                        };
                        if why != Why::Budget {
                            voice.tell(Event::Suppressed { attempt, why });
                        }
                        let best = this.best.take();
                        self.finish();
                        return best.map_or(Step::Waiting, |best| Step::Over(best.outcome));
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
                Poll::Pending => return Step::Waiting,
                Poll::Ready(Ok(())) => {
                    if self.as_mut().launch() {
                        return Step::Started;
                    }
                }
                Poll::Ready(Err(_)) => {
                    // A failed attempt like any other, save that its error explains less than
                    // that of the first: it is not kept.
                    voice.tell(Event::Suppressed { attempt, why: Why::NotReady });
                    *this.readying = None;
                    if let Some(kept) = this.kept {
                        kept.forget(target);
                    }
                    this.course.not_ready(target);
                }
            }
        }
    }

    /// Sends the next attempt to the instance that has become ready.
    fn launch(self: Pin<&mut Self>) -> bool {
        let this = self.project();
        let Settings { classify, replay, voice, .. } = this.settings;
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
        if let Some(paid) = paid {
            paid.spend();
        }
        let started = Instant::now();
        let begun = *this.begun.get_or_insert(started);
        this.course.launch(target, started);
        if last {
            this.course.stop(Why::Attempts);
            *this.kept = None;
        }
        let number = this.course.launched();
        let after = started.saturating_duration_since(begun);
        voice.tell(Event::Hedging { attempt: number, after, why });
        this.others.push(Attempt { future, call, number, target, started });
        true
    }
}

impl<S, Req, C, R> ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    /// Drops all that the call still holds, the running attempts first.
    fn finish(mut self: Pin<&mut Self>) {
        self.as_mut().remember_running(true);
        let mut this = self.project();
        this.first.set(First::Gone);
        this.others.clear();
        *this.readying = None;
        *this.kept = None;
        *this.best = None;
        this.timer.set(None);
    }

    /// Notes how long the attempts had run that are about to be dropped.
    fn remember_running(self: Pin<&mut Self>, tell: bool) {
        let this = self.project();
        let Settings { delay, voice, .. } = this.settings;
        let first = match *this.first {
            First::Running { .. } => Some((1, *this.begun)),
            First::Gone => None,
        };
        let others = this.others.iter().map(|other| (other.number, Some(other.started)));
        for (attempt, started) in first.into_iter().chain(others) {
            let after = age(started);
            if delay.learns() {
                delay.censored(after);
            }
            if tell {
                voice.tell(Event::Cancelled { attempt, after });
            }
        }
    }
}

/// An attempt that ended before anybody read a clock took no time.
fn age(started: Option<Instant>) -> Duration {
    started.map(|started| started.elapsed()).unwrap_or_default()
}

#[pinned_drop]
impl<S, Req, C, R> PinnedDrop for ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    fn drop(self: Pin<&mut Self>) {
        // Before its first poll an attempt has not run, and nothing is learned of it.
        if self.settings.delay.learns() && self.begun.is_some() {
            self.remember_running(false);
        }
    }
}

impl<S, Req, C, R> fmt::Debug for ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("course", &self.course).finish_non_exhaustive()
    }
}
