//! What is kept in a file of which some page is not as it was written, put in its place.
//!
//! What a seal covers is told when it is read. A *key* that was changed is not: what it led to is not
//! found, and a step that is not found would be done again. So, when redb says at the start that a page has
//! changed, every row is read in the order of the pages, and put under the key that its sealed content names.

use std::collections::BTreeMap;

use ::redb::{ReadTransaction, ReadableTable, StorageError, TableHandle as _, WriteTransaction};
use buttress::store::{Head, Life, Record, WorkflowId, ledger::Newest};

use super::{
    key,
    meta::{LAYOUT, Meta},
    rows::{
        self, BIRTHS, Bytes, HEADS, META, OPEN, RECORDS, Reading, STEPS, open_pointer, seal_pointer,
    },
    trouble::{self, Stop},
};

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

/// The workflow and version of a damaged record; 0 for each other thing that was not where, or what, it should be.
pub(super) type Damaged = (Option<WorkflowId>, u64);

fn damaged(at: &[u8], version: u64) -> Damaged {
    (key::split(at).map(|(workflow, _)| workflow), version)
}

/// The tables of a store, with everything in its place.
pub(super) struct Scrubbed {
    meta: Option<Meta>,
    heads: Table,
    births: Table,
    records: Table,
    steps: Table,
    /// What was not as it should be.
    pub(super) found: Vec<Damaged>,
}

impl Scrubbed {
    /// Reads all there is.
    ///
    /// Refuses a file of which a table may be another than it was: an older one perhaps, in which what was
    /// done since is not done.
    pub(super) fn read(transaction: &ReadTransaction, path: &str) -> Result<Self, Stop> {
        let mut names: Vec<String> =
            transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
        names.sort_unstable();
        // One is told from the others, and older layouts do not have it.
        names.retain(|name| name != OPEN.name());
        if !names.iter().eq(rows::NAMES.iter().filter(|name| **name != OPEN.name())) {
            return Err(trouble::damaged(path, "it has lost a table").into());
        }
        let rows = Reading::open(transaction)?;
        let meta = rows::meta(&rows.meta)?.and_then(Result::ok);
        if let Some(Meta { layout, .. }) = meta
            && !(1..=LAYOUT).contains(&layout)
        {
            return Err(trouble::damaged(path, "and it is of another layout").into());
        }
        let mut found = Vec::new();
        let heads = heads(all(&rows.heads, path)?, &mut found);
        let births = heads_of_births(all(&rows.births, path)?, &heads, &mut found);
        let records = records(all(&rows.records, path)?, &mut found);
        if !belong_together(&heads, &records) {
            return Err(trouble::damaged(path, "its tables do not belong together").into());
        }
        let steps = pointers(all(&rows.steps, path)?, &records, &mut found);
        Ok(Self { meta, heads, births, records, steps, found })
    }

    /// Writes all of it to an empty file.
    pub(super) fn write(&self, transaction: &WriteTransaction) -> Result<(), Stop> {
        if let Some(meta) = self.meta {
            let meta = Meta { layout: LAYOUT, ..meta };
            rows::put_meta(&mut transaction.open_table(META)?, meta)?;
        }
        for (definition, table) in [
            (HEADS, &self.heads),
            (BIRTHS, &self.births),
            (RECORDS, &self.records),
            (STEPS, &self.steps),
        ] {
            let mut anew = transaction.open_table(definition)?;
            for (at, bytes) in table {
                anew.insert(at.as_slice(), bytes.as_slice())?;
            }
        }
        let mut open = transaction.open_table(OPEN)?;
        for (at, _) in self.heads.iter().filter(|(_, head)| rows::may_go_on(head)) {
            open.insert(at.as_slice(), [].as_slice())?;
        }
        Ok(())
    }
}

/// All rows of a table, which must be as many as redb says.
fn all(
    table: &impl ReadableTable<Bytes, Bytes>,
    path: &str,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Stop> {
    let rows: Vec<_> = table
        .iter()?
        .map(|row| row.map(|(at, bytes)| (at.value().to_vec(), bytes.value().to_vec())))
        .collect::<Result<_, StorageError>>()?;
    if rows.len() as u64 == table.len()? {
        Ok(rows)
    } else {
        Err(trouble::damaged(path, "it has lost rows").into())
    }
}

/// Whether each workflow has records, and none that its head does not know of.
fn belong_together(heads: &Table, records: &Table) -> bool {
    heads.iter().all(|(at, head)| match Head::open(head) {
        Ok(head) => {
            let rows = records.range(at.clone()..key::after(at.clone()));
            let newest = rows.filter_map(|(row, _)| key::version(row, at)).next_back();
            newest.unwrap_or(0) <= head.latest
                && (newest.is_some() || head.latest == 0 || head.life == Life::Deleted)
        }
        Err(_) => true,
    })
}

/// Rows under the key that they name themselves; those that do not tell stay where they are.
fn placed(
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    own: impl Fn(&[u8]) -> Option<Vec<u8>>,
    mut lost: impl FnMut(&[u8]),
) -> Table {
    let mut table = Table::new();
    let mut silent = Vec::new();
    for (at, bytes) in rows {
        match own(&bytes) {
            Some(own) => {
                if own != at {
                    lost(&[]);
                }
                table.insert(own, bytes);
            }
            None => silent.push((at, bytes)),
        }
    }
    for (at, bytes) in silent {
        lost(&at);
        table.entry(at).or_insert(bytes);
    }
    table
}

fn heads(rows: Vec<(Vec<u8>, Vec<u8>)>, found: &mut Vec<Damaged>) -> Table {
    let own = |bytes: &[u8]| Head::open(bytes).ok().map(|head| key::workflow(&head.workflow));
    placed(rows, own, |at| found.push(damaged(at, 0)))
}

fn records(rows: Vec<(Vec<u8>, Vec<u8>)>, found: &mut Vec<Damaged>) -> Table {
    let own = |bytes: &[u8]| {
        let record = Record::open(bytes).ok()?;
        Some(key::record(key::workflow(&record.workflow), record.version))
    };
    let version = |at: &[u8]| at.last_chunk::<8>().map_or(0, |at| u64::from_be_bytes(*at));
    placed(rows, own, |at| found.push(damaged(at, version(at))))
}

/// Pointers to the newest record of each step: those that are sound, and one for each step that lacks it.
fn pointers(steps: Vec<(Vec<u8>, Vec<u8>)>, records: &Table, found: &mut Vec<Damaged>) -> Table {
    let mut newest: BTreeMap<Vec<u8>, Newest> = BTreeMap::new();
    for record in records.values().filter_map(|bytes| Record::open(bytes).ok()) {
        let at = key::step(key::workflow(&record.workflow), &record.step);
        newest.insert(at, Newest::of(&record));
    }
    let mut table = Table::new();
    for (at, pointer) in steps {
        match open_pointer(&pointer, &at) {
            // One to an older record is of an older table.
            Some(kept) if newest.get(&at).is_none_or(|found| found.version <= kept.version) => {
                newest.remove(&at);
                table.insert(at, pointer);
            }
            Some(_) => {}
            // It may be that of a step whose record has rotten: then it says that there was one.
            None => {
                found.push(damaged(&at, 0));
                table.insert(at, pointer);
            }
        }
    }
    for (at, newest) in newest {
        found.push(damaged(&at, 0));
        let pointer = seal_pointer(newest, &at).to_vec();
        table.insert(at, pointer);
    }
    table
}

/// Births, and for a head whose own is lost the head itself.
fn heads_of_births(
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    heads: &Table,
    found: &mut Vec<Damaged>,
) -> Table {
    let mut births = self::heads(rows, found);
    for (at, head) in heads {
        let sound = births.get(at).is_some_and(|birth| Head::open(birth).is_ok());
        if let (false, Ok(head)) = (sound, Head::open(head))
            && head.life != Life::Deleted
        {
            found.push(damaged(at, 0));
            births.insert(at.clone(), head.seal());
        }
    }
    births
}
