//! The log of decisions: a transaction is a workflow of the store.
//!
//! | step | written | says |
//! |---|---|---|
//! | `end`, the intent | first | the id is taken, and the store keeps the workflow until its end |
//! | `begin` | before anybody is asked to prepare | who takes part, and with what |
//! | `decision` | before anybody is told | commit or abort: the first that is written counts |
//! | `end` | when all have acknowledged | who did otherwise |

use std::{pin::Pin, sync::Arc};

use buttress::store::{
    Begin, Begun, Claim, Damage, Digest, Entry, Fence, Journal, Lease, Life, Payload, Place,
    Record, Status, StepId, Store, StoreError, Ticket, WorkflowId,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned, de::IgnoredAny};
use tokio::time::{Sleep, sleep};

use super::protocol::{Decision, Outcome};

const BEGIN: &str = "begin";
const DECISION: &str = "decision";
const END: &str = "end";

/// What is written of a transaction at its begin: names and payloads.
#[derive(Serialize)]
struct Opening<'a, P> {
    participants: Vec<(&'a str, &'a P)>,
}

#[derive(Deserialize)]
struct Opened {
    participants: Vec<(String, IgnoredAny)>,
}

/// What is written of it at its end.
#[derive(Serialize, Deserialize)]
struct Closing {
    decision: Decision,
    contrary: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Log {
    journal: Journal,
}

/// A transaction that this coordinator holds: nobody else in this process has the place, and no other process
/// the lease.
pub(super) struct Hold {
    pub(super) lease: Lease,
    end: Ticket,
    renewal: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl Hold {
    /// When the lease should be renewed: long before others may take the transaction.
    pub(super) fn renewal(&mut self) -> Pin<&mut Sleep> {
        let ttl = self.lease.ttl;
        self.renewal.get_or_insert_with(|| Box::pin(sleep(ttl / 3))).as_mut()
    }

    pub(super) fn renewed(&mut self) {
        self.renewal = None;
    }

    pub(super) fn close(&self) -> Ticket {
        self.end.clone()
    }
}

/// Names and payloads as they are to be written.
pub(super) fn opening<P: Serialize>(parts: &[(Arc<str>, P)]) -> Result<Vec<u8>, serde_json::Error> {
    let participants = parts.iter().map(|(name, payload)| (&**name, payload)).collect();
    serde_json::to_vec(&Opening { participants })
}

impl Log {
    pub(super) const fn new(journal: Journal) -> Self {
        Self { journal }
    }

    pub(super) fn workflow(&self, id: &str) -> WorkflowId {
        self.journal.workflow(id)
    }

    fn store(&self) -> &dyn Store {
        &**self.journal.store()
    }

    /// Enters a transaction, `None` if its id was used before.
    pub(super) async fn open(
        &self,
        workflow: &WorkflowId,
        opening: Vec<u8>,
    ) -> Result<Option<Hold>, StoreError> {
        let Ok(place) = self.journal.enter(workflow, &END.into()) else { return Ok(None) };
        let claim = self.journal.claim(workflow, true)?;
        let begun = self.store().begin(&begin(workflow, END, claim, true)).await;
        let end = match begun {
            Ok(Begun::Fresh(ticket)) => ticket,
            Ok(_) | Err(StoreError::Held { .. } | StoreError::Deleted { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Fence::Epoch(epoch) = end.fence else {
            return Err(StoreError::Fenced { workflow: workflow.clone(), epoch: 0 });
        };
        let hold = self.hold(workflow, epoch, end, place);
        let begun = begin(workflow, BEGIN, Claim::Held { epoch }, false);
        match self.store().begin(&begun).await? {
            Begun::Fresh(ticket) => self.store().complete(&ticket, entry(opening)).await?,
            _ => return Err(misplaced(workflow)),
        };
        Ok(Some(hold))
    }

    fn hold(&self, workflow: &WorkflowId, epoch: u64, end: Ticket, place: Place) -> Hold {
        let lease = Lease {
            workflow: workflow.clone(),
            epoch,
            owner: self.journal.owner_name().clone(),
            ttl: self.journal.lease_time(),
        };
        Hold { lease, end, renewal: None, _place: place }
    }

    /// Writes a decision unless there is one, and returns the one that counts.
    pub(super) async fn decide(
        &self,
        workflow: &WorkflowId,
        epoch: u64,
        decision: Decision,
    ) -> Result<Decision, StoreError> {
        // A damaged decision is an error here, where `begin` would take it for none.
        if let Some(decision) = self.decided(workflow).await? {
            return Ok(decision);
        }
        match self.write(workflow, epoch, decision).await {
            // Who took the transaction over decides it, and perhaps has.
            Err(error @ (StoreError::Fenced { .. } | StoreError::Stale { .. })) => {
                self.decided(workflow).await?.ok_or(error)
            }
            written => written,
        }
    }

    async fn write(
        &self,
        workflow: &WorkflowId,
        epoch: u64,
        decision: Decision,
    ) -> Result<Decision, StoreError> {
        let begun = begin(workflow, DECISION, Claim::Held { epoch }, false);
        let record = match self.store().begin(&begun).await? {
            Begun::Fresh(ticket) => {
                let bytes = serde_json::to_vec(&decision).map_err(|_| misplaced(workflow))?;
                self.store().complete(&ticket, entry(bytes)).await?.record
            }
            Begun::Completed { record } => record,
            _ => return Err(misplaced(workflow)),
        };
        read(&record)
    }

    /// The decision that was written.
    async fn decided(&self, workflow: &WorkflowId) -> Result<Option<Decision>, StoreError> {
        let found = self.store().latest(workflow, Some(&DECISION.into())).await?;
        found.map(|found| read(&found.record)).transpose()
    }

    /// Writes the end, with which the workflow is finished.
    pub(super) async fn close(
        &self,
        end: &Ticket,
        decision: Decision,
        contrary: Vec<String>,
    ) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(&Closing { decision, contrary })
            .map_err(|_| misplaced(&end.workflow))?;
        self.store().complete(end, entry(bytes).finish()).await.map(drop)
    }

    pub(super) async fn renew(&self, lease: &Lease) -> Result<(), StoreError> {
        self.store().renew(lease, lease.ttl).await.map(drop)
    }

    pub(super) async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.store().release(lease).await
    }

    /// Transactions that were not ended and that no other coordinator holds.
    pub(super) async fn unfinished(&self) -> Result<Vec<WorkflowId>, StoreError> {
        const PAGE: usize = 256;
        let namespace = self.journal.workflow("").namespace;
        let mut unfinished = Vec::new();
        let mut after = None;
        loop {
            let page = self.store().list(Some(&namespace), after.as_ref(), PAGE).await?;
            let last = page.len() < PAGE;
            after = page.last().map(|summary| summary.workflow.clone());
            unfinished.extend(page.into_iter().filter_map(|summary| {
                let elsewhere =
                    summary.held.is_some_and(|(owner, _)| owner != *self.journal.owner_name());
                (summary.life == Life::Open && !elsewhere).then_some(summary.workflow)
            }));
            if last {
                return Ok(unfinished);
            }
        }
    }

    /// Takes an unfinished transaction up, with the names of its participants. `None` if it is none, or
    /// somebody else is at it.
    pub(super) async fn take_up(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Option<(Hold, Vec<String>)>, StoreError> {
        let Ok(place) = self.journal.enter(workflow, &END.into()) else { return Ok(None) };
        // Workflows of another kind may have got into the namespace: they are left alone.
        match self.store().latest(workflow, Some(&END.into())).await? {
            Some(end) if end.record.fingerprint == mark() => {}
            _ => return Ok(None),
        }
        let (owner, ttl) = (self.journal.owner_name(), self.journal.lease_time());
        let lease = match self.store().acquire(workflow, owner, ttl).await {
            Ok(lease) => lease,
            Err(StoreError::Held { .. } | StoreError::Deleted { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        match self.resume(&lease).await {
            Ok(Some((end, names))) => {
                Ok(Some((self.hold(workflow, lease.epoch, end, place), names)))
            }
            other => {
                self.release(&lease).await?;
                other.map(|_| None)
            }
        }
    }

    async fn resume(&self, lease: &Lease) -> Result<Option<(Ticket, Vec<String>)>, StoreError> {
        let workflow = &lease.workflow;
        let begun = begin(workflow, END, Claim::Held { epoch: lease.epoch }, false);
        let Begun::Fresh(end) = self.store().begin(&begun).await? else { return Ok(None) };
        let opened = self.store().latest(workflow, Some(&BEGIN.into())).await?;
        let names = match opened {
            Some(opened) => {
                let Opened { participants } = read(&opened.record)?;
                participants.into_iter().map(|(name, _)| name).collect()
            }
            // It came no further than its id: nobody was asked.
            None => Vec::new(),
        };
        Ok(Some((end, names)))
    }

    /// What can be said of a transaction, `None` if its id was never used.
    pub(super) async fn outcome(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Option<Outcome>, StoreError> {
        let end = match self.store().latest(workflow, Some(&END.into())).await? {
            Some(end) if end.record.fingerprint == mark() => end.record,
            _ => return Ok(None),
        };
        if end.status == Status::Done {
            let Closing { decision, contrary } = read(&end)?;
            return Ok(Some(if contrary.is_empty() {
                decision.into()
            } else {
                Outcome::Mixed(decision)
            }));
        }
        let decision = self.decided(workflow).await?;
        Ok(Some(decision.map_or(Outcome::InDoubt, Outcome::from)))
    }
}

/// By this the steps of transactions are known from others of the same names.
fn mark() -> Digest {
    Digest::of(b"buttress transaction 1")
}

fn begin(workflow: &WorkflowId, step: &'static str, claim: Claim, intent: bool) -> Begin {
    Begin {
        workflow: workflow.clone(),
        step: StepId::new(step),
        fingerprint: mark(),
        claim,
        intent,
        restart: None,
    }
}

fn entry(bytes: Vec<u8>) -> Entry {
    Entry::done(Payload { codec: Payload::JSON, schema: 1, bytes })
}

fn read<T: DeserializeOwned>(record: &Record) -> Result<T, StoreError> {
    serde_json::from_slice(&record.payload.bytes).map_err(|_| StoreError::Corrupt {
        workflow: record.workflow.clone(),
        version: Some(record.version),
        damage: Damage::Misplaced,
    })
}

/// Something else than a transaction is in the way.
fn misplaced(workflow: &WorkflowId) -> StoreError {
    let damage = Damage::Misplaced;
    StoreError::Corrupt { workflow: workflow.clone(), version: None, damage }
}
