//! What was begun and has to be brought to its end: transactions, sagas.
//!
//! Each is a workflow of the store. Of the steps that they have in common, the intent of the last is written
//! first: by it the id is taken, and the store keeps the workflow, however old, until its end.

use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use buttress::store::{
    Begin, Begun, Claim, Damage, Digest, Entry, Fence, Journal, Keeper, Lease, Payload, Place,
    Record, Status, Store, StoreError, Ticket, WorkflowId,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

/// A store as far as workflows of one kind go.
#[derive(Clone)]
pub(crate) struct Docket {
    journal: Journal,
    kind: Kind,
}

/// What kind of workflow, and what its first and last step are called.
#[derive(Clone)]
pub(crate) struct Kind {
    /// By this the steps are known from others of the same names.
    pub(crate) mark: Digest,
    pub(crate) begin: &'static str,
    pub(crate) end: &'static str,
}

/// A workflow that is held: nobody else in this process has its place, and no other process its lease.
pub(crate) struct Hold {
    pub(crate) lease: Lease,
    /// Whether the lease is kept alive here, and not by whoever gave it to the journal.
    ours: bool,
    end: Ticket,
    keeper: Option<Keeper>,
    _place: Place,
}

impl Hold {
    /// Keeps the lease, and says why it is over.
    pub(crate) async fn lost(&mut self) -> StoreError {
        let Some(keeper) = &mut self.keeper else { return pending().await };
        let error = keeper.hold().await;
        self.keeper = None;
        error
    }

    /// Waits for a future, and keeps the lease meanwhile. If it is lost, the next write finds out.
    pub(crate) async fn keep<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut kept = pin!(async {
            self.lost().await;
            pending::<()>().await;
        });
        poll_fn(|cx| {
            let poll = future.as_mut().poll(cx);
            if poll.is_pending() {
                let _ = kept.as_mut().poll(cx);
            }
            poll
        })
        .await
    }

    /// The right to write the end.
    pub(crate) fn end(&self) -> Ticket {
        self.end.clone()
    }
}

/// What came of taking a workflow up.
pub(crate) enum TakenUp {
    /// It is held now; with what was written at its begin, if it came so far.
    Held(Box<Hold>, Option<Record>),
    /// It has ended; with what was written then.
    Ended(Record),
    /// Another process holds it.
    Elsewhere { owner: Arc<str>, retry_after: Duration },
    /// This process is at it.
    Here,
    /// There is none of this kind.
    Unknown,
}

impl Docket {
    pub(crate) const fn new(journal: Journal, kind: Kind) -> Self {
        Self { journal, kind }
    }

    pub(crate) const fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn workflow(&self, id: &str) -> WorkflowId {
        self.journal.workflow(id)
    }

    /// Under a lease that was given to us there is one workflow.
    fn check(&self, workflow: &WorkflowId) -> Result<(), StoreError> {
        match self.journal.lease() {
            Some(lease) if lease.workflow != *workflow => Err(StoreError::Invalid {
                what: "the id",
                why: "is not that of the workflow whose lease the journal holds",
            }),
            _ => Ok(()),
        }
    }

    fn store(&self) -> &dyn Store {
        &**self.journal.store()
    }

    /// Enters a workflow, `None` if its id was used before.
    pub(crate) async fn open(
        &self,
        workflow: &WorkflowId,
        fingerprint: Digest,
        payload: Vec<u8>,
    ) -> Result<Option<Box<Hold>>, StoreError> {
        self.check(workflow)?;
        let Ok(place) = self.journal.enter(workflow, &self.kind.end.into()) else {
            return Ok(None);
        };
        let claim = self.journal.claim(workflow, true)?;
        let asked = Instant::now();
        let begun = self.begin(workflow, self.kind.end, self.kind.mark, claim, true).await;
        let end = match begun {
            Ok(Begun::Fresh(ticket)) => ticket,
            Ok(_) | Err(StoreError::Held { .. } | StoreError::Deleted { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Fence::Epoch(epoch) = end.fence else { return Err(misplaced(workflow)) };
        let lease = self.lease(workflow, epoch);
        self.once(&lease, self.kind.begin, fingerprint, payload).await?;
        Ok(Some(Box::new(self.hold(lease, asked, end, place))))
    }

    fn lease(&self, workflow: &WorkflowId, epoch: u64) -> Lease {
        Lease {
            workflow: workflow.clone(),
            epoch,
            owner: self.journal.owner_name().clone(),
            ttl: self.journal.lease_time(),
        }
    }

    /// Holds a workflow by a lease that was asked for at `asked`, or later.
    fn hold(&self, lease: Lease, asked: Instant, end: Ticket, place: Place) -> Hold {
        let ours = self.journal.lease().is_none();
        let keeper = ours.then(|| {
            Keeper::new(self.journal.store().clone(), lease.clone(), asked, Duration::ZERO)
        });
        Hold { lease, ours, end, keeper, _place: place }
    }

    async fn begin(
        &self,
        workflow: &WorkflowId,
        step: &'static str,
        fingerprint: Digest,
        claim: Claim,
        intent: bool,
    ) -> Result<Begun, StoreError> {
        let (workflow, step) = (workflow.clone(), step.into());
        let begin = Begin { workflow, step, fingerprint, claim, intent, restart: None, mark: None };
        self.store().begin(&begin).await
    }

    /// Writes a step unless it was written before, and returns what was written first.
    pub(crate) async fn once(
        &self,
        lease: &Lease,
        step: &'static str,
        fingerprint: Digest,
        payload: Vec<u8>,
    ) -> Result<Record, StoreError> {
        let workflow = &lease.workflow;
        // A damaged record is an error here, where `begin` would take it for none.
        if let Some(record) = self.read(workflow, step).await? {
            return Ok(record);
        }
        let claim = Claim::Held { epoch: lease.epoch };
        let written = match self.begin(workflow, step, fingerprint, claim, false).await {
            Ok(Begun::Fresh(ticket)) => {
                let settled = self.store().complete(&ticket, entry(payload)).await;
                settled.map(|settled| settled.record.record)
            }
            Ok(Begun::Completed { record }) => Ok(record.record),
            Ok(_) => Err(misplaced(workflow)),
            Err(error) => Err(error),
        };
        match written {
            // Whoever took the workflow over writes it, and perhaps has.
            Err(error @ (StoreError::Fenced { .. } | StoreError::Stale { .. })) => {
                self.read(workflow, step).await?.ok_or(error)
            }
            written => written,
        }
    }

    /// What was written of a step.
    pub(crate) async fn read(
        &self,
        workflow: &WorkflowId,
        step: &'static str,
    ) -> Result<Option<Record>, StoreError> {
        let found = self.store().latest(workflow, Some(&step.into())).await?;
        Ok(found.map(|found| found.record.record))
    }

    /// Writes the end. The workflow is finished with it, unless it is somebody else's, such as a worker's, who has
    /// something to write yet.
    pub(crate) async fn close(&self, end: &Ticket, payload: Vec<u8>) -> Result<(), StoreError> {
        let entry = entry(payload);
        let entry = if self.journal.lease().is_none() { entry.finish() } else { entry };
        self.store().complete(end, entry).await.map(drop)
    }

    /// Lets others take the workflow up. If that fails, they have to wait for the end of the lease.
    pub(crate) async fn release(&self, hold: &Hold) {
        if hold.ours {
            let _ = self.store().release(&hold.lease).await;
        }
    }

    /// Workflows that were not ended and that no other process holds, those of other kinds among them.
    pub(crate) async fn unfinished(&self) -> Result<Vec<WorkflowId>, StoreError> {
        const PAGE: usize = 256;
        if let Some(lease) = self.journal.lease() {
            return Ok(vec![lease.workflow.clone()]);
        }
        let namespace = self.journal.workflow("").namespace;
        let mut unfinished = Vec::new();
        let mut after = None;
        loop {
            let page = self.store().unfinished(&namespace, after.as_ref(), PAGE).await?;
            let last = page.len() < PAGE;
            after = page.last().map(|summary| summary.workflow.clone());
            unfinished.extend(page.into_iter().filter_map(|summary| {
                let elsewhere =
                    summary.held.is_some_and(|(owner, _)| owner != *self.journal.owner_name());
                (!elsewhere).then_some(summary.workflow)
            }));
            if last {
                return Ok(unfinished);
            }
        }
    }

    /// Takes a workflow up that was begun before.
    pub(crate) async fn take_up(&self, workflow: &WorkflowId) -> Result<TakenUp, StoreError> {
        self.check(workflow)?;
        let Ok(place) = self.journal.enter(workflow, &self.kind.end.into()) else {
            return Ok(TakenUp::Here);
        };
        // Workflows of another kind may be in the namespace: they are left alone.
        match self.read(workflow, self.kind.end).await? {
            Some(end) if end.fingerprint != self.kind.mark => return Ok(TakenUp::Unknown),
            Some(end) if end.status == Status::Done => return Ok(TakenUp::Ended(end)),
            Some(_) => {}
            None => return Ok(TakenUp::Unknown),
        }
        let asked = Instant::now();
        let lease = match self.journal.lease() {
            Some(lease) => lease.clone(),
            None => {
                let (owner, ttl) = (self.journal.owner_name(), self.journal.lease_time());
                match self.store().acquire(workflow, owner, ttl).await {
                    Ok(lease) => lease,
                    Err(StoreError::Held { owner, retry_after, .. }) => {
                        return Ok(TakenUp::Elsewhere { owner, retry_after });
                    }
                    Err(StoreError::Deleted { .. }) => return Ok(TakenUp::Unknown),
                    Err(error) => return Err(error),
                }
            }
        };
        let resumed = self.resume(&lease).await;
        if !matches!(resumed, Ok((Begun::Fresh(_), _))) && self.journal.lease().is_none() {
            self.store().release(&lease).await?;
        }
        match resumed? {
            (Begun::Fresh(end), opened) => {
                Ok(TakenUp::Held(Box::new(self.hold(lease, asked, end, place)), opened))
            }
            (Begun::Completed { record }, _) => Ok(TakenUp::Ended(record.record)),
            _ => Err(misplaced(workflow)),
        }
    }

    async fn resume(&self, lease: &Lease) -> Result<(Begun, Option<Record>), StoreError> {
        let (workflow, claim) = (&lease.workflow, Claim::Held { epoch: lease.epoch });
        let begun = self.begin(workflow, self.kind.end, self.kind.mark, claim, false).await?;
        Ok((begun, self.read(workflow, self.kind.begin).await?))
    }
}

/// What is written, as JSON.
pub(crate) fn write<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|error| error.to_string())
}

/// What was written. What cannot be read was put there by somebody else.
pub(crate) fn parse<T: DeserializeOwned>(record: &Record) -> Result<T, StoreError> {
    serde_json::from_slice(&record.payload.bytes).map_err(|_| StoreError::Corrupt {
        workflow: record.workflow.clone(),
        version: Some(record.version),
        damage: Damage::Misplaced,
    })
}

fn entry(bytes: Vec<u8>) -> Entry {
    Entry::done(Payload { codec: Payload::JSON, schema: 1, bytes })
}

/// Something else is in the way.
fn misplaced(workflow: &WorkflowId) -> StoreError {
    let damage = Damage::Misplaced;
    StoreError::Corrupt { workflow: workflow.clone(), version: None, damage }
}
