use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::{pin_project, pinned_drop};
use tokio::time::{Instant, sleep};
use tower_service::Service;

use super::{
    aside::{Aside, Failure, Rank},
    desk::{Desk, number},
    manners::{Facts, elsewhere, is_attempt},
    roster::{Ticket, Tried},
    service::Core,
    shelf::Shelf,
};
use crate::{
    Classify, Deadline, Event, FromRejection, Kind, Rejection, Repeat, Replay, Verdict, Why,
    Withdrawal, budget::poll_attempt,
};

/// Steps made in one poll before others may run: with failures at hand, a call that goes from
/// replica to replica would keep the thread to itself.
const STEPS_PER_POLL: u32 = 96;

/// The future of [`Failover`](super::Failover).
#[pin_project(PinnedDrop)]
pub struct ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    #[pin]
    stage: Stage<S, S::Future>,
    /// The replica that is being tried.
    ticket: Option<Ticket>,
    /// When any replica kept somebody waiting for the first time, and when this one did.
    begun: Option<Instant>,
    started: Option<Instant>,
    /// The deadline around the call then, if the replica is to blame should it pass.
    deadline: Option<Instant>,
    /// The request, or once it is sent what is kept for another replica.
    request: Option<Req>,
    call: Option<C::Call>,
    repeat: Repeat,
    tried: Tried,
    /// The attempt that was made last.
    attempt: u32,
    /// How many of the attempts count.
    called: u32,
    aside: Option<Box<Aside<S::Response, S::Error>>>,
    core: Arc<Core<S, C, R>>,
}

#[pin_project(project = StageProj)]
enum Stage<S, F> {
    /// A replica is to be chosen.
    Choosing,
    /// It is made ready.
    Readying {
        inner: Option<S>,
    },
    Calling {
        #[pin]
        future: F,
    },
    Done,
}

impl<S, Req, C, R> ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    #[inline]
    pub(super) const fn new(request: Req, core: Arc<Core<S, C, R>>) -> Self {
        Self {
            stage: Stage::Choosing,
            ticket: None,
            begun: None,
            started: None,
            deadline: None,
            request: Some(request),
            call: None,
            repeat: Repeat::Never,
            tried: Tried::NONE,
            attempt: 0,
            called: 0,
            aside: None,
            core,
        }
    }
}

impl<S, Req, C, R> Future for ResponseFuture<S, Req, C, R>
where
    S: Service<Req> + Clone,
    S::Error: FromRejection,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        for _ in 0..STEPS_PER_POLL {
            let this = self.as_mut().project();
            match this.stage.project() {
                StageProj::Choosing => {
                    if let Some(outcome) = self.as_mut().choose() {
                        return Poll::Ready(outcome);
                    }
                }
                StageProj::Readying { inner } => {
                    let Some(instance) = inner else { return Poll::Pending };
                    match instance.poll_ready(cx) {
                        Poll::Ready(Ok(())) => self.as_mut().send(),
                        Poll::Ready(Err(error)) => {
                            self.as_mut().pass_over(Why::NotReady, Some(error));
                        }
                        Poll::Pending => {
                            if self.as_mut().is_patient(cx) {
                                return Poll::Pending;
                            }
                            self.as_mut().pass_over(Why::Delay, None);
                        }
                    }
                }
                StageProj::Calling { future } => {
                    let manners = &this.core.manners;
                    let Poll::Ready(outcome) = poll_attempt(manners.budget.as_ref(), future, cx)
                    else {
                        self.note_pending();
                        return Poll::Pending;
                    };
                    let Some(call) = this.call.take() else { return Poll::Pending };
                    // Judged apart: an outcome that is moved whole costs more.
                    let (outcome, verdict) = match outcome {
                        Ok(response) => {
                            let verdict = manners.classify.verdict(&call, Ok(&response));
                            if verdict.is_success() {
                                self.succeeded(verdict);
                                return Poll::Ready(Ok(response));
                            }
                            (Ok(response), verdict)
                        }
                        Err(error) => {
                            let verdict = manners.classify.verdict(&call, Err(&error));
                            if verdict.is_success() {
                                self.succeeded(verdict);
                                return Poll::Ready(Err(error));
                            }
                            (Err(error), verdict)
                        }
                    };
                    if let Some(outcome) = self.as_mut().failed(verdict, outcome) {
                        return Poll::Ready(outcome);
                    }
                }
                // Polled again after it was done, which no future owes an answer to.
                StageProj::Done => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S, Req, C, R> ResponseFuture<S, Req, C, R>
where
    S: Service<Req> + Clone,
    S::Error: FromRejection,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
{
    /// Chooses the next replica; gives the outcome of the call if there is none.
    #[inline]
    fn choose(mut self: Pin<&mut Self>) -> Option<Result<S::Response, S::Error>> {
        let mut this = self.as_mut().project();
        let Core { shelves, desk, .. } = &**this.core;
        if !this.tried.is_empty() && Deadline::remaining() == Some(Duration::ZERO) {
            return Some(self.give_up(Why::Deadline));
        }
        let Some(ticket) = desk.choose(*this.tried) else {
            return Some(self.give_up(Why::NotReady));
        };
        *this.ticket = Some(ticket);
        this.tried.add(ticket.place);
        (*this.started, *this.deadline) = (None, None);
        if let Some(why) = this.aside.as_mut().and_then(|aside| aside.diverted.take()) {
            let (attempt, replica) = (*this.attempt + 1, number(ticket.place));
            desk.voice().tell(Event::Diverted { attempt, replica, why });
        }
        let inner = shelves.get(ticket.place).map(Shelf::take);
        this.stage.set(Stage::Readying { inner });
        None
    }

    /// Sends the request to the instance that has become ready.
    #[inline]
    fn send(self: Pin<&mut Self>) {
        let mut this = self.project();
        let StageProj::Readying { inner } = this.stage.as_mut().project() else { return };
        let Some(request) = this.request.take() else { return };
        let Some((mut instance, ticket)) = inner.take().zip(*this.ticket) else { return };
        let Core { shelves, manners, .. } = &**this.core;
        if (this.tried.count() as usize) < shelves.len() {
            *this.repeat = manners.replay.repeat(&request);
            if *this.repeat != Repeat::Never {
                *this.request = manners.replay.copy(&request);
            }
        }
        if let Some(aside) = this.aside {
            aside.patience = None;
            aside.cost = aside.withdrawal.take().map_or(0, Withdrawal::spend_all);
        }
        *this.attempt += 1;
        *this.call = Some(manners.classify.begin(&request));
        let future = instance.call(request);
        if let Some(shelf) = shelves.get(ticket.place) {
            shelf.put(instance);
        }
        this.stage.set(Stage::Calling { future });
    }

    /// Waits on, unless patience with the replica is at an end.
    #[cold]
    fn is_patient(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        self.as_mut().note_pending();
        let this = self.project();
        let Core { desk, manners, .. } = &**this.core;
        let aside = this.aside.get_or_insert_default();
        // An answer that was not accepted may hold the very thing that is waited for.
        drop(aside.best.take_if(|best| best.outcome.is_ok()));
        let patience = aside.patience.get_or_insert_with(|| {
            let mut patience = manners.patience;
            if let Some(left) = Deadline::remaining() {
                // The others want a part of the time too, and so does whoever reports.
                let parts = u32::try_from(desk.left(*this.tried)).unwrap_or(0) + 2;
                patience = patience.min(left / parts);
            }
            Box::pin(sleep(patience))
        });
        patience.as_mut().poll(cx).is_pending()
    }

    /// Leaves a replica that is not ready.
    #[cold]
    fn pass_over(self: Pin<&mut Self>, why: Why, error: Option<S::Error>) {
        let mut this = self.project();
        // Whatever the instance waited for goes with it.
        this.stage.set(Stage::Choosing);
        // What is hurried by others does not fail by being late.
        let whole = |started: Instant| started.elapsed() >= this.core.manners.patience;
        let failed =
            why != Why::Delay || this.deadline.is_some() || this.started.is_some_and(whole);
        let aside = this.aside.get_or_insert_default();
        aside.patience = None;
        if let (Some(error), None) = (error, &aside.best) {
            aside.best = Some(Failure { outcome: Err(error), rank: Rank::NotReady });
        }
        if let Some(ticket) = this.ticket.take() {
            let desk = &this.core.desk;
            desk.pass_over(ticket, failed);
            desk.voice().tell(Event::PassedOver { replica: number(ticket.place), why });
        }
    }

    /// A replica gave an acceptable answer.
    #[inline]
    fn succeeded(self: Pin<&mut Self>, verdict: Verdict) {
        let this = self.project();
        let Core { desk, manners, .. } = &**this.core;
        if let Some(ticket) = this.ticket.take() {
            desk.settle(ticket, verdict, *this.started);
        }
        if let Some(budget) = &manners.budget {
            budget.earn();
        }
        if *this.attempt > 1 {
            desk.voice().tell(Event::Won { attempt: *this.attempt });
        }
        (*this.aside, *this.request) = (None, None);
    }

    /// A replica failed; gives the outcome of the call, if the call does not go elsewhere.
    #[cold]
    fn failed(
        self: Pin<&mut Self>,
        verdict: Verdict,
        outcome: Result<S::Response, S::Error>,
    ) -> Option<Result<S::Response, S::Error>> {
        let mut this = self.project();
        let Core { desk, manners, .. } = &**this.core;
        let aside = this.aside.get_or_insert_default();
        let (voice, attempt) = (desk.voice(), *this.attempt);
        voice.tell(Event::Failed { attempt, verdict });
        if let Some(ticket) = this.ticket.take() {
            desk.settle(ticket, verdict, *this.started);
        }
        let cost = mem::take(&mut aside.cost);
        if let Some(budget) = manners.budget.as_ref().filter(|_| verdict.kind == Kind::Rejected) {
            budget.refund(cost);
        }
        *this.called += u32::from(is_attempt(verdict.kind));
        let facts = Facts {
            verdict,
            repeat: if this.request.is_some() { *this.repeat } else { Repeat::Never },
            called: *this.called,
            attempts: manners.attempts,
            others: desk.left(*this.tried) > 0,
            overdue: Deadline::remaining() == Some(Duration::ZERO),
        };
        let decision = elsewhere(facts).and_then(|why| match &manners.budget {
            None => Ok(why),
            Some(budget) => {
                aside.withdrawal = budget.withdraw_for(verdict.kind);
                aside.withdrawal.as_ref().map(|_| why).ok_or(Why::Budget)
            }
        });
        let rank = if verdict.kind == Kind::Rejected { Rank::Refused } else { Rank::Real };
        let tells_more = aside.best.as_ref().is_none_or(|best| rank >= best.rank);
        match decision {
            Ok(why) => {
                aside.diverted = Some(why);
                if tells_more {
                    aside.best = Some(Failure { outcome, rank });
                }
                // What has ended is dropped before the next replica is made ready.
                this.stage.set(Stage::Choosing);
                None
            }
            Err(why) => {
                voice.tell(Event::Suppressed { attempt: attempt + 1, why });
                this.stage.set(Stage::Done);
                let best = this.aside.take().and_then(|aside| aside.best);
                let final_answer = verdict.kind == Kind::Permanent;
                Some(best.filter(|_| !tells_more && !final_answer).map_or(outcome, |b| b.outcome))
            }
        }
    }

    /// There is no replica left to try.
    #[cold]
    fn give_up(self: Pin<&mut Self>, why: Why) -> Result<S::Response, S::Error> {
        let mut this = self.project();
        this.stage.set(Stage::Done);
        let desk = &this.core.desk;
        let best = this.aside.take().and_then(|aside| aside.best);
        match best {
            Some(best) => {
                desk.voice().tell(Event::Suppressed { attempt: *this.attempt + 1, why });
                best.outcome
            }
            None => {
                let retry_after = desk.retry_after();
                desk.voice().tell(Event::Rejected { retry_after });
                let rejection = Rejection::unavailable(desk.voice().name(), retry_after);
                Err(S::Error::from_rejection(rejection))
            }
        }
    }
}

impl<S, Req, C, R> ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    /// Takes note that the replica keeps somebody waiting. Only the first time costs anything.
    #[inline]
    fn note_pending(self: Pin<&mut Self>) {
        let this = self.project();
        if this.started.is_none() {
            let now = Instant::now();
            let gone = now.saturating_duration_since(*this.begun.get_or_insert(now));
            *this.started = Some(now);
            // A call that comes late, or had lost most of its time elsewhere, does not tell
            // whether this replica is slow.
            let fair = |end: &Instant| *end > now && end.saturating_duration_since(now) >= gone;
            *this.deadline = Deadline::current().filter(fair);
        }
    }
}

#[pinned_drop]
impl<S, Req, C, R> PinnedDrop for ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        if let Some(ticket) = this.ticket.take() {
            let (started, deadline) = (*this.started, *this.deadline);
            let _told = Abandoned { desk: &this.core.desk, ticket, started, deadline };
            // What runs is dropped before it is told that it was.
            this.stage.set(Stage::Done);
        }
    }
}

/// Tells at its end that a call was abandoned, also when the drop of what ran panics.
struct Abandoned<'a> {
    desk: &'a Desk,
    ticket: Ticket,
    started: Option<Instant>,
    deadline: Option<Instant>,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        self.desk.abandon(self.ticket, self.started, self.deadline);
    }
}

impl<S, Req, C, R> fmt::Debug for ResponseFuture<S, Req, C, R>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Choosing => "choosing",
            Stage::Readying { .. } => "readying",
            Stage::Calling { .. } => "calling",
            Stage::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("stage", &stage)
            .field("replica", &self.ticket.map(|ticket| number(ticket.place)))
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
