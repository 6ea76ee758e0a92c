//! Brings several participants to one outcome.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use buttress::{
    Backoff, Observe, Random,
    store::{Journal, StoreError, WorkflowId},
};
use serde::Serialize;
use tokio::time::sleep;
use tower::{BoxError, Service, ServiceExt, util::BoxCloneSyncService};

use super::{
    Answer, Ask, Standing, Transaction,
    desk::{Desk, Manners, Target},
    drive::{Drive, Part},
    log::{Log, opening},
    protocol::{MOST, Outcome, State},
    report::{Refused, Report},
};
use crate::{
    crowd::{Crowd, side_by_side},
    patience::Patience,
    voice::Voice,
};

/// Brings several participants to one outcome. See the [module](super).
pub struct Coordinator<P> {
    log: Log,
    manners: Arc<Manners>,
    participants: Arc<Vec<(Arc<str>, Target<P>)>>,
}

impl<P> Coordinator<P> {
    /// A coordinator without participants, whose log is in a store.
    ///
    /// Give the journal a [namespace](Journal::namespace) for transactions alone, and [hold](Journal::held)
    /// no lease with it: each transaction is held by itself while it is under way.
    pub fn new(journal: Journal) -> Self {
        let manners = Manners {
            prepare_within: Duration::from_secs(10),
            answer_within: Duration::from_secs(10),
            patience: Patience::default(),
            voice: Voice::new("transaction"),
        };
        Self {
            log: Log::new(journal),
            manners: Arc::new(manners),
            participants: Arc::new(Vec::new()),
        }
    }

    /// Adds a participant, or puts another in the place of the one with the same name.
    ///
    /// After a restart it is found by its name: keep it.
    #[must_use]
    pub fn participant<S>(mut self, name: impl Into<Arc<str>>, service: S) -> Self
    where
        S: Service<Transaction<P>, Response: Into<Answer>, Error: Into<BoxError>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        P: 'static,
    {
        let name = name.into();
        let target = BoxCloneSyncService::new(service.map_response(Into::into).map_err(Into::into));
        let participants = Arc::make_mut(&mut self.participants);
        participants.retain(|(known, _)| *known != name);
        participants.push((name, target));
        self
    }

    /// Sets how long participants have to prepare; 10 s by default. Who has not answered by then was not
    /// prepared, and all are told to abort.
    #[must_use]
    pub fn prepare_within(self, time: Duration) -> Self {
        self.set(|manners| manners.prepare_within = time)
    }

    /// Sets how long a participant has to acknowledge the decision each time that it is told; 10 s by default.
    #[must_use]
    pub fn answer_within(self, time: Duration) -> Self {
        self.set(|manners| manners.answer_within = time)
    }

    /// Sets the wait before a decision is told again to a participant that has not acknowledged, and
    /// before a failed write to the log is tried again.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.set(|manners| manners.patience.backoff = backoff)
    }

    /// Sets how often a participant is told, and a write is tried, before the transaction is left to the
    /// next [recovery](Self::recover); 5 by default.
    #[must_use]
    pub fn attempts(self, attempts: u32) -> Self {
        self.set(|manners| manners.patience.attempts = attempts)
    }

    /// Sets the source of randomness for the waits.
    #[must_use]
    pub fn random(self, random: Random) -> Self {
        self.set(|manners| manners.patience.random = random)
    }

    /// Sets who listens to events; `tracing` by default. They carry the name of the participant.
    #[must_use]
    pub fn observe(self, observe: impl Observe + 'static) -> Self {
        self.set(|manners| manners.voice.set(observe))
    }

    fn set(mut self, change: impl FnOnce(&mut Manners)) -> Self {
        change(Arc::make_mut(&mut self.manners));
        self
    }

    /// The participant of this name, known or not.
    fn desk(&self, name: Arc<str>) -> Desk<P> {
        let known = self.participants.iter().find(|(known, _)| *known == name);
        let target = known.map(|(_, target)| target.clone());
        Desk { name, target, manners: self.manners.clone() }
    }
}

impl<P: Send + 'static> Coordinator<P> {
    /// Carries a transaction out: each participant gets its payload to prepare, then all are told to
    /// commit, or all to abort.
    ///
    /// Returns when all have acknowledged, or when enough [attempts](Self::attempts) were made: then the
    /// report is not finished, its outcome stands all the same, and the next [recovery](Self::recover) goes on.
    ///
    /// # Errors
    /// Where nobody was asked to do anything. All that happens later is in the report.
    pub async fn run<N: Into<Arc<str>>>(
        &self,
        id: impl Into<Arc<str>>,
        payloads: impl IntoIterator<Item = (N, P)>,
    ) -> Result<Report, Refused>
    where
        P: Serialize,
    {
        let payloads: Vec<(Arc<str>, P)> =
            payloads.into_iter().map(|(name, payload)| (name.into(), payload)).collect();
        if payloads.len() > MOST {
            return Err(Refused::TooMany { participants: payloads.len() });
        }
        let opening = opening(&payloads).map_err(|message| Refused::Unwritable { message })?;
        let mut parts: Vec<Part<P>> = Vec::with_capacity(payloads.len());
        for (name, payload) in payloads {
            if parts.iter().any(|part| part.desk.name == name) {
                return Err(Refused::Repeated { name });
            }
            let desk = self.desk(name);
            if desk.target.is_none() {
                return Err(Refused::NoSuchParticipant { name: desk.name });
            }
            parts.push(Part { desk, payload: Some(payload) });
        }
        let workflow = self.log.workflow(&id.into());
        let drive = Drive::new(self.log.clone(), self.manners.clone(), workflow, parts);
        match drive.run(opening).await {
            (State::Refused, report) => Err(Refused::Duplicate { id: report.id }),
            (State::Opening, Report { error: Some(error), .. }) => Err(Refused::Store(error)),
            (_, report) => Ok(report),
        }
    }

    /// Brings all unfinished transactions to their ends, as far as that is possible now.
    ///
    /// To be called at start, and now and then: by any coordinator with the same participants and the same
    /// store. One without a decision is aborted; a decision that was written is told to all that take
    /// part. Transactions that another coordinator holds are left alone. The reports are those of the
    /// transactions that were taken up; in them the votes are not known.
    ///
    /// # Errors
    /// If the store cannot list what there is. What goes wrong with one transaction is in its report.
    pub async fn recover(&self) -> Result<Vec<Report>, StoreError> {
        let unfinished = self.log.unfinished().await?.into_iter();
        let finished = side_by_side(unfinished.map(|workflow| self.clone().finish(workflow))).await;
        let mut reports: Vec<Report> = finished.into_iter().flatten().collect();
        reports.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(reports)
    }

    /// Recovers again and again, with a pause in between: participants that were down get their
    /// decisions when they return. `tell` is given what each recovery came to.
    ///
    /// Never ends: spawn it, or race it with what ends the process.
    pub async fn attend(
        &self,
        pause: Duration,
        mut tell: impl FnMut(Result<Vec<Report>, StoreError>),
    ) -> Infallible {
        loop {
            tell(self.recover().await);
            sleep(pause).await;
        }
    }

    async fn finish(self, workflow: WorkflowId) -> Option<Report> {
        match self.log.take_up(&workflow).await {
            Ok(Some((hold, names))) => {
                let parts = names
                    .into_iter()
                    .map(|name| Part { desk: self.desk(name.into()), payload: None });
                let parts = parts.collect();
                let drive = Drive::new(self.log.clone(), self.manners.clone(), workflow, parts);
                Some(drive.recover(hold).await)
            }
            Ok(None) => None,
            Err(error) => Some(Report {
                id: workflow.workflow.to_string(),
                outcome: Outcome::InDoubt,
                finished: false,
                participants: Vec::new(),
                error: Some(error),
            }),
        }
    }

    /// What the log says of a transaction, `None` if its id was never used.
    ///
    /// Reads only: one that is in doubt stays so until a [recovery](Self::recover) decides it.
    pub async fn outcome(&self, id: impl Into<Arc<str>>) -> Result<Option<Outcome>, StoreError> {
        self.log.outcome(&self.log.workflow(&id.into())).await
    }

    /// Asks all participants how a transaction stands there, and changes nothing.
    pub async fn inspect(
        &self,
        id: impl Into<Arc<str>>,
    ) -> Vec<(Arc<str>, Result<Standing, String>)> {
        let id = id.into();
        let mut under_way = Crowd::new();
        for (place, (name, _)) in self.participants.iter().enumerate() {
            let (desk, id) = (self.desk(name.clone()), id.to_string());
            let within = self.manners.answer_within;
            under_way.push(async move {
                let name = desk.name.clone();
                let answer = desk.ask(id, Ask::Status, within, 1).await;
                (place, (name, answer.map(|answer| answer.standing)))
            });
        }
        let mut found = Vec::new();
        while let Some(answer) = under_way.next().await {
            found.push(answer);
        }
        found.sort_by_key(|(place, _)| *place);
        found.into_iter().map(|(_, answer)| answer).collect()
    }
}

impl<P> Clone for Coordinator<P> {
    fn clone(&self) -> Self {
        Self {
            log: self.log.clone(),
            manners: self.manners.clone(),
            participants: self.participants.clone(),
        }
    }
}

impl<P> fmt::Debug for Coordinator<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.participants.iter().map(|(name, _)| name).collect();
        f.debug_struct("Coordinator")
            .field("participants", &names)
            .field("manners", &self.manners)
            .finish_non_exhaustive()
    }
}
