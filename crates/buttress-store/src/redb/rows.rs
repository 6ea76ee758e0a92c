//! The tables, and what is read from and written to them.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `store` | layout and last epoch, sealed |
//! | `heads` | workflow | its head, sealed |
//! | `births` | workflow | the head that it came into being with, sealed: if the head rots, idempotency keys are told from it |
//! | `records` | workflow, version | the record, sealed |
//! | `open` | workflow | nothing: it is there while the workflow goes on, so that who claims one need not look at all |
//! | `steps` | workflow, step | the version of its newest record and whether that is an intent, with a check |

use std::ops::{Deref, DerefMut};

use ::redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, StorageError, Table, TableDefinition,
    WriteTransaction,
};
use buttress::store::{
    Damage, Digest, Head, Life, Now, Record, Retention, Sealed, StepId, StoreError, WorkflowId,
    ledger::{self, Newest, Slot, Written},
};

use super::{key, meta::Meta, sound::sound, trouble::Stop};

pub(super) type Bytes = &'static [u8];
type Definition = TableDefinition<'static, Bytes, Bytes>;

pub(super) const META: Definition = TableDefinition::new("meta");
pub(super) const HEADS: Definition = TableDefinition::new("heads");
pub(super) const BIRTHS: Definition = TableDefinition::new("births");
pub(super) const RECORDS: Definition = TableDefinition::new("records");
pub(super) const STEPS: Definition = TableDefinition::new("steps");
pub(super) const OPEN: Definition = TableDefinition::new("open");

/// The tables of a store, sorted.
pub(super) const NAMES: [&str; 6] = ["births", "heads", "meta", "open", "records", "steps"];

const STORE: &[u8] = b"store";

/// The tables of one transaction, but for what is told from them.
pub(super) struct Rows<T> {
    pub(super) meta: T,
    pub(super) heads: T,
    pub(super) births: T,
    pub(super) records: T,
    pub(super) steps: T,
}

pub(super) type Reading = Rows<ReadOnlyTable<Bytes, Bytes>>;

/// The workflows that go on.
pub(super) type OpenTable = ReadOnlyTable<Bytes, Bytes>;

/// All tables, to be written.
pub(super) struct Writing<'t> {
    rows: Rows<Table<'t, Bytes, Bytes>>,
    open: Table<'t, Bytes, Bytes>,
}

impl<'t> Deref for Writing<'t> {
    type Target = Rows<Table<'t, Bytes, Bytes>>;

    fn deref(&self) -> &Self::Target {
        &self.rows
    }
}

impl DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.rows
    }
}

impl Reading {
    pub(super) fn open(transaction: &ReadTransaction) -> Result<Self, Stop> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            heads: transaction.open_table(HEADS)?,
            births: transaction.open_table(BIRTHS)?,
            records: transaction.open_table(RECORDS)?,
            steps: transaction.open_table(STEPS)?,
        })
    }
}

impl<'t> Writing<'t> {
    /// Opens the tables, and makes those that are not there.
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Stop> {
        // First one at a time: opening may panic over a damaged file, and dropping a table that is open
        // then would panic again, which ends the process.
        for definition in [META, HEADS, BIRTHS, RECORDS, STEPS, OPEN] {
            drop(transaction.open_table(definition)?);
        }
        let rows = Rows {
            meta: transaction.open_table(META)?,
            heads: transaction.open_table(HEADS)?,
            births: transaction.open_table(BIRTHS)?,
            records: transaction.open_table(RECORDS)?,
            steps: transaction.open_table(STEPS)?,
        };
        Ok(Self { rows, open: transaction.open_table(OPEN)? })
    }
}

/// A head as it was found.
pub(super) struct Loaded {
    pub(super) head: Option<Head>,
    /// It had rotten, and was put together from what else is kept.
    pub(super) rebuilt: bool,
}

/// What is kept of a step, as it was found.
pub(super) struct Placed {
    pub(super) slot: Slot,
    /// What points to its newest record had rotten; the record was searched for.
    pub(super) searched: bool,
}

/// What is kept of the store as a whole.
pub(super) fn meta(
    table: &impl ReadableTable<Bytes, Bytes>,
) -> Result<Option<Result<Meta, Damage>>, StorageError> {
    Ok(table.get(STORE)?.map(|bytes| Meta::open(bytes.value())))
}

pub(super) fn put_meta(
    table: &mut Table<'_, Bytes, Bytes>,
    meta: Meta,
) -> Result<(), StorageError> {
    table.insert(STORE, meta.seal().as_slice())?;
    Ok(())
}

impl<T: ReadableTable<Bytes, Bytes>> Rows<T> {
    /// The head of a workflow, from what else is kept if it has rotten.
    pub(super) fn head(&self, workflow: &WorkflowId, now: Now, next: u64) -> Result<Loaded, Stop> {
        let at = key::workflow(workflow);
        let damage = match self.heads.get(at.as_slice())? {
            Some(bytes) => match open_head(bytes.value(), workflow) {
                Ok(head) => return Ok(Loaded { head: Some(head), rebuilt: false }),
                Err(Damage::Format(format)) => Damage::Format(format),
                Err(damage) => damage,
            },
            None => Damage::Missing,
        };
        let corrupt =
            |damage| StoreError::Corrupt { workflow: workflow.clone(), version: None, damage };
        if let Damage::Format(_) = damage {
            return Err(corrupt(damage).into());
        }
        let birth = match self.births.get(at.as_slice())? {
            Some(bytes) => Some(open_head(bytes.value(), workflow).map_err(corrupt)?),
            None => None,
        };
        match birth {
            Some(birth) => {
                let steps = self.steps(workflow)?;
                let records = self.raw(workflow, 0, u64::MAX)?;
                let head = sound(records, workflow, |records| {
                    ledger::rebuild(birth, records, steps, now, next)
                })?;
                Ok(Loaded { head: Some(head), rebuilt: true })
            }
            // Nobody has heard of it.
            None if damage == Damage::Missing
                && self.raw(workflow, 0, u64::MAX)?.next().is_none() =>
            {
                Ok(Loaded { head: None, rebuilt: false })
            }
            // Without its birth the keys of its steps are lost, and what is in doubt would be done twice.
            None => Err(corrupt(damage).into()),
        }
    }

    /// Whether the head that the workflow came into being with is kept.
    pub(super) fn is_born(&self, workflow: &WorkflowId) -> Result<bool, StorageError> {
        let birth = self.births.get(key::workflow(workflow).as_slice())?;
        Ok(birth.is_some_and(|bytes| open_head(bytes.value(), workflow).is_ok()))
    }

    /// The newest record of a step.
    pub(super) fn slot(&self, workflow: &WorkflowId, step: &StepId) -> Result<Placed, Stop> {
        let at = key::step(key::workflow(workflow), step);
        let Some(pointer) = self.steps.get(at.as_slice())? else {
            return Ok(Placed { slot: Slot::Empty, searched: false });
        };
        let Some(newest) = open_pointer(pointer.value(), &at) else {
            return Ok(Placed { slot: self.search(workflow, step)?, searched: true });
        };
        let read = self.record(workflow, newest.version)?.unwrap_or(Err(Damage::Missing));
        Ok(Placed { slot: Slot::of(step, newest, read), searched: false })
    }

    /// Looks for the newest record of a step. A newer one that is damaged may be of the step.
    fn search(&self, workflow: &WorkflowId, step: &StepId) -> Result<Slot, Stop> {
        let prefix = key::workflow(workflow);
        // What it was nobody knows: if it was counted it is so twice, rather than forgotten.
        let damaged_at = |version, damage| {
            let newest = Newest { version, begun: false };
            Slot::Damaged { newest, damage }
        };
        let mut damaged = None;
        for row in self.raw(workflow, 0, u64::MAX)?.rev() {
            let (at, bytes) = row?;
            let Some(version) = key::version(at.value(), &prefix) else { continue };
            match Record::open_at(bytes.value(), workflow, version) {
                Ok(record) if record.step == *step => {
                    return Ok(damaged.unwrap_or(Slot::Intact(record)));
                }
                Ok(_) => {}
                Err(damage) => {
                    damaged.get_or_insert(damaged_at(version, damage));
                }
            }
        }
        // Something pointed to it, so there was one.
        Ok(damaged.unwrap_or(damaged_at(0, Damage::Missing)))
    }

    /// One record, `None` if nothing is kept there.
    pub(super) fn record(
        &self,
        workflow: &WorkflowId,
        version: u64,
    ) -> Result<Option<Result<Sealed, Damage>>, StorageError> {
        let at = key::record(key::workflow(workflow), version);
        let bytes = self.records.get(at.as_slice())?;
        Ok(bytes.map(|bytes| Record::open_at(bytes.value(), workflow, version)))
    }

    /// The rows of the records of a workflow, from one version to another, both included.
    pub(super) fn raw(
        &self,
        workflow: &WorkflowId,
        from: u64,
        to: u64,
    ) -> Result<::redb::Range<'_, Bytes, Bytes>, StorageError> {
        let prefix = key::workflow(workflow);
        let (from, to) = (key::record(prefix.clone(), from), key::record(prefix, to));
        self.records.range::<&[u8]>(from.as_slice()..=to.as_slice())
    }

    /// The steps of a workflow and what is kept of each, `None` where that has rotten.
    pub(super) fn steps(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Vec<(StepId, Option<Newest>)>, StorageError> {
        let prefix = key::workflow(workflow);
        let mut steps = Vec::new();
        let end = key::after(prefix.clone());
        for row in self.steps.range::<&[u8]>(prefix.as_slice()..end.as_slice())? {
            let (at, pointer) = row?;
            let step = at.value().strip_prefix(prefix.as_slice()).and_then(key::split_step);
            if let Some(step) = step {
                steps.push((step, open_pointer(pointer.value(), at.value())));
            }
        }
        Ok(steps)
    }
}

impl Writing<'_> {
    pub(super) fn put_head(&mut self, head: &Head, new: bool) -> Result<(), StorageError> {
        let (at, sealed) = (key::workflow(&head.workflow), head.seal());
        self.heads.insert(at.as_slice(), sealed.as_slice())?;
        if new {
            self.births.insert(at.as_slice(), sealed.as_slice())?;
        }
        self.mark(&at, head.life == Life::Open)
    }

    /// Marks a workflow as one that goes on, or that does not.
    pub(super) fn mark(&mut self, at: &[u8], goes_on: bool) -> Result<(), StorageError> {
        let marked = self.open.get(at)?.is_some();
        if goes_on && !marked {
            self.open.insert(at, [].as_slice())?;
        } else if marked && !goes_on {
            self.open.remove(at)?;
        }
        Ok(())
    }

    /// Adds a record, which becomes the newest of its step.
    pub(super) fn put_record(&mut self, written: &Written) -> Result<(), StorageError> {
        let Written { sealed: Sealed { record, .. }, bytes } = written;
        let prefix = key::workflow(&record.workflow);
        self.point(&prefix, &record.step, Newest::of(record))?;
        let at = key::record(prefix, record.version);
        self.records.insert(at.as_slice(), bytes.as_slice())?;
        Ok(())
    }

    /// Makes a version the newest of a step.
    pub(super) fn point(
        &mut self,
        workflow: &[u8],
        step: &StepId,
        newest: Newest,
    ) -> Result<(), StorageError> {
        let at = key::step(workflow.to_vec(), step);
        self.steps.insert(at.as_slice(), seal_pointer(newest, &at).as_slice())?;
        Ok(())
    }

    /// Drops a version that retention does not protect any more.
    pub(super) fn expire(
        &mut self,
        workflow: &WorkflowId,
        version: u64,
        retention: &Retention,
    ) -> Result<(), StorageError> {
        // What cannot be read may be the newest of its step.
        let Some(Ok(record)) = self.record(workflow, version)? else { return Ok(()) };
        let at = key::step(key::workflow(workflow), &record.step);
        let newest = self.steps.get(at.as_slice())?;
        let newest = newest.and_then(|pointer| open_pointer(pointer.value(), &at));
        if ledger::expires(&record, newest.map(|newest| newest.version), retention) {
            let at = key::record(key::workflow(workflow), version);
            self.records.remove(at.as_slice())?;
        }
        Ok(())
    }

    /// Removes the records of a workflow and all that points to them, and says how many there were.
    pub(super) fn clear(&mut self, workflow: &WorkflowId) -> Result<u64, StorageError> {
        let from = key::workflow(workflow);
        let to = key::after(from.clone());
        let range = from.as_slice()..to.as_slice();
        let mut records = 0;
        self.records.retain_in::<&[u8], _>(range.clone(), |_, _| {
            records += 1;
            false
        })?;
        self.steps.retain_in::<&[u8], _>(range, |_, _| false)?;
        self.births.remove(from.as_slice())?;
        Ok(records)
    }

    /// Removes all that is kept of a workflow, and says how many records that were.
    pub(super) fn forget(&mut self, workflow: &WorkflowId) -> Result<u64, StorageError> {
        let at = key::workflow(workflow);
        self.heads.remove(at.as_slice())?;
        self.mark(&at, false)?;
        self.clear(workflow)
    }
}

/// The head in these bytes, if they are that of the workflow.
pub(super) fn open_head(bytes: &[u8], workflow: &WorkflowId) -> Result<Head, Damage> {
    let head = Head::open(bytes)?;
    if head.workflow == *workflow { Ok(head) } else { Err(Damage::Misplaced) }
}

/// Whether a head is of a workflow that goes on; of one that has rotten nobody knows.
pub(super) fn may_go_on(head: &[u8]) -> bool {
    Head::open(head).map_or(true, |head| head.life == Life::Open)
}

/// The bit of a pointer that says that it leads to an intent: no version is so great.
const BEGUN: u64 = 1 << 63;

/// A pointer that went wrong by a bit may still point to a record of the step, to an older one.
pub(super) fn seal_pointer(newest: Newest, at: &[u8]) -> [u8; 16] {
    let number = newest.version | if newest.begun { BEGUN } else { 0 };
    let Digest(digest) = Digest::of_parts(&[at, &number.to_le_bytes()]);
    let mut pointer = [0; 16];
    let parts = number.to_le_bytes().into_iter().chain(digest);
    pointer.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    pointer
}

pub(super) fn open_pointer(bytes: &[u8], at: &[u8]) -> Option<Newest> {
    let (number, _) = bytes.split_first_chunk::<8>()?;
    let number = u64::from_le_bytes(*number);
    let newest = Newest { version: number & !BEGUN, begun: number & BEGUN != 0 };
    (bytes == seal_pointer(newest, at)).then_some(newest)
}
