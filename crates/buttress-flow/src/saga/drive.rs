//! Does what the plan says, for one saga.

use buttress::{
    checkpoint::Halt,
    store::{Digest, StepId, StoreError, WorkflowId},
};
use serde::{Deserialize, Serialize};

use super::{
    action::Landed,
    bench::{Bench, Ended, Must},
    plan::{Kind, News, Next, Outcome, Plan},
    report::{Report, StepReport},
    script::{Saga, Stage},
};
use crate::{
    docket::{Docket, Hold, write},
    patience::Patience,
};

/// The step by which it is written down that a saga turns back.
pub(super) const TURN: &str = "saga/turn";

/// What is written then.
#[derive(Serialize, Deserialize)]
pub(super) struct Turning {
    step: usize,
    error: Option<String>,
}

/// What is written at the end.
#[derive(Serialize, Deserialize)]
pub(super) struct Closing<S, T = Vec<StepReport>> {
    pub(super) outcome: Outcome,
    pub(super) state: S,
    pub(super) steps: T,
}

pub(super) struct Drive<'a, S> {
    docket: &'a Docket,
    stages: &'a [Stage<S>],
    patience: &'a Patience,
    hold: Box<Hold>,
    bench: Bench,
    plan: Plan,
    state: S,
    /// What was done, by the places of the steps.
    landed: Vec<Option<Box<dyn Landed<S>>>>,
    report: Vec<StepReport>,
}

impl<'a, S: Send + Sync> Drive<'a, S> {
    pub(super) fn new<Phase>(
        saga: &'a Saga<S, Phase>,
        workflow: WorkflowId,
        hold: Box<Hold>,
        state: S,
        turned: Option<Turning>,
    ) -> Self {
        let kinds = saga.steps.iter().map(|stage| stage.kind);
        let mut report: Vec<_> =
            saga.steps.iter().map(|stage| StepReport::new(&stage.step.name)).collect();
        let plan = Plan::new(kinds, turned.as_ref().map(|turning| turning.step));
        if let Some(Turning { step, error }) = turned
            && let Some(step) = report.get_mut(step)
        {
            step.error = error;
        }
        let bench = Bench {
            journal: saga.docket.journal().clone().held(hold.lease.clone()),
            id: workflow.workflow,
            patience: saga.patience.clone(),
            voice: saga.voice.clone(),
        };
        Self {
            docket: &saga.docket,
            stages: &saga.steps,
            patience: &saga.patience,
            hold,
            bench,
            plan,
            state,
            landed: saga.steps.iter().map(|_| None).collect(),
            report,
        }
    }

    pub(super) async fn run(mut self) -> Report<S>
    where
        S: Serialize,
    {
        let (outcome, error) = loop {
            let step = match self.plan.next() {
                Next::Act(step) => self.act(step).await,
                Next::Undo(step) => self.undo(step).await,
                Next::Turn(step) => self.turn(step).await.map_err(Halt::Store),
                Next::Stop(outcome) => break (outcome, None),
                Next::End(outcome) => match self.end(outcome).await {
                    Ok(()) => break (outcome, None),
                    Err(halt) => Err(halt),
                },
            };
            if let Err(halt) = step {
                break (Outcome::Interrupted, Some(halt));
            }
        };
        self.note_standings();
        let report = Report {
            id: self.bench.id.to_string(),
            outcome,
            state: self.state,
            steps: self.report,
            error,
        };
        if !report.finished() {
            self.docket.release(&self.hold).await;
        }
        report
    }

    async fn act(&mut self, step: usize) -> Result<(), Halt> {
        let Some(stage) = self.stages.get(step) else { return Ok(()) };
        let must = match stage.kind {
            Kind::Undoable | Kind::Harmless | Kind::Pivot => Must::Decide,
            Kind::Retriable => Must::Succeed,
        };
        let act = stage.act.act(&self.bench, stage.step.clone(), &self.state, must);
        let (attempts, acted) = self.hold.keep(act).await;
        let (news, error) = match acted {
            Ended::Done(landed) => {
                landed.keep(&mut self.state);
                if let Some(place) = self.landed.get_mut(step) {
                    *place = Some(landed);
                }
                (News::Done, None)
            }
            Ended::Failed(error) => (News::Failed, Some(error)),
            Ended::InDoubt(error) => (News::InDoubt, Some(error)),
            Ended::Interrupted(halt) => return Err(halt),
        };
        self.plan.hear(step, news);
        if let Some(report) = self.report.get_mut(step) {
            report.attempts = attempts;
            report.error = error;
        }
        Ok(())
    }

    async fn undo(&mut self, step: usize) -> Result<(), Halt> {
        let (Some(stage), Some(Some(landed))) = (self.stages.get(step), self.landed.get(step))
        else {
            return Ok(());
        };
        let name = format!("{}/undo", stage.step.name);
        let id = StepId::new(name).occurrence(stage.step.occurrence);
        let (attempts, undone) = match landed.undo(&self.bench, id, &self.state) {
            Some(undo) => self.hold.keep(undo).await,
            None => (0, Ended::Done(())),
        };
        let (news, error) = match undone {
            Ended::Done(()) => (News::Undone, None),
            // Whether it failed or is in doubt: it is not known to be undone, and stays to be done.
            Ended::Failed(error) | Ended::InDoubt(error) => (News::NotUndone, Some(error)),
            Ended::Interrupted(halt) => return Err(halt),
        };
        self.plan.hear(step, news);
        if let Some(report) = self.report.get_mut(step) {
            report.undo_attempts = attempts;
            report.error = error;
        }
        Ok(())
    }

    /// Writes down that the saga turns back: whoever resumes it does not try the step again.
    async fn turn(&mut self, step: usize) -> Result<(), StoreError> {
        let error = self.report.get(step).and_then(|report| report.error.clone());
        let turning = write(&Turning { step, error }).unwrap_or_default();
        let (docket, lease) = (self.docket, &self.hold.lease);
        let write = || docket.once(lease, TURN, Digest::of(TURN.as_bytes()), turning.clone());
        self.patience.persist(write).await?;
        self.plan.hear(step, News::Turned);
        Ok(())
    }

    async fn end(&mut self, outcome: Outcome) -> Result<(), Halt>
    where
        S: Serialize,
    {
        self.note_standings();
        let closing = write(&Closing { outcome, state: &self.state, steps: &self.report })
            .map_err(|message| Halt::Unwritable { step: StepId::new("saga/end"), message })?;
        let (docket, end) = (self.docket, self.hold.end());
        let close = || docket.close(&end, closing.clone());
        self.patience.persist(close).await.map_err(Halt::Store)
    }

    fn note_standings(&mut self) {
        for (report, standing) in self.report.iter_mut().zip(self.plan.standings()) {
            report.standing = standing;
        }
    }
}
