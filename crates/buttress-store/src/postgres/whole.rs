//! A workflow with all that is kept of it, by which a head that has rotten is put together again.

use buttress::{
    Event, Teller,
    store::{
        Damage, Head, Now, Record, StepId, StoreError, WorkflowId,
        ledger::{self, Newest},
    },
};
use tokio_postgres::{Error, Row};

use super::{
    Shared,
    engine::{self, UNKNOWN, missing, unsigned},
    row::{self, COLUMNS, Kept, Rotten, column},
    session::Session,
    sql::{Place, Removal},
};

/// What is kept of a workflow.
pub(super) struct Whole {
    pub(super) head: Head,
    /// The head had rotten, and this one is put together from what else is kept.
    pub(super) rebuilt: bool,
    /// Whether that could be done again.
    pub(super) born: bool,
    /// Oldest first.
    pub(super) records: Vec<(u64, Vec<u8>)>,
    pub(super) steps: Vec<(StepId, Newest)>,
}

/// The rows of a workflow. Those of records and steps are kept under the birth that they belong to.
struct Rows {
    now: Now,
    next: u64,
    head: Option<Result<Kept, Rotten>>,
    birth: Option<Result<Kept, Rotten>>,
    records: Vec<(i64, u64, Vec<u8>)>,
    steps: Vec<(i64, StepId, Newest)>,
}

impl Rows {
    fn read(rows: &[Row], first: &Row) -> Result<Self, Error> {
        let (mut records, mut steps) = (Vec::new(), Vec::new());
        let at = 2 + 2 * COLUMNS.len();
        for row in rows {
            let Some(born) = column::<Option<i64>>(row, at)? else { continue };
            let version = unsigned(column(row, at + 1)?);
            if let Some(sealed) = column::<Option<Vec<u8>>>(row, at + 2)? {
                records.push((born, version, sealed));
            } else if let Ok(Some(name)) = column::<Option<&str>>(row, at + 3) {
                // One that no step has points to nothing that is found there.
                let occurrence = u32::try_from(column::<i64>(row, at + 4)?).unwrap_or(u32::MAX);
                let newest = Newest { version, begun: column(row, at + 5)? };
                steps.push((born, StepId::new(name).occurrence(occurrence), newest));
            }
        }
        Ok(Self {
            now: engine::now(first, 0)?,
            next: column::<Option<i64>>(first, 1)?.map_or(UNKNOWN, unsigned),
            head: row::head(first, 2)?,
            birth: row::head(first, 2 + COLUMNS.len())?,
            records,
            steps,
        })
    }

    fn whole(self, workflow: &WorkflowId) -> Result<Option<Whole>, StoreError> {
        let Self { now, next, head, birth, records, steps } = self;
        let birth = birth.and_then(Result::ok).map(|kept| kept.head);
        let (kept, birth, born) = match (head, birth) {
            (None, None) => return Ok(None),
            (Some(Ok(Kept { head, .. })), birth) => {
                let born = birth.is_some_and(|birth| birth.born == head.born);
                (Some(head.clone()), head, born)
            }
            (_, Some(birth)) => (None, birth, true),
            // Without its birth the keys of its steps are lost, and what is in doubt would be done twice.
            (Some(Err(rotten)), None) => {
                return Err(Rotten { workflow: workflow.clone(), ..rotten }.into());
            }
        };
        let ours = row::signed(birth.born);
        let records: Vec<_> = records
            .into_iter()
            .filter(|(born, ..)| *born == ours)
            .map(|(_, version, bytes)| (version, bytes))
            .collect();
        let steps: Vec<_> = steps
            .into_iter()
            .filter(|(born, ..)| *born == ours)
            .map(|(_, step, newest)| (step, newest))
            .collect();
        let rebuilt = kept.is_none();
        let head = kept.unwrap_or_else(|| {
            let pointers = steps.iter().map(|(step, newest)| (step.clone(), Some(*newest)));
            ledger::rebuild(birth, records.iter().cloned(), pointers, now, next)
        });
        Ok(Some(Whole { head, rebuilt, born, records, steps }))
    }
}

impl Shared {
    async fn rows(
        &self,
        workflow: &WorkflowId,
        epoch: bool,
    ) -> Result<(Session, Rows), StoreError> {
        let (session, rows) =
            self.ask(&self.sql.all, &[&&*workflow.namespace, &&*workflow.workflow, &epoch]).await?;
        let first = rows.first().ok_or_else(|| self.target.nonsense())?;
        let rows = Rows::read(&rows, first).map_err(|error| self.tell(error))?;
        Ok((session, rows))
    }

    /// All of a workflow, for those who only look. One whose head has rotten is told.
    pub(super) async fn look(&self, workflow: &WorkflowId) -> Result<Option<Whole>, StoreError> {
        let (_session, rows) = self.rows(workflow, false).await?;
        let Some(mut whole) = rows.whole(workflow)? else { return Ok(None) };
        if whole.rebuilt {
            self.tell_damage(workflow);
            // No epoch is taken for nothing: that of its last record is the last that is known.
            let records = whole.records.iter();
            let epochs = records.filter_map(|(_, bytes)| Some(Record::open(bytes).ok()?.epoch));
            whole.head.epoch = epochs.max().unwrap_or(0);
        }
        Ok(Some(whole))
    }

    /// Puts the head of a workflow in its place again, and tells.
    pub(super) async fn mend(&self, workflow: &WorkflowId) -> Result<(), StoreError> {
        let (mut session, rows) = self.rows(workflow, true).await?;
        let place = match &rows.head {
            Some(Err(rotten)) => rotten.seal.clone(),
            _ => None,
        };
        let whole = rows.whole(workflow)?.ok_or_else(|| missing(workflow, None))?;
        // Another may have been quicker.
        if whole.rebuilt && self.place(&mut session, whole.head, place, Removal::Nothing).await? {
            self.tell_damage(workflow);
        }
        Ok(())
    }

    /// Deletes a workflow that is beyond repair, with all that is certain to be of it.
    pub(super) async fn bury(&self, workflow: &WorkflowId) -> Result<(), StoreError> {
        let (mut session, rows) = self.rows(workflow, true).await?;
        let seal = match rows.head {
            Some(Err(rotten)) => rotten.seal,
            _ => None,
        };
        let mut records = rows.records.iter();
        let born = records.find_map(|(born, version, bytes)| {
            Record::open_at(bytes, workflow, *version).ok().map(|_| unsigned(*born))
        });
        let mut head = Head::new(workflow.clone(), rows.next, true);
        head.born = born.unwrap_or(head.born);
        let stone = ledger::delete(Some(head), workflow, rows.now, rows.next)?.head;
        let Some(stone) = stone else { return Ok(()) };
        if self.place(&mut session, stone, seal, Removal::History).await? {
            return Ok(());
        }
        Err(StoreError::Corrupt {
            workflow: workflow.clone(),
            version: None,
            damage: Damage::Digest,
        })
    }

    /// Writes a head in the place of what was read there.
    async fn place(
        &self,
        session: &mut Session,
        head: Head,
        seal: Option<Vec<u8>>,
        drop: Removal,
    ) -> Result<bool, StoreError> {
        let place = match &seal {
            Some(seal) => (Place::Sealed, Some(&**seal)),
            None => (Place::Lost, None),
        };
        self.write(session, head, place, &[], (drop, &[])).await
    }

    /// Tells that the head of a workflow is damaged.
    pub(super) fn tell_damage(&self, workflow: &WorkflowId) {
        let teller = Teller { pattern: "store", name: "", workflow: &workflow.workflow };
        self.observe.event(teller, &Event::Damaged { version: 0 });
    }
}
