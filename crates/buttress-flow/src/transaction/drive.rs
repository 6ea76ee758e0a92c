//! Does what the protocol says, for one transaction.

use std::{
    future::{Future as _, pending, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use buttress::{
    Event as Fact,
    store::{StoreError, WorkflowId},
};

use super::{
    Answer, Ask,
    desk::{Delivery, Desk, Manners},
    log::{Log, closing},
    protocol::{Decision, Effect, Event, Outcome, Protocol, State, Vote},
    report::{Participant, Report},
};
use crate::{crowd::Crowd, docket::Hold};

/// A participant of this transaction.
pub(super) struct Part<P> {
    pub(super) desk: Desk<P>,
    /// What it is to prepare, until it was asked to.
    pub(super) payload: Option<P>,
}

/// What came of something that was under way.
enum News {
    Opened(Result<Option<Box<Hold>>, StoreError>),
    Voted(usize, Result<Answer, String>),
    Decided(Result<Decision, StoreError>),
    Told(usize, Delivery),
    Closed(Result<(), StoreError>),
    /// The lease is over.
    Lost(StoreError),
}

pub(super) struct Drive<P> {
    log: Log,
    manners: Arc<Manners>,
    workflow: WorkflowId,
    parts: Vec<Part<P>>,
    /// What is written at the begin, until it is.
    opening: Vec<u8>,
    hold: Option<Box<Hold>>,
    protocol: Protocol,
    state: State,
    under_way: Crowd<News>,
    report: Report,
}

impl<P: Send + 'static> Drive<P> {
    pub(super) fn new(
        log: Log,
        manners: Arc<Manners>,
        workflow: WorkflowId,
        parts: Vec<Part<P>>,
    ) -> Self {
        let report = Report {
            id: workflow.workflow.to_string(),
            outcome: Outcome::InDoubt,
            finished: false,
            participants: parts
                .iter()
                .map(|part| Participant::new(part.desk.name.clone()))
                .collect(),
            error: None,
        };
        Self {
            log,
            manners,
            workflow,
            protocol: Protocol::new(parts.len()),
            parts,
            opening: Vec::new(),
            hold: None,
            state: State::Idle,
            under_way: Crowd::new(),
            report,
        }
    }

    /// Carries a new transaction out, up to where it can be left to a recovery. Also returns the last state.
    pub(super) async fn run(mut self, opening: Vec<u8>) -> (State, Report) {
        self.opening = opening;
        self.follow(Event::Run).await
    }

    /// Brings an unfinished transaction to its end.
    pub(super) async fn recover(mut self, hold: Box<Hold>) -> Report {
        self.hold = Some(hold);
        self.follow(Event::Recover).await.1
    }

    async fn follow(mut self, first: Event) -> (State, Report) {
        let mut event = Some(first);
        loop {
            if let Some(event) = event {
                let (state, effect) = self.protocol.step(self.state, event);
                self.state = state;
                if let Some(effect) = effect {
                    self.act(effect);
                }
            }
            match self.news().await {
                Some(news) => event = self.hear(news),
                None => break,
            }
        }
        self.report.outcome = self.state.outcome();
        self.report.finished = matches!(self.state, State::Ended { .. });
        if let Some(hold) = &self.hold
            && !self.report.finished
        {
            self.log.release(hold).await;
        }
        (self.state, self.report)
    }

    fn act(&mut self, effect: Effect) {
        let (log, manners, workflow) =
            (self.log.clone(), self.manners.clone(), self.workflow.clone());
        match effect {
            Effect::Open => {
                let opening = std::mem::take(&mut self.opening);
                self.under_way
                    .push(async move { News::Opened(log.open(&workflow, opening).await) });
            }
            Effect::Prepare => {
                for (place, part) in self.parts.iter_mut().enumerate() {
                    let Some(payload) = part.payload.take() else { continue };
                    let (id, desk) = (self.report.id.clone(), part.desk.clone());
                    let within = manners.prepare_within;
                    self.under_way.push(async move {
                        News::Voted(place, desk.ask(id, Ask::Prepare(payload), within, 1).await)
                    });
                }
            }
            Effect::Log(decision) => {
                // Votes that are still to come do not count any more.
                self.under_way.clear();
                let Some(hold) = &self.hold else { return };
                let lease = hold.lease.clone();
                self.under_way.push(async move {
                    let decide = || log.decide(&lease, decision);
                    News::Decided(manners.patience.persist(decide).await)
                });
            }
            Effect::Tell(decision) => {
                for (place, part) in self.parts.iter().enumerate() {
                    let told = part.desk.clone().deliver(self.report.id.clone(), decision);
                    self.under_way.push(async move { News::Told(place, told.await) });
                }
            }
            Effect::End => {
                let (State::Ending { decision, contrary }, Some(hold)) = (self.state, &self.hold)
                else {
                    return;
                };
                let end = hold.end();
                let named = self.parts.iter().enumerate();
                let contrary: Vec<_> = named
                    .filter(|(place, _)| contrary.has(*place))
                    .map(|(_, part)| part.desk.name.to_string())
                    .collect();
                let closing = closing(decision, contrary);
                self.under_way.push(async move {
                    let close = || log.close(&end, closing.clone());
                    News::Closed(manners.patience.persist(close).await)
                });
            }
        }
    }

    /// What happens next, `None` if nothing is under way. The lease is kept meanwhile.
    async fn news(&mut self) -> Option<News> {
        let Self { under_way, hold, .. } = self;
        let mut lost = pin!(async {
            match hold {
                Some(hold) => hold.lost().await,
                None => pending().await,
            }
        });
        poll_fn(|cx| match under_way.poll_next(cx) {
            Poll::Pending => lost.as_mut().poll(cx).map(|error| Some(News::Lost(error))),
            news => news,
        })
        .await
    }

    fn hear(&mut self, news: News) -> Option<Event> {
        match news {
            News::Opened(Ok(hold)) => {
                let fresh = hold.is_some();
                self.hold = hold;
                Some(Event::Opened { fresh })
            }
            News::Voted(place, answer) => {
                let (vote, error) = match answer {
                    Ok(Answer { standing, why }) => (standing.vote(), why),
                    Err(error) => (Vote::No, Some(error)),
                };
                let participant = self.report.participants.get_mut(place)?;
                participant.vote = Some(vote);
                participant.error = error;
                Some(Event::Voted(place, vote))
            }
            News::Decided(Ok(decision)) => Some(Event::Decided(decision)),
            News::Told(place, Delivery { attempts, acknowledged, error }) => {
                let participant = self.report.participants.get_mut(place)?;
                participant.attempts = attempts;
                participant.acknowledged = acknowledged;
                // What it said when it refused is of more interest than nothing.
                participant.error = error.or(participant.error.take());
                Some(Event::Acknowledged(place, acknowledged?))
            }
            News::Closed(Ok(())) => Some(Event::Closed),
            // Another coordinator has it, and brings it to its end.
            News::Lost(error) => {
                if let StoreError::Fenced { epoch, .. } = error {
                    self.manners.voice.tell(
                        &self.report.id,
                        &self.report.id,
                        Fact::Fenced { epoch },
                    );
                }
                self.under_way.clear();
                self.hold = None;
                self.report.error = Some(error);
                None
            }
            News::Opened(Err(error)) | News::Decided(Err(error)) | News::Closed(Err(error)) => {
                self.report.error = Some(error);
                None
            }
        }
    }
}
