use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use super::{
    FallbackLayer, Mark,
    conclude::Conclude,
    descent::{Descent, Failure},
    tiers::Tiers,
};
use crate::{Classify, Event, Repeat, Replay, Verdict, budget::poll_attempt};

/// The future of [`Fallback`](super::Fallback).
///
/// The call of the primary alone; what the other tiers need is made when it has failed, or was
/// not ready.
#[pin_project]
pub struct ResponseFuture<S, Req, T, C, R, M, K>
where
    S: Service<Req>,
    T: Tiers<Req, S::Response, S::Error>,
    C: Classify<Req, S::Response, S::Error>,
    M: Conclude<S::Response, S::Error>,
{
    #[pin]
    stage: Stage<S::Future, C::Call, Req, Descent<S, Req, T, C, M>>,
    layer: Arc<FallbackLayer<T, C, R, M, K>>,
}

#[pin_project(project = StageProj)]
enum Stage<F, Call, Req, D> {
    /// The primary has been called.
    Primary {
        #[pin]
        future: F,
        /// What the classifier remembers of the call.
        call: Call,
        repeat: Repeat,
        /// A copy of the request, if there may be one for the other tiers.
        copy: Option<Req>,
    },
    Descending {
        descent: Pin<Box<D>>,
    },
    Done,
}

impl<S, Req, T, C, R, M, K> ResponseFuture<S, Req, T, C, R, M, K>
where
    S: Service<Req>,
    T: Tiers<Req, S::Response, S::Error>,
    C: Classify<Req, S::Response, S::Error>,
    M: Conclude<S::Response, S::Error>,
{
    #[inline]
    pub(super) const fn calling(
        future: S::Future,
        call: C::Call,
        repeat: Repeat,
        copy: Option<Req>,
        layer: Arc<FallbackLayer<T, C, R, M, K>>,
    ) -> Self {
        Self { stage: Stage::Primary { future, call, repeat, copy }, layer }
    }

    /// The primary becomes ready, or does not, inside of the future.
    #[cold]
    pub(super) fn readying(
        inner: S,
        request: Req,
        repeat: Repeat,
        layer: Arc<FallbackLayer<T, C, R, M, K>>,
    ) -> Self {
        let descent = Box::pin(Descent::readying(inner, request, repeat));
        Self { stage: Stage::Descending { descent }, layer }
    }
}

impl<S, Req, T, C, R, M, K> Future for ResponseFuture<S, Req, T, C, R, M, K>
where
    S: Service<Req>,
    T: Tiers<Req, S::Response, S::Error>,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
    M: Conclude<S::Response, S::Error>,
    K: Mark<S::Response>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        let StageProj::Primary { future, call, .. } = this.stage.project() else {
            return self.descend(cx);
        };
        let settings = &this.layer.settings;
        // Judged apart: an outcome that is moved whole costs more.
        let (outcome, verdict) = match ready!(poll_attempt(settings.budget.as_ref(), future, cx)) {
            Ok(mut response) => {
                let verdict = settings.classify.verdict(call, Ok(&response));
                if verdict.is_success() {
                    if let Some(budget) = &settings.budget {
                        budget.earn();
                    }
                    settings.mark.mark(&mut response, settings.chain.tier(0));
                    return Poll::Ready(Ok(response));
                }
                (Ok(response), verdict)
            }
            Err(error) => {
                let verdict = settings.classify.verdict(call, Err(&error));
                if verdict.is_success() {
                    return Poll::Ready(Err(error));
                }
                (Err(error), verdict)
            }
        };
        match self.as_mut().failed(verdict, outcome) {
            Some(outcome) => Poll::Ready(outcome),
            None => self.descend(cx),
        }
    }
}

impl<S, Req, T, C, R, M, K> ResponseFuture<S, Req, T, C, R, M, K>
where
    S: Service<Req>,
    T: Tiers<Req, S::Response, S::Error>,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
    M: Conclude<S::Response, S::Error>,
    K: Mark<S::Response>,
{
    /// The primary failed; gives the outcome back if that ends the call.
    #[cold]
    fn failed(
        self: Pin<&mut Self>,
        verdict: Verdict,
        outcome: Result<S::Response, S::Error>,
    ) -> Option<Result<S::Response, S::Error>> {
        let mut this = self.project();
        let StageProj::Primary { repeat, copy, .. } = this.stage.as_mut().project() else {
            return Some(outcome);
        };
        let (repeat, copy) = (*repeat, copy.take());
        // It is let go before another tier begins.
        this.stage.set(Stage::Done);
        let settings = &this.layer.settings;
        if let Some(why) = settings.chain.final_why(verdict.kind) {
            settings.voice.tell(Event::Failed { attempt: 1, verdict });
            settings.voice.tell(Event::Suppressed { attempt: 2, why });
            return Some(outcome);
        }
        let failure = Failure { verdict, outcome };
        let descent = Box::pin(Descent::after(failure, copy, repeat));
        this.stage.set(Stage::Descending { descent });
        None
    }

    /// Goes on with the tiers after the primary.
    #[cold]
    fn descend(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<<Self as Future>::Output> {
        let this = self.project();
        match this.stage.project() {
            StageProj::Descending { descent } => descent.as_mut().poll(cx, this.layer),
            // Polled again after it was done, which no future owes an answer to.
            StageProj::Primary { .. } | StageProj::Done => Poll::Pending,
        }
    }
}

impl<S, Req, T, C, R, M, K> fmt::Debug for ResponseFuture<S, Req, T, C, R, M, K>
where
    S: Service<Req>,
    T: Tiers<Req, S::Response, S::Error>,
    C: Classify<Req, S::Response, S::Error>,
    M: Conclude<S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage: &dyn fmt::Debug = match &self.stage {
            Stage::Primary { .. } => &"primary",
            Stage::Descending { descent } => descent,
            Stage::Done => &"done",
        };
        f.debug_struct("ResponseFuture").field("stage", stage).finish_non_exhaustive()
    }
}
