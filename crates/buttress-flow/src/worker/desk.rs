//! Workflows as those see them who want work done.

use std::{sync::Arc, time::Duration};

use buttress::{
    checkpoint::fingerprint,
    store::{
        Begin, Begun, Claim, Entry, Journal, Life, Status as Recorded, Store, StoreError,
        WorkflowId,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::sleep;

use super::{
    WorkError,
    paper::{self, Attempts, Failure, Phase},
};

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Submitted {
    /// The workflow is there to be taken up.
    New,
    /// It was submitted before, with the same input; it may be done by now.
    Known,
}

/// Submits a workflow to the workers of the journal's namespace: durable when it is answered.
///
/// To submit it again is harmless, so whoever does not get an answer submits again. A name stays taken for as long as
/// the store keeps ended workflows.
///
/// # Errors
/// [`WorkError::Conflict`] if it was submitted with another input.
pub async fn submit<I: Serialize + ?Sized>(
    journal: &Journal,
    id: impl Into<Arc<str>>,
    input: &I,
) -> Result<Submitted, WorkError> {
    let workflow = journal.workflow(id);
    let payload = paper::write("input", input)?;
    let begin = Begin {
        workflow: workflow.clone(),
        step: paper::input(),
        fingerprint: fingerprint(input),
        claim: Claim::Shared,
        intent: false,
        restart: None,
        mark: None,
    };
    let ticket = match journal.store().begin(&begin).await? {
        Begun::Fresh(ticket) => ticket,
        Begun::Completed { .. } => return Ok(Submitted::Known),
        _ => return Err(WorkError::Conflict { workflow }),
    };
    match journal.store().complete(&ticket, Entry::done(payload)).await {
        Ok(settled) if settled.ours => Ok(Submitted::New),
        Ok(_) => Ok(Submitted::Known),
        // Another was quicker, with another input.
        Err(StoreError::Stale { .. }) => Err(WorkError::Conflict { workflow }),
        Err(error) => Err(error.into()),
    }
}

/// How a workflow stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is about.
    pub state: State,
    /// How many attempts were made, the current one included; those that a shutdown cut short do not count.
    pub attempts: u32,
    /// What the last failed attempt said.
    pub error: Option<String>,
}

/// What a workflow is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It waits for a worker; after a failure for so long at least.
    Waiting {
        /// The time before which no worker takes it.
        backoff: Option<Duration>,
    },
    /// A worker does it.
    Running {
        /// Which.
        owner: Arc<str>,
        /// How long its lease lasts, unless it is renewed.
        left: Duration,
    },
    /// It is done.
    Done,
    /// It failed for good, or was given up.
    Failed,
    /// It was deleted.
    Deleted,
}

/// How a workflow stands, `None` if there is none.
///
/// # Errors
/// Of the store, and if what workers wrote of it cannot be read.
pub async fn status(
    journal: &Journal,
    id: impl Into<Arc<str>>,
) -> Result<Option<Status>, WorkError> {
    let (workflow, store) = (journal.workflow(id), journal.store());
    let Some(summary) = store.summary(&workflow).await? else { return Ok(None) };
    let recorded = store.latest(&workflow, Some(&paper::attempts())).await?;
    let recorded = recorded.as_ref().map(|found| &found.record.payload);
    let attempts = Attempts::at(&workflow, recorded)?;
    let result = store.latest(&workflow, Some(&paper::result())).await?;
    let state = match (result.map(|found| found.record.status), summary.life, summary.held) {
        (_, Life::Deleted, _) => State::Deleted,
        (Some(Recorded::Failed), ..) => State::Failed,
        (Some(_), ..) | (None, Life::Finished, _) => State::Done,
        (None, Life::Open, None) => State::Waiting { backoff: None },
        (None, Life::Open, Some((_, left))) if attempts.phase == Phase::Failed => {
            State::Waiting { backoff: Some(left) }
        }
        (None, Life::Open, Some((owner, left))) => State::Running { owner, left },
    };
    Ok(Some(Status { state, attempts: attempts.count(), error: attempts.error }))
}

/// The result of a workflow, `None` while it has none.
///
/// # Errors
/// [`WorkError::Failed`] if it failed or was given up, [`WorkError::Unreadable`] if its result is of another
/// type, and those of the store; [`StoreError::NotFound`] if there is no such workflow.
pub async fn result<T: DeserializeOwned>(
    journal: &Journal,
    id: impl Into<Arc<str>>,
) -> Result<Option<T>, WorkError> {
    look(journal.store().as_ref(), &journal.workflow(id)).await
}

/// Waits for the result of a workflow, and asks the store for it that often.
///
/// # Errors
/// As those of [`result`], but that a store out of reach is asked again.
pub async fn wait<T: DeserializeOwned>(
    journal: &Journal,
    id: impl Into<Arc<str>>,
    interval: Duration,
) -> Result<T, WorkError> {
    let workflow = journal.workflow(id);
    loop {
        match look(journal.store().as_ref(), &workflow).await {
            Ok(Some(result)) => return Ok(result),
            Ok(None) | Err(WorkError::Store(StoreError::Engine(_))) => {}
            Err(error) => return Err(error),
        }
        sleep(interval.max(Duration::from_millis(1))).await;
    }
}

async fn look<T: DeserializeOwned>(
    store: &dyn Store,
    workflow: &WorkflowId,
) -> Result<Option<T>, WorkError> {
    match store.latest(workflow, Some(&paper::result())).await? {
        Some(found) if found.record.status == Recorded::Failed => {
            let Failure { message, attempts } = paper::read("failure", &found.record.payload)?;
            Err(WorkError::Failed { message, attempts })
        }
        Some(found) => paper::read("result", &found.record.payload).map(Some),
        None => match store.summary(workflow).await?.map(|summary| summary.life) {
            None => Err(StoreError::NotFound { workflow: workflow.clone(), version: None }.into()),
            Some(Life::Deleted) => Err(StoreError::Deleted { workflow: workflow.clone() }.into()),
            Some(Life::Open | Life::Finished) => Ok(None),
        },
    }
}
