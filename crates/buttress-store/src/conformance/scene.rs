//! What most cases set up and do.

use std::{sync::Arc, time::Duration};

use buttress::store::{
    Append, Begin, Begun, Claim, Digest, Entry, Lease, Payload, Retention, Sealed, StepId, Store,
    Summary, Ticket, Version, WorkflowId,
};

use super::{Change, Outcome, Subject, say::At};

/// The namespace of nearly all cases.
pub(super) const NAMESPACE: &str = "conformance";
/// Longer than any case takes, however slow the engine.
pub(super) const LONG: Duration = Duration::from_secs(24 * 3_600);
/// Over after [`Scene::outlast`]. No case relies on one that is not over yet.
pub(super) const BRIEF: Duration = Duration::from_millis(20);

/// A store in a home of its own.
pub(super) struct Scene<'a, S: Subject> {
    subject: &'a S,
    home: S::Home,
    pub(super) store: S::Store,
}

impl<'a, S: Subject> Scene<'a, S> {
    pub(super) async fn set(subject: &'a S) -> Result<Self, String> {
        Self::keep(subject, Retention::default()).await
    }

    /// With a store that keeps so much.
    pub(super) async fn keep(subject: &'a S, retention: Retention) -> Result<Self, String> {
        let home = subject.home().await.at("making a home")?;
        let store = subject.open(&home, retention).await.at("opening the store")?;
        Ok(Self { subject, home, store })
    }

    /// As after a restart.
    pub(super) async fn reopen(self, retention: Retention) -> Result<Self, String> {
        let Self { subject, home, store } = self;
        drop(store);
        let store = subject.open(&home, retention).await.at("opening the store again")?;
        Ok(Self { subject, home, store })
    }

    /// As after a restart, before which the head of a workflow rotted; `None` if it has none.
    pub(super) async fn behead(self, workflow: &WorkflowId) -> Result<Option<Self>, String> {
        let Self { subject, home, store } = self;
        drop(store);
        if !subject.behead(&home, workflow).await {
            return Ok(None);
        }
        let store =
            subject.open(&home, Retention::default()).await.at("opening the store again")?;
        Ok(Some(Self { subject, home, store }))
    }

    pub(super) async fn pass(&self, time: Duration) {
        self.subject.pass(time).await;
    }

    /// Waits until what was to last for [`BRIEF`] is over.
    pub(super) async fn outlast(&self) {
        self.pass(BRIEF * 2).await;
    }

    pub(super) async fn tamper(
        &self,
        workflow: &WorkflowId,
        version: u64,
        change: Change<'_>,
    ) -> Outcome {
        let found = self.subject.tamper(&self.home, &self.store, workflow, version, change).await;
        ensure!(found, "version {version} of {workflow} is not there to be damaged");
        Ok(())
    }

    /// Flips a bit of a stored record.
    pub(super) async fn flip(&self, workflow: &WorkflowId, version: u64) -> Outcome {
        self.tamper(workflow, version, &|bytes| {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            if let Some(byte) = bytes.get_mut(middle) {
                *byte ^= 1;
            }
            Some(bytes)
        })
        .await
    }

    pub(super) async fn lose(&self, workflow: &WorkflowId, version: u64) -> Outcome {
        self.tamper(workflow, version, &|_| None).await
    }

    pub(super) async fn acquire(
        &self,
        workflow: &WorkflowId,
        name: &str,
        ttl: Duration,
    ) -> Result<Lease, String> {
        let taken = self.store.acquire(workflow, &owner(name), ttl).await;
        taken.at(format_args!("`{name}` takes {workflow}"))
    }

    /// Begins a step that must be fresh.
    pub(super) async fn fresh(&self, begin: &Begin) -> Result<Ticket, String> {
        let begun = self.store.begin(begin).await.at(format_args!("beginning {}", begin.step))?;
        expect!(begun, Begun::Fresh(ticket) => Ok(ticket), "beginning {}", begin.step)
    }

    /// Begins a step that must be in doubt.
    pub(super) async fn pending(&self, begin: &Begin) -> Result<Sealed, String> {
        let begun = self.store.begin(begin).await.at(format_args!("beginning {}", begin.step))?;
        expect!(begun, Begun::Pending { record, .. } => Ok(record), "beginning {}", begin.step)
    }

    /// Begins a step that must have been done.
    pub(super) async fn completed(&self, begin: &Begin) -> Result<Sealed, String> {
        let begun = self.store.begin(begin).await.at(format_args!("beginning {}", begin.step))?;
        expect!(begun, Begun::Completed { record } => Ok(record), "beginning {}", begin.step)
    }

    /// Writes the outcome of a step, which must count.
    pub(super) async fn complete(&self, ticket: &Ticket, result: &str) -> Result<Sealed, String> {
        let settled = self.store.complete(ticket, done(result)).await;
        let settled = settled.at(format_args!("completing {}", ticket.step))?;
        ensure!(settled.ours, "the only outcome of {} does not count", ticket.step);
        same!(settled.record.payload, text(result), "the outcome of {}", ticket.step);
        Ok(settled.record)
    }

    /// Does a step from its beginning to its end.
    pub(super) async fn step(&self, begin: &Begin, result: &str) -> Result<Sealed, String> {
        let ticket = self.fresh(begin).await?;
        self.complete(&ticket, result).await
    }

    /// Saves a state, whatever there is.
    pub(super) async fn save(
        &self,
        workflow: &WorkflowId,
        name: &str,
        value: &str,
    ) -> Result<Sealed, String> {
        self.store.append(state(workflow, name, value)).await.at(format_args!("saving {name}"))
    }

    pub(super) async fn summary(&self, workflow: &WorkflowId) -> Result<Summary, String> {
        let summary = self.store.summary(workflow).await;
        summary.at("reading a summary")?.at(format_args!("the summary of {workflow}"))
    }

    /// All that is kept of a workflow, which must be intact.
    pub(super) async fn history(&self, workflow: &WorkflowId) -> Result<Vec<Sealed>, String> {
        let history = self.store.history(workflow, 0, usize::MAX).await;
        let mut records = Vec::new();
        for version in history.at(format_args!("reading the history of {workflow}"))? {
            records.push(
                expect!(version, Version::Intact(record) => record, "the history of {workflow}"),
            );
        }
        Ok(records)
    }

    /// Holds a workflow to having as many versions, all kept, without a gap, chained and sound.
    pub(super) async fn sound(&self, workflow: &WorkflowId, versions: u64) -> Outcome {
        let records = self.history(workflow).await?;
        let found: Vec<u64> = records.iter().map(|record| record.version).collect();
        let expected: Vec<u64> = (1..=versions).collect();
        same!(found, expected, "the versions of {workflow}");
        let mut previous = Digest::default();
        for record in &records {
            same!(record.previous, previous, "what version {} follows", record.version);
            previous = record.digest;
        }
        same!(self.summary(workflow).await?.latest, versions, "the newest version of {workflow}");
        self.verified(workflow).await
    }

    /// Holds a workflow to having nothing wrong with it.
    pub(super) async fn verified(&self, workflow: &WorkflowId) -> Outcome {
        let audit = self.store.verify(workflow).await.at(format_args!("verifying {workflow}"))?;
        ensure!(
            audit.findings.is_empty(),
            "{workflow} is sound, and damage was found: {:?}",
            audit.findings
        );
        Ok(())
    }
}

pub(super) fn workflow(name: &str) -> WorkflowId {
    WorkflowId::new(NAMESPACE, name)
}

pub(super) fn owner(name: &str) -> Arc<str> {
    name.into()
}

/// To take a workflow, and to hold it for as long as the case takes.
pub(super) fn take(name: &str) -> Claim {
    Claim::Take { owner: owner(name), ttl: LONG }
}

pub(super) fn held(lease: &Lease) -> Claim {
    Claim::Held { epoch: lease.epoch }
}

/// To begin a step with an effect.
pub(super) fn intend(workflow: &WorkflowId, step: impl Into<StepId>, claim: Claim) -> Begin {
    Begin {
        workflow: workflow.clone(),
        step: step.into(),
        fingerprint: Digest::of(b"request"),
        claim,
        intent: true,
        restart: None,
        mark: None,
    }
}

/// To begin a step that may be done twice.
pub(super) fn attempt(workflow: &WorkflowId, step: impl Into<StepId>, claim: Claim) -> Begin {
    Begin { intent: false, ..intend(workflow, step, claim) }
}

/// To begin again what was begun at a version.
pub(super) fn again(begin: &Begin, version: u64) -> Begin {
    Begin { restart: Some(version), ..begin.clone() }
}

pub(super) fn text(text: &str) -> Payload {
    Payload { codec: Payload::BYTES, schema: 7, bytes: text.as_bytes().to_vec() }
}

pub(super) fn done(result: &str) -> Entry {
    Entry::done(text(result))
}

/// To add a version of a state without a lease, whatever there is.
pub(super) fn state(workflow: &WorkflowId, name: &str, value: &str) -> Append {
    Append {
        workflow: workflow.clone(),
        step: name.into(),
        claim: Claim::Shared,
        expect: None,
        parent: None,
        fingerprint: Digest::default(),
        entry: Entry::state(text(value)),
    }
}
