//! The operations that look at more than one row.

use std::{sync::Arc, time::Duration};

use buttress::store::{
    Found, Head, Lease, Life, Pruned, Record, StepId, StoreError, Summary, WorkflowId, ledger,
};
use tokio_postgres::{Row, types::ToSql};

use super::{
    Shared,
    engine::{self, Read, missing, unsigned},
    row::{self, COLUMNS, Kept, column, signed},
    sql::{Epoch, Place, Removal},
    trouble,
};

/// How many workflows are looked at together.
const PAGE: usize = 256;

impl Shared {
    /// A head and the versions in the rows of a statement, in the order of the rows.
    pub(super) fn versions(
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

    pub(super) async fn claim(
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
                let decided = ledger::claim(Some(head), owner, ttl, now, next)?;
                let Some(head) = decided.head else { continue };
                let place = (Place::Unlocked, Some(&*seal));
                if self.write(&mut session, head, place, &[], (Removal::Nothing, &[])).await? {
                    return Ok(decided.reply);
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
        let (_session, rows) = self.ask(statement, &parameters).await?;
        let mut list = Vec::with_capacity(rows.len());
        for row in &rows {
            let tell = |error| self.tell(error);
            let now = engine::now(row, 0).map_err(tell)?;
            if let Some(kept) = row::head(row, 1).map_err(tell)?.transpose()? {
                list.push(Summary::of(&kept.head, now));
            }
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

    pub(super) async fn fork(
        &self,
        from: &WorkflowId,
        at: u64,
        to: &WorkflowId,
    ) -> Result<Summary, StoreError> {
        loop {
            let parameters: [&(dyn ToSql + Sync); 3] =
                [&&*from.namespace, &&*from.workflow, &i64::MAX];
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
