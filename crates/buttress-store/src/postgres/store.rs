//! The operations.

use std::{sync::Arc, time::Duration};

use buttress::store::{
    Append, Audit, Begin, Begun, Claim, Entry, Fence, Finding, Found, Head, Lease, Life, Pending,
    Pruned, Record, Sealed, Settled, StepId, Store, StoreError, Summary, Ticket, Version,
    WorkflowId, ledger,
};
use tokio_postgres::Row;

use super::{
    PostgresStore, Shared,
    engine::{self, Read, unsigned},
    row::{self, COLUMNS, Kept, column, signed},
    sql::{Epoch, Place, Removal},
    trouble,
};

/// How many workflows are looked at together.
const PAGE: usize = 256;

fn missing(workflow: &WorkflowId, version: Option<u64>) -> StoreError {
    StoreError::NotFound { workflow: workflow.clone(), version }
}

/// When one that comes with a claim needs an epoch: to bring a workflow into being, or to follow another as
/// its owner. The second is seen only when the head was read.
const fn epoch(claim: &Claim) -> Epoch {
    match claim {
        Claim::Shared | Claim::Take { .. } => Epoch::New,
        Claim::Held { .. } => Epoch::Never,
    }
}

impl Shared {
    /// A head and the versions in the rows of a statement, in the order of the rows.
    fn versions(
        &self,
        workflow: &WorkflowId,
        rows: &[Row],
    ) -> Result<(Head, Vec<(u64, Vec<u8>)>), StoreError> {
        let tell = |error| self.tell(error);
        let first = rows.first().ok_or_else(|| missing(workflow, None))?;
        let kept = row::head(first, 0).map_err(tell)?.transpose()?;
        let Kept { head, .. } = kept.ok_or_else(|| missing(workflow, None))?;
        let mut versions = Vec::with_capacity(rows.len());
        for row in rows {
            let version: Option<i64> = column(row, COLUMNS.len()).map_err(tell)?;
            let sealed: Option<Vec<u8>> = column(row, COLUMNS.len() + 1).map_err(tell)?;
            if let (Some(version), Some(sealed)) = (version, sealed) {
                versions.push((unsigned(version), sealed));
            }
        }
        Ok((head, versions))
    }

    async fn claim(
        &self,
        namespace: &str,
        owner: &Arc<str>,
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        let mut most = 8_i64;
        loop {
            let (mut session, rows) = self.ask(&self.sql.free, &[&namespace, &most]).await?;
            let (mut lost, mut rotten) = (0, 0);
            for row in &rows {
                let now = engine::now(row, 0).map_err(|error| self.tell(error))?;
                let next = column::<i64>(row, 1).map(unsigned).map_err(|error| self.tell(error))?;
                let (head, seal) = match row::head(row, 2).map_err(|error| self.tell(error))? {
                    Some(Ok(Kept { head, seal })) => (head, seal),
                    Some(Err(head)) => {
                        self.tell_damage(&head);
                        rotten += 1;
                        continue;
                    }
                    None => continue,
                };
                let workflow = head.workflow.clone();
                let decided = ledger::acquire(Some(head), &workflow, owner, ttl, now, next)?;
                let Some(head) = decided.head else { return Ok(Some(decided.reply)) };
                let place = (Place::Unlocked, Some(&*seal));
                if self.write(&mut session, head, place, &[], (Removal::Nothing, &[])).await? {
                    return Ok(Some(decided.reply));
                }
                lost += 1;
            }
            if rotten == rows.len() && signed(rotten as u64) == most {
                // All that were looked at: there may be others behind them.
                most = most.saturating_mul(8);
            } else if lost == 0 {
                return Ok(None);
            }
        }
    }

    async fn latest(
        &self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
    ) -> Result<Option<Found>, StoreError> {
        let name = step.map(|step| &*step.name);
        let occurrence = step.map(|step| i64::from(step.occurrence));
        let (mut session, rows) = self
            .ask(
                &self.sql.newest,
                &[&&*workflow.namespace, &&*workflow.workflow, &name, &occurrence],
            )
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let tell = |error| self.tell(error);
        let kept = row::head(row, 0).map_err(tell)?.transpose()?;
        let newest = match (step, kept) {
            (Some(_), _) => column::<Option<i64>>(row, COLUMNS.len()).map_err(tell)?.map(unsigned),
            (None, Some(Kept { head, .. })) if head.life != Life::Deleted => Some(head.latest),
            _ => None,
        };
        let Some(newest) = newest.filter(|newest| *newest != 0) else { return Ok(None) };
        let sealed: Option<&[u8]> = column(row, COLUMNS.len() + 1).map_err(tell)?;
        if let Some(Ok(record)) = sealed.map(|bytes| Record::open_at(bytes, workflow, newest))
            && step.is_none_or(|step| record.step == *step)
        {
            return Ok(Some(Found { record, newest, skipped: Vec::new() }));
        }
        // Rare enough that all may be read.
        let at = signed(newest);
        let rows = session
            .query(&self.sql.backwards, &[&&*workflow.namespace, &&*workflow.workflow, &at])
            .await
            .map_err(tell)?;
        let (_, versions) = self.versions(workflow, &rows)?;
        ledger::latest(workflow, step, newest, versions).map(Some)
    }

    async fn fork(
        &self,
        from: &WorkflowId,
        at: u64,
        to: &WorkflowId,
    ) -> Result<Summary, StoreError> {
        loop {
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                [&&*from.namespace, &&*from.workflow, &signed(at)];
            let (session, rows) = self.ask(&self.sql.backwards, &parameters).await?;
            drop(session);
            let (source, mut versions) = self.versions(from, &rows)?;
            versions.reverse();
            let kept = versions
                .into_iter()
                .filter_map(|(version, bytes)| Record::open_at(&bytes, from, version).ok());
            let (mut session, Read { now, next, kept: target, .. }) =
                self.read(to, None, Epoch::New).await?;
            let target = target.map(|kept| kept.head);
            let next = next.unwrap_or(engine::UNKNOWN);
            let (head, records) = ledger::fork(target, &source, at, to, kept, now, next)?;
            let summary = Summary::of(&head, now);
            let place = (Place::New, None);
            if self.write(&mut session, head, place, &records, (Removal::Nothing, &[])).await? {
                return Ok(summary);
            }
        }
    }

    async fn delete(&self, workflow: &WorkflowId) -> Result<(), StoreError> {
        loop {
            let (mut session, Read { now, next, kept, .. }) =
                self.read(workflow, None, Epoch::Always).await?;
            let (head, seal) = kept.map(|Kept { head, seal }| (head, seal)).unzip();
            let next = next.unwrap_or(engine::UNKNOWN);
            let decided = ledger::delete(head, workflow, now, next)?;
            let (Some(head), Some(seal)) = (decided.head, seal) else { return Ok(()) };
            let place = (Place::Sealed, Some(&*seal));
            if self.write(&mut session, head, place, &[], (Removal::History, &[])).await? {
                return Ok(());
            }
        }
    }

    async fn prune(&self, namespace: Option<&str>) -> Result<Pruned, StoreError> {
        let age = |most: Option<Duration>| {
            most.map(|most| i64::try_from(most.as_millis()).unwrap_or(i64::MAX))
        };
        let (open, ended) = (age(self.retention.open), age(self.retention.ended));
        let most = signed(PAGE as u64);
        let mut pruned = Pruned::default();
        let mut after: Option<WorkflowId> = None;
        loop {
            let names = after.as_ref().map(|after| (&*after.namespace, &*after.workflow)).unzip();
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
                [&namespace, &names.0, &names.1, &open, &ended, &most];
            let (mut session, rows) = self.ask(&self.sql.old, &parameters).await?;
            let mut old = Vec::with_capacity(rows.len());
            let mut last = None;
            for row in &rows {
                let now = engine::now(row, 0).map_err(|error| self.tell(error))?;
                match row::head(row, 1).map_err(|error| self.tell(error))? {
                    Some(Ok(kept)) => {
                        last = Some(kept.head.workflow.clone());
                        if kept.head.outlived(&self.retention, now) {
                            old.push(kept);
                        }
                    }
                    // How old it is cannot be known.
                    Some(Err(head)) => {
                        self.tell_damage(&head);
                        last = Some(head.0);
                    }
                    None => {}
                }
            }
            let namespaces: Vec<&str> =
                old.iter().map(|kept| &*kept.head.workflow.namespace).collect();
            let workflows: Vec<&str> =
                old.iter().map(|kept| &*kept.head.workflow.workflow).collect();
            let seals: Vec<&[u8]> = old.iter().map(|kept| &*kept.seal).collect();
            if !old.is_empty() {
                match session.query(&self.sql.prune, &[&namespaces, &workflows, &seals]).await {
                    Ok(rows) => {
                        let row = rows.first().ok_or_else(|| self.target.nonsense())?;
                        let tell = |error| self.tell(error);
                        pruned.workflows += column::<i64>(row, 0).map(unsigned).map_err(tell)?;
                        pruned.records += column::<i64>(row, 1).map(unsigned).map_err(tell)?;
                    }
                    Err(error) if trouble::crossed(&error) => continue,
                    Err(error) => return Err(self.tell(error)),
                }
            }
            if rows.len() < PAGE {
                return Ok(pruned);
            }
            after = last;
        }
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
        shared.within(async move {
            ledger::check_name("a namespace", namespace.unwrap_or_default())?;
            after.map_or(Ok(()), |after| ledger::check_names(after, None))?;
            let most = signed(most as u64);
            let last = after.map(|after| (&*after.namespace, &*after.workflow));
            let mut parameters: row::Parameters<'_> = vec![&most];
            if let Some(namespace) = &namespace {
                parameters.push(namespace);
            }
            if let Some((namespace, workflow)) = &last {
                parameters.push(namespace);
                parameters.push(workflow);
            }
            let statement = shared.sql.list(namespace.is_some(), after.is_some());
            let (_session, rows) = shared.ask(statement, &parameters).await?;
            let mut list = Vec::with_capacity(rows.len());
            for row in &rows {
                let tell = |error| shared.tell(error);
                let now = engine::now(row, 0).map_err(tell)?;
                if let Some(kept) = row::head(row, 1).map_err(tell)?.transpose()? {
                    list.push(Summary::of(&kept.head, now));
                }
            }
            Ok(list)
        })
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
            shared.delete(workflow).await
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
