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
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::{
    Agree, Cast,
    layer::Launch,
    round::Round,
    service::{Members, Settings},
    tally::Next,
};
use crate::{
    Cause, Causes, Classify, Deadline, Effect, Event, FromRejection, IntoCause, Kind, Name,
    Rejection, Replay, Split, Verdict, Why,
    fan::{Ended, Fan},
};

/// The future of [`Quorum`](super::Quorum).
#[pin_project(PinnedDrop)]
pub struct ResponseFuture<S, Req, A, C, R>
where
    S: Service<Req>,
    A: Agree<S::Response>,
    C: Classify<Req, S::Response, S::Error>,
{
    round: Round<S, Req>,
    /// Gone when the vote has ended.
    ballots: Option<A::Ballots>,
    /// What the classifier remembers of the request, which is the same for all members.
    call: C::Call,
    causes: Vec<Cause>,
    /// What the members may have done that have ended or were dropped.
    effect: Effect,
    /// Where those come from who may be asked later.
    reserve: Option<Members<S>>,
    /// When somebody first had to wait.
    begun: Option<Instant>,
    /// When each was asked who was not asked at the beginning.
    later: Vec<(usize, Instant)>,
    #[pin]
    timer: Option<Sleep>,
    settings: Arc<Settings<A, C, R>>,
}

/// How a vote ends.
enum End<Res, Err> {
    /// Enough agree on this answer.
    Agreed(Res),
    /// Enough say that there is no answer; this is what the last of them said.
    Refused(Result<Res, Err>),
    Impossible,
}

impl<S, Req, A, C, R> ResponseFuture<S, Req, A, C, R>
where
    S: Service<Req>,
    A: Agree<S::Response>,
    C: Classify<Req, S::Response, S::Error>,
{
    #[inline]
    pub(super) fn new(
        round: Round<S, Req>,
        call: C::Call,
        reserve: Option<Members<S>>,
        settings: Arc<Settings<A, C, R>>,
    ) -> Self {
        let ballots = Some(settings.agree.open());
        Self {
            round,
            ballots,
            call,
            causes: Vec::new(),
            effect: Effect::None,
            reserve,
            begun: None,
            later: Vec::new(),
            timer: None,
            settings,
        }
    }
}

impl<S, Req, A, C, R> Future for ResponseFuture<S, Req, A, C, R>
where
    S: Service<Req> + Clone,
    S::Error: FromRejection + IntoCause,
    A: Agree<S::Response>,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Those from this number on have not been polled yet.
        let mut from = 0;
        loop {
            let mut why = Why::Failure;
            let end = self.as_mut().poll_members(from, cx, &mut why);
            if let Some((place, end)) = end {
                return Poll::Ready(self.finish(place, end));
            }
            let this = self.as_mut().project();
            if this.ballots.is_none() {
                // Polled again after it was done, which no future owes an answer to.
                return Poll::Pending;
            }
            match this.round.tally.next() {
                Next::Impossible => {
                    return Poll::Ready(self.finish(usize::MAX, End::Impossible));
                }
                Next::Ask => from = self.as_mut().ask(why),
                Next::Wait => {
                    if self.as_mut().poll_delay(cx).is_pending() {
                        return Poll::Pending;
                    }
                    from = self.as_mut().ask(Why::Delay);
                }
            }
        }
    }
}

impl<S, Req, A, C, R> ResponseFuture<S, Req, A, C, R>
where
    S: Service<Req> + Clone,
    S::Error: FromRejection + IntoCause,
    A: Agree<S::Response>,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
{
    /// Polls the members from a number on, each once, until the vote ends; says with whose.
    #[inline]
    fn poll_members(
        self: Pin<&mut Self>,
        from: usize,
        cx: &mut Context<'_>,
        why: &mut Why,
    ) -> Option<(usize, End<S::Response, S::Error>)> {
        let this = self.project();
        let (round, causes, call, done) = (this.round, this.causes, this.call, this.effect);
        let Settings { agree, classify, electorate, rules, .. } = &**this.settings;
        let ballots = this.ballots.as_mut()?;
        let tally = &mut round.tally;
        round.fan.poll_from(from, cx, |Ended { place, outcome, sent }| {
            let weight = electorate.weight(place);
            // Judged apart: an outcome that is moved whole costs more.
            let (outcome, verdict) = match outcome {
                Ok(response) => {
                    let verdict = classify.verdict(call, Ok(&response));
                    if verdict.is_success() {
                        *done = (*done).max(verdict.effect);
                        match agree.cast(ballots, response, weight, electorate.needed()) {
                            Cast::Agreed { answer, weight: largest } => {
                                tally.answered(weight, largest);
                                return Some((place, End::Agreed(answer)));
                            }
                            Cast::Open { largest } => tally.answered(weight, largest),
                        }
                        if tally.votes().dissent() > 0 {
                            *why = Why::Dissent;
                        }
                        return None;
                    }
                    (Ok(response), verdict)
                }
                Err(error) => {
                    let verdict = classify.verdict(call, Err(&error));
                    (Err(error), verdict)
                }
            };
            // Who was not even ready has said nothing about the request.
            let effect = if sent { verdict.effect } else { Effect::None };
            let verdict = verdict.with_effect(effect);
            *done = (*done).max(effect);
            if !verdict.is_success() {
                rules.voice.tell(Event::Failed { attempt: number(place), verdict });
            }
            if sent && matches!(verdict.kind, Kind::Permanent | Kind::Success) {
                *why = Why::Dissent;
                if tally.refused(weight) {
                    return Some((place, End::Refused(outcome)));
                }
            } else {
                *why = Why::Failure;
                tally.failed(weight);
            }
            causes.push(cause(rules.member(place), verdict, outcome));
            // Whoever can be heard in this poll is heard, even if nothing can come of it any more.
            None
        })
    }

    /// Asks another member; returns from which number on members have not been polled yet.
    #[cold]
    fn ask(self: Pin<&mut Self>, why: Why) -> usize {
        let this = self.project();
        let voice = &this.settings.rules.voice;
        let Some((place, members)) = this.round.next().zip(this.reserve.as_ref()) else {
            this.round.end();
            return usize::MAX;
        };
        let attempt = number(place);
        // The deadline would end it at once.
        if Deadline::remaining() == Some(Duration::ZERO) {
            this.round.end();
            voice.tell(Event::Suppressed { attempt, why: Why::Deadline });
            return usize::MAX;
        }
        this.round.ask(this.settings, members);
        if this.round.next().is_none() {
            *this.reserve = None;
        }
        let now = Instant::now();
        let begun = *this.begun.get_or_insert(now);
        this.later.push((place, now));
        voice.tell(Event::Hedging { attempt, after: now.saturating_duration_since(begun), why });
        place
    }

    /// Ready when a vote that is still open has waited long enough for another member.
    fn poll_delay(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let begun = *this.begun.get_or_insert_with(Instant::now);
        let Launch::Lazy(Some(delay)) = this.settings.rules.launch else { return Poll::Pending };
        if this.round.next().is_none() {
            return Poll::Pending;
        }
        let last = this.later.last().map_or(begun, |(_, asked)| *asked);
        // A delay too long to be told as a time never ends.
        let Some(at) = last.checked_add(delay) else { return Poll::Pending };
        match this.timer.as_mut().as_pin_mut() {
            Some(timer) if timer.deadline() == at => {}
            Some(timer) => timer.reset(at),
            None => this.timer.set(Some(sleep_until(at))),
        }
        this.timer.as_pin_mut().map_or(Poll::Pending, |timer| timer.poll(cx))
    }

    /// Drops what runs and what was kept, and makes the outcome of the call.
    fn finish(
        mut self: Pin<&mut Self>,
        place: usize,
        end: End<S::Response, S::Error>,
    ) -> Result<S::Response, S::Error> {
        self.as_mut().cancel(place);
        let this = self.project();
        let ballots = this.ballots.take();
        let Settings { agree, rules, .. } = &**this.settings;
        let votes = this.round.tally.votes();
        // Those who all say the same are no news.
        let told = votes.dissent() > 0 || votes.failed > 0;
        match end {
            End::Agreed(mut answer) => {
                drop(ballots);
                if told {
                    rules.voice.tell(Event::Agreed { votes });
                }
                agree.mark(&mut answer, votes);
                Ok(answer)
            }
            End::Refused(outcome) => {
                drop(ballots);
                if told {
                    rules.voice.tell(Event::Agreed { votes });
                }
                outcome
            }
            End::Impossible => {
                rules.voice.tell(Event::Disagreed { votes });
                if this.round.is_of_nobody() {
                    this.causes.push(unrepeatable(rules.voice.name()));
                }
                let causes: Causes = this.causes.drain(..).collect();
                let chosen = ballots.and_then(|ballots| agree.otherwise(ballots, votes, &causes));
                if let Some(mut answer) = chosen {
                    agree.mark(&mut answer, votes);
                    return Ok(answer);
                }
                let name = rules.voice.name();
                let split = Box::new(Split { votes, causes, effect: *this.effect });
                let rejection = Rejection::NoQuorum { name, split };
                Err(S::Error::from_rejection(rejection))
            }
        }
    }
}

impl<S, Req, A, C, R> ResponseFuture<S, Req, A, C, R>
where
    S: Service<Req>,
    A: Agree<S::Response>,
    C: Classify<Req, S::Response, S::Error>,
{
    /// Drops all who run and could be asked, in a poll in which the members below `place` were
    /// polled.
    #[inline]
    fn cancel(self: Pin<&mut Self>, place: usize) {
        let mut this = self.project();
        // Taken out first: a listener that panics is not told again when the future is dropped.
        let fan = mem::replace(&mut this.round.fan, Fan::new());
        if fan.running() > 0 && (this.begun.is_some() || place > 0) {
            let begun = *this.begun;
            for (running, sent) in fan.unfinished() {
                if sent {
                    *this.effect = (*this.effect).max(Effect::Maybe);
                }
                // Before anybody had to wait, those after the last were not reached.
                if begun.is_none() && running > place {
                    continue;
                }
                let later = this.later.iter().find(|(later, _)| *later == running);
                let asked = later.map(|(_, asked)| *asked).or(begun);
                let after = asked.map_or(Duration::ZERO, |asked| asked.elapsed());
                let voice = &this.settings.rules.voice;
                voice.tell(Event::Cancelled { attempt: number(running), after });
            }
        }
        drop(fan);
        this.round.end();
        *this.reserve = None;
        this.timer.set(None);
    }
}

#[pinned_drop]
impl<S, Req, A, C, R> PinnedDrop for ResponseFuture<S, Req, A, C, R>
where
    S: Service<Req>,
    A: Agree<S::Response>,
    C: Classify<Req, S::Response, S::Error>,
{
    fn drop(self: Pin<&mut Self>) {
        self.cancel(0);
    }
}

/// Members are counted from 1.
pub(super) fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX).saturating_add(1)
}

/// Why a member gave no answer, or none that counts.
#[cold]
fn cause<Res, Err: IntoCause>(who: Name, verdict: Verdict, outcome: Result<Res, Err>) -> Cause {
    match outcome {
        Ok(_) => Cause::new(who, verdict, "its answer was not accepted"),
        Err(error) => Cause::new(who, verdict, error.into_cause()),
    }
}

/// Why a request is not sent that would have to be sent to several.
#[cold]
fn unrepeatable(name: Name) -> Cause {
    let verdict = Verdict::permanent().with_effect(Effect::None);
    Cause::new(name, verdict, "the request may be sent only once")
}

impl<S, Req, A, C, R> fmt::Debug for ResponseFuture<S, Req, A, C, R>
where
    S: Service<Req>,
    A: Agree<S::Response>,
    C: Classify<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("round", &self.round).finish_non_exhaustive()
    }
}
