//! The operations that look at more than one row.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use buttress::store::{
    Found, Head, Lease, Life, Pruned, Record, StepId, StoreError, Summary, WorkflowId, ledger,
};
use tokio_postgres::types::ToSql;

use super::{
    Shared,
    engine::{self, Read, missing, unsigned},
    row::{self, COLUMNS, Kept, Rotten, column, signed},
    sql::{Epoch, Place, Removal},
    trouble,
    whole::Whole,
};

/// How many workflows are looked at together.
const PAGE: usize = 256;

impl Shared {
    /// The records that a statement finds of a workflow, or all if its head has rotten; `None` if there is no
    /// workflow.
    pub(super) async fn records(
        &self,
        statement: &str,
        workflow: &WorkflowId,
        more: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Vec<(u64, Vec<u8>)>>, StoreError> {
        let (namespace, name) = (&*workflow.namespace, &*workflow.workflow);
        let mut parameters: row::Parameters<'_> = vec![&namespace, &name];
        parameters.extend(more);
        let (session, rows) = self.ask(statement, &parameters).await?;
        drop(session);
        let tell = |error| self.tell(error);
        let head = rows.first().map(|row| row::head(row, 0)).transpose().map_err(tell)?.flatten();
        if !matches!(head, Some(Ok(_))) {
            return Ok(self.look(workflow).await?.map(|whole| whole.records));
        }
        let mut records = Vec::with_capacity(rows.len());
        for row in &rows {
            let version: Option<i64> = column(row, COLUMNS.len()).map_err(tell)?;
            let sealed: Option<Vec<u8>> = column(row, COLUMNS.len() + 1).map_err(tell)?;
            if let (Some(version), Some(sealed)) = (version, sealed) {
                records.push((unsigned(version), sealed));
            }
        }
        Ok(Some(records))
    }

    pub(super) async fn claim(
        &self,
        namespace: &str,
        owner: &Arc<str>,
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        let mut most = 8_i64;
        let mut tried: BTreeSet<WorkflowId> = BTreeSet::new();
        loop {
            let (mut session, rows) = self.ask(&self.sql.free, &[&namespace, &most]).await?;
            let (mut free, mut rotten) = (Vec::new(), Vec::new());
            for row in &rows {
                let now = engine::now(row, 0).map_err(|error| self.tell(error))?;
                let next = column::<i64>(row, 1).map(unsigned).map_err(|error| self.tell(error))?;
                match row::head(row, 2).map_err(|error| self.tell(error))? {
                    Some(Ok(kept)) => free.push((now, next, kept)),
                    Some(Err(Rotten { workflow, .. })) if tried.insert(workflow.clone()) => {
                        rotten.push(workflow);
                    }
                    Some(Err(_)) | None => {}
                }
            }
            if !rotten.is_empty() {
                // Whatever becomes of one, it holds up no other.
                drop(session);
                for workflow in rotten {
                    match self.mend(&workflow).await {
                        Ok(()) => {}
                        Err(StoreError::Corrupt { .. } | StoreError::NotFound { .. }) => {
                            self.tell_damage(&workflow);
                        }
                        Err(error) => return Err(error),
                    }
                }
                continue;
            }
            let (mut lost, none) = (0, free.is_empty());
            for (now, next, Kept { head, seal }) in free {
                let decided = ledger::claim(Some(head), owner, ttl, now, next)?;
                let Some(head) = decided.head else { continue };
                let place = (Place::Unlocked, Some(&*seal));
                if self.write(&mut session, head, place, &[], (Removal::Nothing, &[])).await? {
                    return Ok(decided.reply);
                }
                lost += 1;
            }
            if none && signed(rows.len() as u64) == most {
                // All that were looked at are beyond repair: there may be others behind them.
                most = most.saturating_mul(8);
            } else if lost == 0 {
                return Ok(None);
            }
        }
    }

    pub(super) async fn list(
        &self,
        statement: &str,
        namespace: Option<&str>,
        after: Option<&WorkflowId>,
        most: usize,
    ) -> Result<Vec<Summary>, StoreError> {
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
        let (session, rows) = self.ask(statement, &parameters).await?;
        // To look at one that has rotten takes another.
        drop(session);
        let mut list = Vec::with_capacity(rows.len());
        for row in &rows {
            let tell = |error| self.tell(error);
            let now = engine::now(row, 0).map_err(tell)?;
            let head = match row::head(row, 1).map_err(tell)? {
                Some(Ok(kept)) => kept.head,
                Some(Err(Rotten { workflow, .. })) => match self.look(&workflow).await {
                    Ok(Some(whole)) => whole.head,
                    // It is there, though nothing else is known: looking at it tells why.
                    Ok(None) | Err(StoreError::Corrupt { .. }) => Head::new(workflow, 0, false),
                    Err(error) => return Err(error),
                },
                None => continue,
            };
            list.push(Summary::of(&head, now));
        }
        Ok(list)
    }

    pub(super) async fn latest(
        &self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
    ) -> Result<Option<Found>, StoreError> {
        let name = step.map(|step| &*step.name);
        let occurrence = step.map(|step| i64::from(step.occurrence));
        let (session, rows) = self
            .ask(
                &self.sql.newest,
                &[&&*workflow.namespace, &&*workflow.workflow, &name, &occurrence],
            )
            .await?;
        drop(session);
        let tell = |error| self.tell(error);
        if let Some(row) = rows.first()
            && let Some(Ok(Kept { head, .. })) = row::head(row, 0).map_err(tell)?
        {
            let newest = match step {
                Some(_) => column::<Option<i64>>(row, COLUMNS.len()).map_err(tell)?.map(unsigned),
                None => current(&head),
            };
            let Some(newest) = newest else { return Ok(None) };
            let sealed: Option<&[u8]> = column(row, COLUMNS.len() + 1).map_err(tell)?;
            if let Some(Ok(record)) = sealed.map(|bytes| Record::open_at(bytes, workflow, newest))
                && step.is_none_or(|step| record.step == *step)
            {
                return Ok(Some(Found { record, newest, skipped: Vec::new() }));
            }
        }
        // Rare enough that all may be read.
        let Some(Whole { head, mut records, steps, .. }) = self.look(workflow).await? else {
            return Ok(None);
        };
        let newest = match step {
            Some(step) => {
                steps.iter().find(|(found, _)| found == step).map(|(_, newest)| newest.version)
            }
            None => current(&head),
        };
        let Some(newest) = newest else { return Ok(None) };
        records.retain(|(version, _)| *version <= newest);
        ledger::latest(workflow, step, newest, records.into_iter().rev()).map(Some)
    }

    pub(super) async fn fork(
        &self,
        from: &WorkflowId,
        at: u64,
        to: &WorkflowId,
    ) -> Result<Summary, StoreError> {
        let mut mended = false;
        loop {
            let whole = self.look(from).await?.ok_or_else(|| missing(from, None))?;
            let kept = whole
                .records
                .into_iter()
                .filter_map(|(version, bytes)| Record::open_at(&bytes, from, version).ok());
            let (mut session, Read { now, next, kept: target, .. }) =
                self.read(to, None, Epoch::New).await?;
            let target = match target {
                Err(_) if !mended => {
                    drop(session);
                    self.mend(to).await?;
                    mended = true;
                    continue;
                }
                target => target?.map(|kept| kept.head),
            };
            let next = next.unwrap_or(engine::UNKNOWN);
            let (head, records) = ledger::fork(target, &whole.head, at, to, kept, now, next)?;
            let summary = Summary::of(&head, now);
            let place = (Place::New, None);
            if self.write(&mut session, head, place, &records, (Removal::Nothing, &[])).await? {
                return Ok(summary);
            }
        }
    }

    pub(super) async fn prune(&self, namespace: Option<&str>) -> Result<Pruned, StoreError> {
        let age = |most: Option<Duration>| {
            most.map(|most| i64::try_from(most.as_millis()).unwrap_or(i64::MAX))
        };
        let (open, ended) = (age(self.retention.open), age(self.retention.ended));
        let most = signed(PAGE as u64);
        let mut pruned = Pruned::default();
        let mut after: Option<WorkflowId> = None;
        loop {
            let names = after.as_ref().map(|after| (&*after.namespace, &*after.workflow)).unzip();
            let parameters: [&(dyn ToSql + Sync); 6] =
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
                    Some(Err(Rotten { workflow, .. })) => {
                        self.tell_damage(&workflow);
                        last = Some(workflow);
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

/// The newest version that is to be had of a workflow as a whole.
fn current(head: &Head) -> Option<u64> {
    (head.latest > 0 && head.life != Life::Deleted).then_some(head.latest)
}
