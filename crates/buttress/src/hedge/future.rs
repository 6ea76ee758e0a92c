use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project::{pin_project, pinned_drop};
use tokio::time::Instant;
use tower_service::Service;

use super::{
    layer::Settings,
    race::{Kept, Race},
};
use crate::{Classify, Event, Replay, Verdict, Why, budget::poll_attempt};

/// The future of [`Hedge`](super::Hedge).
///
/// The first attempt alone; what further ones need is made when the first has kept somebody
/// waiting, or has failed.
#[pin_project(PinnedDrop)]
pub struct ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    #[pin]
    first: First<S::Future>,
    /// What the classifier remembers of the first attempt.
    call: Option<C::Call>,
    /// What further attempts are made of, if there may be any, until there is a race.
    kept: Option<Kept<S, Req>>,
    race: Option<Pin<Box<Race<S, Req, C>>>>,
    /// When an attempt that stays alone was first pending, if that matters.
    begun: Option<Instant>,
    /// Whether somebody had to wait.
    waited: bool,
    settings: Arc<Settings<C, R>>,
}

#[pin_project(project = FirstProj)]
enum First<F> {
    Running {
        #[pin]
        future: F,
    },
    Gone,
}

impl<S, Req, C, R> ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    #[inline]
    pub(super) const fn new(
        future: S::Future,
        call: C::Call,
        kept: Option<Kept<S, Req>>,
        settings: Arc<Settings<C, R>>,
    ) -> Self {
        let first = First::Running { future };
        Self { first, call: Some(call), kept, race: None, begun: None, waited: false, settings }
    }
}

impl<S, Req, C, R> Future for ResponseFuture<S, Req, C, R>
where
    S: Service<Req> + Clone,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.as_mut().project();
        // What runs comes first, then what is due.
        if let FirstProj::Running { future } = this.first.as_mut().project() {
            match poll_attempt(this.settings.budget.as_ref(), future, cx) {
                Poll::Ready(outcome) => {
                    this.first.set(First::Gone);
                    let Some(call) = this.call.take() else { return Poll::Pending };
                    // Judged apart: an outcome that is moved whole costs more.
                    let (outcome, verdict) = match outcome {
                        Ok(response) => {
                            let verdict = this.settings.classify.verdict(&call, Ok(&response));
                            if verdict.is_success() {
                                self.won();
                                return Poll::Ready(Ok(response));
                            }
                            (Ok(response), verdict)
                        }
                        Err(error) => {
                            let verdict = this.settings.classify.verdict(&call, Err(&error));
                            if verdict.is_success() {
                                self.won();
                                return Poll::Ready(Err(error));
                            }
                            (Err(error), verdict)
                        }
                    };
                    if let Some(outcome) = self.as_mut().lost(verdict, outcome) {
                        self.finish();
                        return Poll::Ready(outcome);
                    }
                }
                Poll::Pending => self.as_mut().pending(),
            }
        }
        let this = self.as_mut().project();
        let Some(race) = this.race else { return Poll::Pending };
        match race.as_mut().poll(cx, this.settings) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(outcome) => {
                self.finish();
                Poll::Ready(outcome)
            }
        }
    }
}

impl<S, Req, C, R> ResponseFuture<S, Req, C, R>
where
    S: Service<Req> + Clone,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
{
    /// The first attempt gave an acceptable answer.
    #[inline]
    fn won(self: Pin<&mut Self>) {
        let this = self.as_ref().project_ref();
        let race = this.race.as_deref();
        let judge = race.map_or(this.kept.is_some(), Race::is_undecided);
        if this.settings.delay.learns() {
            let alone = this.begun.map(|begun| begun.elapsed());
            this.settings.delay.ended(race.map(Race::age).or(alone).unwrap_or_default());
        }
        if judge {
            this.settings.delay.outlived(false);
        }
        if let Some(budget) = &this.settings.budget {
            budget.earn();
        }
        self.finish();
    }

    /// The first attempt failed; gives the outcome back if it ends the call.
    #[cold]
    fn lost(
        mut self: Pin<&mut Self>,
        verdict: Verdict,
        outcome: Result<S::Response, S::Error>,
    ) -> Option<Result<S::Response, S::Error>> {
        self.as_mut().begin_race();
        let this = self.project();
        if let Some(race) = this.race {
            return race.as_mut().settle(this.settings, 1, 0, None, verdict, outcome);
        }
        let Settings { delay, voice, .. } = &**this.settings;
        voice.tell(Event::Failed { attempt: 1, verdict });
        delay.censored(this.begun.map(|begun| begun.elapsed()).unwrap_or_default());
        let why = this.settings.why_alone();
        // That it may not be repeated was told when it was first pending.
        if !(*this.waited && why == Why::NotRepeatable) {
            voice.tell(Event::Suppressed { attempt: 2, why });
        }
        Some(outcome)
    }

    /// The first attempt keeps somebody waiting.
    #[inline]
    fn pending(self: Pin<&mut Self>) {
        if !self.waited {
            self.waiting();
        }
    }

    #[cold]
    fn waiting(mut self: Pin<&mut Self>) {
        self.as_mut().begin_race();
        let this = self.project();
        *this.waited = true;
        if this.race.is_some() {
            return;
        }
        if this.settings.delay.learns() {
            *this.begun = Some(Instant::now());
        }
        let why = this.settings.why_alone();
        if why == Why::NotRepeatable {
            this.settings.voice.tell(Event::Suppressed { attempt: 2, why });
        }
    }

    fn begin_race(self: Pin<&mut Self>) {
        let this = self.project();
        if let Some(kept) = this.kept.take() {
            *this.race = Some(Box::pin(Race::new(kept, this.settings)));
        }
    }
}

impl<S, Req, C, R> ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    /// Drops all that the call still holds.
    #[inline]
    fn finish(self: Pin<&mut Self>) {
        let mut this = self.project();
        if let Some(race) = this.race.take() {
            race.cancel(matches!(*this.first, First::Running { .. }), this.settings);
            this.first.set(First::Gone);
        }
        if let (First::Running { .. }, Some(begun)) = (&*this.first, *this.begun) {
            this.settings.delay.censored(begun.elapsed());
        }
        *this.kept = None;
    }
}

#[pinned_drop]
impl<S, Req, C, R> PinnedDrop for ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    fn drop(self: Pin<&mut Self>) {
        self.finish();
    }
}

impl<S, Req, C, R> fmt::Debug for ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("first_is_running", &matches!(self.first, First::Running { .. }))
            .field("race", &self.race)
            .finish_non_exhaustive()
    }
}
