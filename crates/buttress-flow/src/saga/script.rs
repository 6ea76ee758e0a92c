//! The steps of a saga, and how it is run, resumed and recovered.

use std::{collections::HashMap, fmt, marker::PhantomData, sync::Arc};

use buttress::{
    Backoff, Fault, Observe, Random,
    checkpoint::{Step, fingerprint},
    store::{Digest, Journal, Record, StepId, StoreError, WorkflowId},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tower::Service;

use super::{
    action::{Act, Action, Play, Undoable},
    drive::{Closing, Drive, TURN, Turning},
    plan::Kind,
    report::{Refused, Report},
};
use crate::{
    crowd::side_by_side,
    docket::{self, Docket, Hold, TakenUp, parse, write},
    patience::Patience,
    voice::Voice,
};

/// Steps, each with its compensation, done in order, and undone in reverse if one fails. See the
/// [module](super).
pub struct Saga<S, Phase = Back> {
    pub(super) docket: Docket,
    pub(super) steps: Vec<Stage<S>>,
    pub(super) patience: Patience,
    pub(super) voice: Voice,
    phase: PhantomData<fn() -> Phase>,
}

/// As long as there is a way back: a saga to which steps may be added that can fail.
#[derive(Debug)]
pub enum Back {}

/// From here on only forward: a saga to which steps may be added that are tried until they are done.
#[derive(Debug)]
pub enum Forward {}

pub(super) struct Stage<S> {
    pub(super) kind: Kind,
    /// The step of the workflow; that of the compensation has its name with `/undo`, as often as this one.
    pub(super) step: StepId,
    pub(super) act: Arc<dyn Act<S>>,
}

impl<S> Clone for Stage<S> {
    fn clone(&self) -> Self {
        Self { kind: self.kind, step: self.step.clone(), act: self.act.clone() }
    }
}

/// What is written of a saga at its begin.
#[derive(Serialize, Deserialize)]
struct Opening<S> {
    steps: Vec<String>,
    input: S,
}

const BEGIN: &str = "saga/begin";
const END: &str = "saga/end";

impl<S: Send + Sync + 'static> Saga<S> {
    /// A saga without steps, whose records are in a store.
    ///
    /// The name tells sagas of this kind from others in the same namespace. If the journal
    /// [holds a lease](Journal::held), as that of a worker does, it is for the saga of that workflow, which has its
    /// id and is ended by whoever holds the lease.
    pub fn new(name: &str, journal: Journal) -> Self {
        let mark = Digest::of_parts(&[b"buttress saga 1", name.as_bytes()]);
        Self {
            docket: Docket::new(journal, docket::Kind { mark, begin: BEGIN, end: END }),
            steps: Vec::new(),
            patience: Patience::default(),
            voice: Voice::new("saga"),
            phase: PhantomData,
        }
    }

    /// Adds a step that has a compensation.
    #[must_use]
    pub fn step<V, Req, Res, E>(self, step: Undoable<S, V, Req, Res, E>) -> Self
    where
        V: Service<Step<Req>, Response = Res, Error = E> + Clone + Send + Sync + 'static,
        V::Future: Send,
        Req: Serialize + Send + 'static,
        Res: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: Fault + fmt::Display + Send + 'static,
    {
        self.add(Kind::Undoable, step.into())
    }

    /// Adds a step that needs no compensation: it only reads, or what it leaves behind harms nobody.
    #[must_use]
    pub fn harmless<V, Req, Res, E>(self, step: Action<S, V, Req, Res, E>) -> Self
    where
        V: Service<Step<Req>, Response = Res, Error = E> + Clone + Send + Sync + 'static,
        V::Future: Send,
        Req: Serialize + Send + 'static,
        Res: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: Fault + fmt::Display + Send + 'static,
    {
        self.add(Kind::Harmless, step.into())
    }

    /// Adds the step that decides. If it fails, all before it is undone. Once it is done there is no
    /// way back: what comes after it is [tried until it is done](Saga::retriable).
    #[must_use]
    pub fn pivot<V, Req, Res, E>(self, step: Action<S, V, Req, Res, E>) -> Saga<S, Forward>
    where
        V: Service<Step<Req>, Response = Res, Error = E> + Clone + Send + Sync + 'static,
        V::Future: Send,
        Req: Serialize + Send + 'static,
        Res: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: Fault + fmt::Display + Send + 'static,
    {
        self.add(Kind::Pivot, step.into()).forward()
    }

    /// Goes on without a step that decides: what comes after all these steps is tried until it is done.
    #[must_use]
    pub fn forward(self) -> Saga<S, Forward> {
        let Self { docket, steps, patience, voice, phase: _ } = self;
        Saga { docket, steps, patience, voice, phase: PhantomData }
    }
}

impl<S: Send + Sync + 'static> Saga<S, Forward> {
    /// Adds a step that is tried until it is done. If it fails for good, or too often, the saga is stuck,
    /// and the step is tried again when it is resumed.
    #[must_use]
    pub fn retriable<V, Req, Res, E>(self, step: Action<S, V, Req, Res, E>) -> Self
    where
        V: Service<Step<Req>, Response = Res, Error = E> + Clone + Send + Sync + 'static,
        V::Future: Send,
        Req: Serialize + Send + 'static,
        Res: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: Fault + fmt::Display + Send + 'static,
    {
        self.add(Kind::Retriable, step.into())
    }
}

impl<S: Send + Sync + 'static, Phase> Saga<S, Phase> {
    fn add<V, Req, Res, E>(mut self, kind: Kind, play: Play<S, V, Req, Res, E>) -> Self
    where
        Play<S, V, Req, Res, E>: Act<S> + 'static,
    {
        let name = play.name().clone();
        let before = self.steps.iter().filter(|stage| stage.step.name == name).count();
        let occurrence = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        let step = StepId::new(name).occurrence(occurrence);
        self.steps.push(Stage { kind, step, act: Arc::new(play) });
        self
    }

    /// Sets the wait before a step is tried again.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.patience.backoff = backoff;
        self
    }

    /// Sets how often a step is tried before it has failed, or is stuck; 5 by default.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.patience.attempts = attempts;
        self
    }

    /// Sets the source of randomness for the waits.
    #[must_use]
    pub fn random(mut self, random: Random) -> Self {
        self.patience.random = random;
        self
    }

    /// Sets who listens to events, its own and those of the checkpoints; `tracing` by default. They
    /// carry the name of the step.
    #[must_use]
    pub fn observe(mut self, observe: impl Observe + 'static) -> Self {
        self.voice.set(observe);
        self
    }

    fn names(&self) -> Vec<String> {
        self.steps.iter().map(|stage| stage.step.to_string()).collect()
    }
}

impl<S, Phase> Saga<S, Phase>
where
    S: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Runs a saga from this state, or goes on with it if it was begun before: from the same state.
    ///
    /// One that is over is not run again: its report is returned once more.
    ///
    /// # Errors
    /// If it was not taken up. What happens later is in the report.
    pub async fn run(&self, id: impl Into<Arc<str>>, state: S) -> Result<Report<S>, Refused> {
        let workflow = self.docket.workflow(&id.into());
        let print = fingerprint(&state);
        let opening = Opening { steps: self.names(), input: &state };
        let opening = write(&opening).map_err(|message| Refused::Unwritable { message })?;
        if let Some(hold) = self.docket.open(&workflow, print, opening.clone()).await? {
            return Ok(Drive::new(self, workflow, hold, state, None).run().await);
        }
        match self.docket.take_up(&workflow).await? {
            // It came no further than its id.
            TakenUp::Held(hold, None) => {
                let written = self.docket.once(&hold.lease, BEGIN, print, opening).await;
                match written {
                    Ok(opened) => self.go_on(workflow, hold, &opened, Some(print)).await,
                    Err(error) => self.leave(&hold, error.into()).await,
                }
            }
            TakenUp::Held(hold, Some(opened)) => {
                self.go_on(workflow, hold, &opened, Some(print)).await
            }
            other => self.recall(&workflow, other),
        }
    }

    /// Goes on with a saga that was begun before, in this process or another.
    ///
    /// # Errors
    /// If it was not taken up.
    pub async fn resume(&self, id: impl Into<Arc<str>>) -> Result<Report<S>, Refused> {
        self.take_up(self.docket.workflow(&id.into())).await
    }

    /// Goes on with all sagas of this kind that are not over and that nobody is at, several side by side.
    ///
    /// To be called at start, and now and then. It ends when each has come to its end, or as far as it gets: put a
    /// [timeout](buttress::TimeoutLayer) around a tool that may never answer.
    ///
    /// # Errors
    /// If the store cannot list what there is.
    pub async fn recover(&self) -> Result<Vec<(String, Result<Report<S>, Refused>)>, StoreError>
    where
        Phase: 'static,
    {
        let unfinished = self.docket.unfinished().await?.into_iter();
        let taken_up = side_by_side(unfinished.map(|workflow| {
            let (saga, id) = (self.clone(), workflow.workflow.to_string());
            async move { (id, saga.take_up(workflow).await) }
        }));
        let mut recovered = taken_up.await;
        let nobodys = |refused: &Refused| {
            matches!(refused, Refused::Unknown | Refused::InFlight | Refused::Held { .. })
        };
        recovered.retain(|(_, result)| !result.as_ref().is_err_and(nobodys));
        recovered.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(recovered)
    }

    async fn take_up(&self, workflow: WorkflowId) -> Result<Report<S>, Refused> {
        match self.docket.take_up(&workflow).await? {
            TakenUp::Held(hold, Some(opened)) => self.go_on(workflow, hold, &opened, None).await,
            // Nobody knows what it was to begin from: whoever wanted it was told that it failed.
            TakenUp::Held(hold, None) => self.leave(&hold, Refused::Unknown).await,
            other => self.recall(&workflow, other),
        }
    }

    async fn leave(&self, hold: &Hold, refused: Refused) -> Result<Report<S>, Refused> {
        self.docket.release(hold).await;
        Err(refused)
    }

    fn recall(&self, workflow: &WorkflowId, taken: TakenUp) -> Result<Report<S>, Refused> {
        match taken {
            TakenUp::Ended(end) => {
                let Closing { outcome, state, steps } = parse(&end)?;
                let id = workflow.workflow.to_string();
                Ok(Report { id, outcome, state, steps, error: None })
            }
            TakenUp::Elsewhere { owner, retry_after } => Err(Refused::Held { owner, retry_after }),
            TakenUp::Here => Err(Refused::InFlight),
            TakenUp::Unknown | TakenUp::Held(..) => Err(Refused::Unknown),
        }
    }

    async fn go_on(
        &self,
        workflow: WorkflowId,
        hold: Box<Hold>,
        opened: &Record,
        print: Option<Digest>,
    ) -> Result<Report<S>, Refused> {
        match self.read(&workflow, opened, print).await {
            Ok((input, turned)) => Ok(Drive::new(self, workflow, hold, input, turned).run().await),
            Err(refused) => self.leave(&hold, refused).await,
        }
    }

    /// The state that it began from, and the step because of which it turned back.
    async fn read(
        &self,
        workflow: &WorkflowId,
        opened: &Record,
        print: Option<Digest>,
    ) -> Result<(S, Option<Turning>), Refused> {
        if print.is_some_and(|print| print != opened.fingerprint) {
            return Err(Refused::Mismatch);
        }
        let Opening { steps, input } = parse(opened)?;
        if steps != self.names() {
            return Err(Refused::Changed { recorded: steps });
        }
        let turned = self.docket.read(workflow, TURN).await?;
        Ok((input, turned.map(|turned| parse(&turned)).transpose()?))
    }
}

impl<S, Phase> Clone for Saga<S, Phase> {
    fn clone(&self) -> Self {
        Self {
            docket: self.docket.clone(),
            steps: self.steps.clone(),
            patience: self.patience.clone(),
            voice: self.voice.clone(),
            phase: PhantomData,
        }
    }
}

impl<S, Phase> fmt::Debug for Saga<S, Phase> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: HashMap<_, _> =
            self.steps.iter().map(|stage| (&stage.step, stage.kind)).collect();
        f.debug_struct("Saga")
            .field("steps", &steps)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
