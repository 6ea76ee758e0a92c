//! The operations.

use std::{sync::Arc, time::Duration};

use buttress::store::{
    Append, Audit, Begin, Begun, Claim, Entry, Fence, Finding, Found, Lease, Pending, Pruned,
    Record, Sealed, Settled, StepId, Store, StoreError, Summary, Ticket, Version, WorkflowId,
    ledger,
};

use super::{
    PostgresStore,
    engine::{Read, missing, unsigned},
    row::{COLUMNS, column, signed},
    sql::Epoch,
};

/// When one that comes with a claim needs an epoch: to bring a workflow into being, or to follow another as
/// its owner. The second is seen only when the head was read.
const fn epoch(claim: &Claim) -> Epoch {
    match claim {
        Claim::Shared | Claim::Take { .. } => Epoch::New,
        Claim::Held { .. } => Epoch::Never,
    }
}

impl Store for PostgresStore {
    fn acquire<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Lease> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_names(workflow, None)?;
            shared
                .decide(workflow, None, Epoch::New, |head, _, now, next| {
                    ledger::acquire(head, workflow, owner, ttl, now, next)
                })
                .await
        })
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> Pending<'a, Lease> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_names(&lease.workflow, None)?;
            shared
                .decide(&lease.workflow, None, Epoch::Never, |head, _, now, _| {
                    ledger::renew(head, lease, ttl, now)
                })
                .await
        })
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> Pending<'a, ()> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_names(&lease.workflow, None)?;
            shared
                .decide(&lease.workflow, None, Epoch::Never, |head, _, _, _| {
                    Ok(ledger::release(head, lease))
                })
                .await
        })
    }

    fn claim<'a>(
        &'a self,
        namespace: &'a str,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Option<Lease>> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_name("a namespace", namespace)?;
            shared.claim(namespace, owner, ttl).await
        })
    }

    fn begin<'a>(&'a self, begin: &'a Begin) -> Pending<'a, Begun> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_names(&begin.workflow, Some(&begin.step))?;
            let epoch = match &begin.claim {
                // Nothing is written, and so nothing comes into being.
                Claim::Shared if !begin.intent => Epoch::Never,
                claim => epoch(claim),
            };
            shared
                .decide(&begin.workflow, Some(&begin.step), epoch, |head, slot, now, next| {
                    ledger::begin(head, slot, begin, now, next)
                })
                .await
        })
    }

    fn complete<'a>(&'a self, ticket: &'a Ticket, entry: Entry) -> Pending<'a, Settled> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_names(&ticket.workflow, Some(&ticket.step))?;
            let epoch = match ticket.fence {
                Fence::Born(None) => Epoch::New,
                Fence::Born(Some(_)) | Fence::Epoch(_) => Epoch::Never,
            };
            shared
                .decide(&ticket.workflow, Some(&ticket.step), epoch, |head, slot, now, next| {
                    let entry = entry.clone();
                    ledger::complete(head, slot, ticket, entry, now, next, &shared.retention)
                })
                .await
        })
    }

    fn append(&self, append: Append) -> Pending<'_, Sealed> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_names(&append.workflow, Some(&append.step))?;
            let epoch = epoch(&append.claim);
            shared
                .decide(&append.workflow, Some(&append.step), epoch, |head, slot, now, next| {
                    ledger::append(head, slot, append.clone(), now, next, &shared.retention)
                })
                .await
        })
    }

    fn finish<'a>(&'a self, workflow: &'a WorkflowId, claim: &'a Claim) -> Pending<'a, ()> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_names(workflow, None)?;
            shared
                .decide(workflow, None, epoch(claim), |head, _, now, next| {
                    ledger::finish(head, workflow, claim, now, next)
                })
                .await
        })
    }

    fn latest<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        step: Option<&'a StepId>,
    ) -> Pending<'a, Option<Found>> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_names(workflow, step)?;
            shared.latest(workflow, step).await
        })
    }

    fn get<'a>(&'a self, workflow: &'a WorkflowId, version: u64) -> Pending<'a, Sealed> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_names(workflow, None)?;
            let at = signed(version);
            let (_session, rows) = shared
                .ask(&shared.sql.get, &[&&*workflow.namespace, &&*workflow.workflow, &at])
                .await?;
            let row = rows.first().ok_or_else(|| missing(workflow, Some(version)))?;
            let sealed: &[u8] = column(row, 0).map_err(|error| shared.tell(error))?;
            Record::open_at(sealed, workflow, version).map_err(|damage| StoreError::Corrupt {
                workflow: workflow.clone(),
                version: Some(version),
                damage,
            })
        })
    }

    fn history<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        after: u64,
        most: usize,
    ) -> Pending<'a, Vec<Version>> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_names(workflow, None)?;
            let (after, most) = (signed(after), signed(most as u64));
            let (_session, rows) = shared
                .ask(
                    &shared.sql.history,
                    &[&&*workflow.namespace, &&*workflow.workflow, &after, &most],
                )
                .await?;
            if rows.is_empty() {
                return Err(missing(workflow, None));
            }
            let mut history = Vec::with_capacity(rows.len());
            for row in &rows {
                let tell = |error| shared.tell(error);
                let version: Option<i64> = column(row, 0).map_err(tell)?;
                let sealed: Option<&[u8]> = column(row, 1).map_err(tell)?;
                let (Some(version), Some(sealed)) = (version.map(unsigned), sealed) else {
                    continue;
                };
                history.push(match Record::open_at(sealed, workflow, version) {
                    Ok(record) => Version::Intact(record),
                    Err(damage) => Version::Damaged(Finding { version, damage }),
                });
            }
            Ok(history)
        })
    }

    fn list<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>> {
        let shared = &*self.shared;
        let statement = shared.sql.list(namespace.is_some(), after.is_some());
        shared.within(shared.list(statement, namespace, after, most))
    }

    fn unfinished<'a>(
        &'a self,
        namespace: &'a str,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>> {
        let shared = &*self.shared;
        let statement = shared.sql.open(after.is_some());
        shared.within(shared.list(statement, Some(namespace), after, most))
    }

    fn summary<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Option<Summary>> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_names(workflow, None)?;
            let (_session, Read { now, kept, .. }) =
                shared.read(workflow, None, Epoch::Never).await?;
            Ok(kept.map(|kept| Summary::of(&kept.head, now)))
        })
    }

    fn fork<'a>(
        &'a self,
        from: &'a WorkflowId,
        at: u64,
        to: &'a WorkflowId,
    ) -> Pending<'a, Summary> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_names(from, None)?;
            ledger::check_names(to, None)?;
            shared.fork(from, at, to).await
        })
    }

    fn delete<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, ()> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_names(workflow, None)?;
            shared
                .decide(workflow, None, Epoch::Always, |head, _, now, next| {
                    ledger::delete(head, workflow, now, next)
                })
                .await
        })
    }

    fn prune<'a>(&'a self, namespace: Option<&'a str>) -> Pending<'a, Pruned> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_name("a namespace", namespace.unwrap_or_default())?;
            shared.prune(namespace).await
        })
    }

    fn verify<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Audit> {
        let shared = &*self.shared;
        shared.within(async move {
            ledger::check_names(workflow, None)?;
            let (_session, rows) =
                shared.ask(&shared.sql.all, &[&&*workflow.namespace, &&*workflow.workflow]).await?;
            let (head, records) = shared.versions(workflow, &rows)?;
            let mut steps = Vec::new();
            for row in &rows {
                let tell = |error| shared.tell(error);
                let at = COLUMNS.len();
                let step: Option<&str> = column(row, at + 2).map_err(tell)?;
                if let Some(name) = step {
                    let version = column::<i64>(row, at).map(unsigned).map_err(tell)?;
                    let occurrence: i64 = column(row, at + 3).map_err(tell)?;
                    // One that no step has points to nothing that is found there.
                    let occurrence = u32::try_from(occurrence).unwrap_or(u32::MAX);
                    steps.push((StepId::new(name).occurrence(occurrence), version));
                }
            }
            Ok(ledger::audit(&head, records, steps))
        })
    }
}
