//! How an operation reads, decides and writes.

use buttress::store::{
    Damage, Head, Life, Now, Pending, Record, StepId, StoreError, WorkflowId,
    ledger::{Decided, Newest, Slot, Written},
};
use tokio_postgres::{Error, Row, types::ToSql};

use super::{
    Shared,
    row::{self, COLUMNS, Columns, Kept, Rotten, column},
    session::Session,
    sql::{Epoch, Place, Removal},
    trouble,
};

/// Stands for the next epoch until it is known whether one is needed. The server hands out less than half as
/// many.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// What is kept of a workflow and a step, and what time it is.
pub(super) struct Read {
    pub(super) now: Now,
    pub(super) next: Option<u64>,
    pub(super) kept: Result<Option<Kept>, Rotten>,
    pub(super) slot: Slot,
}

/// The time in a column.
pub(super) fn now(row: &Row, at: usize) -> Result<Now, Error> {
    let clock = u64::try_from(column::<i64>(row, at)?).unwrap_or(0);
    Ok(Now { boot: 0, clock, wall: clock })
}

/// A version, or another number that is never negative.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn missing(workflow: &WorkflowId, version: Option<u64>) -> StoreError {
    StoreError::NotFound { workflow: workflow.clone(), version }
}

impl Shared {
    /// Bounds the time that an operation takes.
    pub(super) fn within<'a, T: Send + 'a>(
        &'a self,
        operation: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> Pending<'a, T> {
        Box::pin(async move {
            let mut operation = std::pin::pin!(operation);
            match tokio::time::timeout(self.timeout, operation.as_mut()).await {
                Ok(done) => done,
                // It waits yet, maybe for a connection.
                Err(_) if self.pool.status().waiting > 0 => Err(self.target.busy(self.timeout)),
                Err(_) => {
                    // The others may be as silent: whoever comes next is not to find out one by one.
                    self.pool.retain(|_, _| false);
                    Err(self.target.slow(self.timeout))
                }
            }
        })
    }

    pub(super) async fn session(&self) -> Result<Session, StoreError> {
        let client = self.pool.get().await.map_err(|error| self.target.pool(error))?;
        Ok(Session::new(client))
    }

    /// Sends the first statement of an operation, which writes nothing: on a connection that turns out to
    /// be closed it is sent again on another.
    pub(super) async fn ask(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<(Session, Vec<Row>), StoreError> {
        let mut session = self.session().await?;
        let rows = match session.query(statement, parameters).await {
            Err(error) if trouble::gone(&error) => {
                drop(session);
                // The others were closed with it.
                self.pool.retain(|_, _| false);
                session = self.session().await?;
                session.query(statement, parameters).await
            }
            rows => rows,
        };
        rows.map(|rows| (session, rows)).map_err(|error| self.tell(error))
    }

    pub(super) fn tell(&self, error: Error) -> StoreError {
        self.target.trouble(error)
    }

    pub(super) async fn read(
        &self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
        epoch: Epoch,
    ) -> Result<(Session, Read), StoreError> {
        let name = step.map(|step| &*step.name);
        let occurrence = step.map(|step| i64::from(step.occurrence));
        let fetch = match epoch {
            Epoch::Never => 0_i32,
            Epoch::New => 1,
            Epoch::Always => 2,
        };
        let (session, rows) = self
            .ask(
                &self.sql.read,
                &[&&*workflow.namespace, &&*workflow.workflow, &name, &occurrence, &fetch],
            )
            .await?;
        let row = rows.first().ok_or_else(|| self.target.nonsense())?;
        let tell = |error| self.tell(error);
        let mut kept = row::head(row, 2).map_err(tell)?.transpose();
        let at = 2 + COLUMNS.len();
        let slot = match step {
            Some(step) => slot(row, at, workflow, step).map_err(tell)?,
            None => Slot::Empty,
        };
        if column(row, at + 3).map_err(tell)? {
            kept = Err(Rotten { workflow: workflow.clone(), seal: None });
        }
        let next = column::<Option<i64>>(row, 1).map_err(tell)?.map(unsigned);
        Ok((session, Read { now: now(row, 0).map_err(tell)?, next, kept, slot }))
    }

    /// Writes a head in the place of the one that was read, and records. Says whether it did: another may have
    /// been quicker.
    pub(super) async fn write(
        &self,
        session: &mut Session,
        mut head: Head,
        place: (Place, Option<&[u8]>),
        records: &[Written],
        (drop, expired): (Removal, &[u64]),
    ) -> Result<bool, StoreError> {
        let head = Columns::of(&mut head);
        let versions: Vec<i64> = records.iter().map(|at| row::signed(at.sealed.version)).collect();
        let steps: Vec<&str> = records.iter().map(|at| &*at.sealed.step.name).collect();
        let occurrences: Vec<i64> =
            records.iter().map(|at| i64::from(at.sealed.step.occurrence)).collect();
        let statuses: Vec<&str> = records.iter().map(|at| at.sealed.status.as_str()).collect();
        let sealed: Vec<&[u8]> = records.iter().map(|at| &*at.bytes).collect();
        let expired: Vec<i64> = expired.iter().copied().map(row::signed).collect();
        let mut parameters = head.parameters();
        parameters.extend([
            &versions as &(dyn ToSql + Sync),
            &steps,
            &occurrences,
            &statuses,
            &sealed,
        ]);
        let (place, seal) = place;
        if let Some(seal) = &seal {
            parameters.push(seal);
        }
        if let Removal::Expired = drop {
            parameters.extend([
                &expired as &(dyn ToSql + Sync),
                &self.retention.failures as &(dyn ToSql + Sync),
            ]);
        }
        match session.query(self.sql.write(place, drop), &parameters).await {
            Ok(rows) => {
                let row = rows.first().ok_or_else(|| self.target.nonsense())?;
                let written: i64 = column(row, 0).map_err(|error| self.tell(error))?;
                Ok(written == 1)
            }
            Err(error) if trouble::crossed(&error) => Ok(false),
            Err(error) => Err(self.tell(error)),
        }
    }

    /// Decides about a workflow, and a step of it, and writes what was decided; again, if another wrote
    /// meanwhile.
    pub(super) async fn decide<T>(
        &self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
        mut epoch: Epoch,
        mut decide: impl FnMut(Option<Head>, Slot, Now, u64) -> Result<Decided<T>, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let mut mended = false;
        loop {
            let (mut session, Read { now, next, kept, slot }) =
                self.read(workflow, step, epoch).await?;
            let kept = match kept {
                Err(_) if !mended => {
                    drop(session);
                    self.mend(workflow).await?;
                    mended = true;
                    continue;
                }
                kept => kept?,
            };
            let (head, seal) = kept.map(|Kept { head, seal }| (head, seal)).unzip();
            let decided = decide(head, slot, now, next.unwrap_or(UNKNOWN))?;
            let Decided { reply, head, record, expired } = decided;
            let Some(head) = head else { return Ok(reply) };
            if head.born == UNKNOWN || head.epoch == UNKNOWN {
                epoch = Epoch::Always;
                continue;
            }
            let place = match &seal {
                Some(seal) => (Place::Sealed, Some(&**seal)),
                None => (Place::New, None),
            };
            let drop = match head.life {
                Life::Deleted => Removal::History,
                Life::Open | Life::Finished if expired.is_empty() => Removal::Nothing,
                Life::Open | Life::Finished => Removal::Expired,
            };
            let records = record.as_slice();
            if self.write(&mut session, head, place, records, (drop, &expired)).await? {
                return Ok(reply);
            }
        }
    }
}

/// The slot of a step, of which the newest version is in column `at`, and then the record, and whether it is an
/// intent.
fn slot(row: &Row, at: usize, workflow: &WorkflowId, step: &StepId) -> Result<Slot, Error> {
    let Some(version) = column::<Option<i64>>(row, at)?.map(unsigned) else {
        return Ok(Slot::Empty);
    };
    let read = match column::<Option<&[u8]>>(row, at + 1)? {
        Some(bytes) => Record::open_at(bytes, workflow, version),
        None => Err(Damage::Missing),
    };
    let begun = column::<Option<bool>>(row, at + 2)?.unwrap_or(false);
    Ok(Slot::of(step, Newest { version, begun }, read))
}
