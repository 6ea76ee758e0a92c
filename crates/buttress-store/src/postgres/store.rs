//! The operations.

use std::{sync::Arc, time::Duration};

use buttress::store::{
    Append, Audit, Begin, Begun, Claim, Damage, Entry, Fence, Finding, Found, Lease, Life, Pending,
    Pruned, Record, Sealed, Settled, StepId, Store, StoreError, Summary, Ticket, Version,
    WorkflowId, ledger,
};

use super::{
    PostgresStore,
    engine::{Read, missing},
    row::signed,
    sql::Epoch,
    whole::Whole,
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
            let records = shared.records(&shared.sql.get, workflow, &[&signed(version)]).await?;
            let mut records = records.into_iter().flatten();
            let (_, sealed) = records
                .find(|(at, _)| *at == version)
                .ok_or_else(|| missing(workflow, Some(version)))?;
            Record::open_at(&sealed, workflow, version).map_err(|damage| StoreError::Corrupt {
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
            let records = shared
                .records(&shared.sql.history, workflow, &[&signed(after), &signed(most as u64)])
                .await?
                .ok_or_else(|| missing(workflow, None))?;
            let open =
                |(version, bytes): (u64, Vec<u8>)| match Record::open_at(&bytes, workflow, version)
                {
                    Ok(record) => Version::Intact(record),
                    Err(damage) => Version::Damaged(Finding { version, damage }),
                };
            let after = records.into_iter().filter(|(version, _)| *version > after);
            Ok(after.take(most).map(open).collect())
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
            let (session, Read { now, kept, .. }) =
                shared.read(workflow, None, Epoch::Never).await?;
            drop(session);
            let head = match kept {
                Ok(kept) => kept.map(|kept| kept.head),
                Err(_) => shared.look(workflow).await?.map(|whole| whole.head),
            };
            Ok(head.map(|head| Summary::of(&head, now)))
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
            let deleted = shared.decide(workflow, None, Epoch::Always, |head, _, now, next| {
                ledger::delete(head, workflow, now, next)
            });
            match deleted.await {
                // Of a workflow that is beyond repair, what is left can still be deleted.
                Err(StoreError::Corrupt { .. }) => shared.bury(workflow).await,
                deleted => deleted,
            }
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
            let whole = shared.look(workflow).await?.ok_or_else(|| missing(workflow, None))?;
            let Whole { head, rebuilt, born, records, steps, .. } = whole;
            let steps = steps.into_iter().map(|(step, newest)| (step, newest.version));
            let mut audit = ledger::audit(&head, records, steps);
            // Without its birth the next damage would be beyond repair.
            if rebuilt || !born && head.life != Life::Deleted {
                audit.findings.insert(0, Finding { version: 0, damage: Damage::Digest });
            }
            Ok(audit)
        })
    }
}
