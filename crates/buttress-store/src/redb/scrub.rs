//! A look through a file of which some page is not as it was written.
//!
//! What a seal covers is told when it is read. A *key* that was changed is not: what it led to is not
//! found, and a step that is not found would be done again. So, when redb says at the start that a page has
//! changed, every row is read in the order of the pages, put under the key that its sealed content names,
//! and the tables are written anew.

use std::collections::BTreeMap;

use ::redb::{ReadableTable, StorageError, WriteTransaction};
use buttress::store::{Head, Record};

use super::{
    key,
    rows::{self, BIRTHS, HEADS, RECORDS, STEPS, open_pointer, seal_pointer},
    trouble::Stop,
};

type Bytes = &'static [u8];
type Table = BTreeMap<Vec<u8>, Vec<u8>>;

/// Puts what is kept in its place. Returns the versions of damaged records, and 0 for each other thing that
/// was not where, or what, it should be.
pub(super) fn scrub(transaction: &WriteTransaction) -> Result<Vec<u64>, Stop> {
    let mut found = Vec::new();
    let (heads, births, records, steps) = {
        let rows = rows::Writing::open(transaction)?;
        (
            heads(&rows.heads, &mut found)?,
            heads(&rows.births, &mut found)?,
            records(&rows.records, &mut found)?,
            all(&rows.steps)?,
        )
    };
    let steps = pointers(steps, &records, &mut found);
    let births = with_missing(births, &heads, &mut found);
    for (definition, table) in
        [(HEADS, heads), (BIRTHS, births), (RECORDS, records), (STEPS, steps)]
    {
        transaction.delete_table(definition)?;
        let mut anew = transaction.open_table(definition)?;
        for (at, bytes) in table {
            anew.insert(at.as_slice(), bytes.as_slice())?;
        }
    }
    Ok(found)
}

fn all(table: &impl ReadableTable<Bytes, Bytes>) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StorageError> {
    table
        .iter()?
        .map(|row| row.map(|(at, bytes)| (at.value().to_vec(), bytes.value().to_vec())))
        .collect()
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

fn heads(
    table: &impl ReadableTable<Bytes, Bytes>,
    found: &mut Vec<u64>,
) -> Result<Table, StorageError> {
    let own = |bytes: &[u8]| Head::open(bytes).ok().map(|head| key::workflow(&head.workflow));
    Ok(placed(all(table)?, own, |_| found.push(0)))
}

fn records(
    table: &impl ReadableTable<Bytes, Bytes>,
    found: &mut Vec<u64>,
) -> Result<Table, StorageError> {
    let own = |bytes: &[u8]| {
        let record = Record::open(bytes).ok()?;
        Some(key::record(key::workflow(&record.workflow), record.version))
    };
    let version = |at: &[u8]| at.last_chunk::<8>().map_or(0, |at| u64::from_be_bytes(*at));
    Ok(placed(all(table)?, own, |at| found.push(version(at))))
}

/// Pointers to the newest record of each step: those that are sound, and one for each step that lacks it.
fn pointers(steps: Vec<(Vec<u8>, Vec<u8>)>, records: &Table, found: &mut Vec<u64>) -> Table {
    let mut newest: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for record in records.values().filter_map(|bytes| Record::open(bytes).ok()) {
        let at = key::step(key::workflow(&record.workflow), &record.step);
        newest.insert(at, record.version);
    }
    let mut table = Table::new();
    for (at, pointer) in steps {
        match open_pointer(&pointer, &at) {
            Some(version) => {
                newest.remove(&at);
                table.insert(at.clone(), seal_pointer(version, &at).to_vec());
            }
            // It may be that of a step whose record has rotten: then it says that there was one.
            None => {
                found.push(0);
                table.insert(at, pointer);
            }
        }
    }
    for (at, version) in newest {
        found.push(0);
        let pointer = seal_pointer(version, &at).to_vec();
        table.insert(at, pointer);
    }
    table
}

/// Births, and for a head whose own is lost the head itself.
fn with_missing(mut births: Table, heads: &Table, found: &mut Vec<u64>) -> Table {
    for (at, head) in heads {
        let sound = births.get(at).is_some_and(|birth| Head::open(birth).is_ok());
        if let (false, Ok(head)) = (sound, Head::open(head))
            && head.life != buttress::store::Life::Deleted
        {
            found.push(0);
            births.insert(at.clone(), head.seal());
        }
    }
    births
}
