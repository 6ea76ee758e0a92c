//! What is done to a file before it is a store.

use ::redb::{ReadableTable as _, ReadableTableMetadata as _, TableHandle as _};
use buttress::store::{Head, StoreError, TroubleKind};

use super::{
    meta::{LAYOUT, LEAP, Meta},
    rows::{self, Writing},
    trouble::{self, Stop},
    writer::Shared,
};

/// Makes the tables if there are none, brings an older layout up to date, and starts the lease clock: a
/// start takes an epoch, so it is told from every other, and the leases of earlier ones are over.
pub(super) fn start(shared: &Shared) -> Result<Meta, Stop> {
    let transaction = shared.file.write()?;
    let path = &*shared.file.name;
    // Before any other table is opened: in a newer layout they may be of another kind.
    let found = rows::meta(&transaction.open_table(rows::META)?)?;
    match found {
        Some(Ok(Meta { layout, .. })) if layout > LAYOUT => {
            return Err(trouble::newer(path, layout, LAYOUT).into());
        }
        Some(_) => {}
        None => {
            let mut names = transaction.list_tables()?.map(|table| table.name().to_owned());
            if names.any(|name| !rows::NAMES.contains(&name.as_str())) {
                return Err(trouble::foreign(path).into());
            }
            // Of an empty file, or of one that lost it.
            rows::put_meta(&mut transaction.open_table(rows::META)?, Meta::NEW)?;
        }
    }
    let mut rows = Writing::open(&transaction)?;
    let mut meta = match rows::meta(&rows.meta)? {
        Some(Ok(meta)) if meta.epoch > 0 || rows.heads.is_empty()? => meta,
        _ => {
            shared.tell_damage(None, 0);
            // Whatever layout it had: what can be told is told anew.
            Meta { layout: 1, epoch: highest(&rows)?.saturating_add(LEAP) }
        }
    };
    migrate(&mut meta, &mut rows, path)?;
    meta.epoch += 1;
    rows::put_meta(&mut rows.meta, meta)?;
    drop(rows);
    transaction.commit()?;
    Ok(meta)
}

/// The highest epoch that any head tells of.
fn highest(rows: &Writing<'_>) -> Result<u64, Stop> {
    let mut highest = 0;
    for row in rows.heads.iter()? {
        let (_, bytes) = row?;
        if let Ok(head) = Head::open(bytes.value()) {
            highest = highest.max(head.epoch).max(head.born);
        }
    }
    Ok(highest)
}

/// Brings what an older release wrote to the present layout, one layout at a time, in the transaction of
/// the start: all of it or nothing.
fn migrate(meta: &mut Meta, rows: &mut Writing<'_>, path: &str) -> Result<(), Stop> {
    match meta.layout {
        LAYOUT => Ok(()),
        // Did not know which workflows go on.
        1 => {
            let mut open = Vec::new();
            for row in rows.heads.iter()? {
                let (at, bytes) = row?;
                open.push((at.value().to_vec(), rows::may_go_on(bytes.value())));
            }
            for (at, goes_on) in open {
                rows.mark(&at, goes_on)?;
            }
            meta.layout = LAYOUT;
            Ok(())
        }
        older => Err(StoreError::engine(
            TroubleKind::Format,
            format!("`{path}` has layout {older}, which no release has written: it is not a store"),
            None,
        )
        .into()),
    }
}
