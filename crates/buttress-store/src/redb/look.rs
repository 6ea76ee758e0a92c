//! What can be said without writing.

use ::redb::StorageError;
use buttress::store::{
    Begin, Begun, Head, Now, StoreError, Summary, WorkflowId,
    ledger::{self, Decided, Slot},
};

use super::{
    RedbStore, key,
    rows::{Loaded, OpenTable, Placed, Reading, open_head},
    trouble::Stop,
};

impl RedbStore {
    /// Changes the stored bytes of a version, or removes them, as a failing disk would. Says whether there were any.
    ///
    /// For tests of what happens then.
    pub async fn replace(
        &self,
        workflow: &WorkflowId,
        version: u64,
        change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>,
    ) -> Result<bool, StoreError> {
        let at = key::record(key::workflow(workflow), version);
        let found = self
            .read(|rows| Ok(rows.records.get(at.as_slice())?.map(|bytes| bytes.value().to_vec())))
            .await?;
        let Some(bytes) = found else { return Ok(false) };
        let changed = change(bytes);
        self.write(0, move |view| {
            match changed {
                Some(bytes) => view.rows.records.insert(at.as_slice(), bytes.as_slice())?,
                None => view.rows.records.remove(at.as_slice())?,
            };
            Ok(true)
        })
        .await
    }

    /// What can be said of a step without writing anything; `None` if that takes the writer.
    pub(super) async fn begun(&self, begin: &Begin) -> Result<Option<Begun>, StoreError> {
        let (now, next) = (self.now(), self.next());
        self.read(|rows| {
            let Loaded { head, rebuilt: false } = rows.head(&begin.workflow, now, next)? else {
                return Ok(None);
            };
            let slot = match &head {
                None => Slot::Empty,
                Some(_) => match rows.slot(&begin.workflow, &begin.step)? {
                    Placed { slot, searched: false } => slot,
                    Placed { searched: true, .. } => return Ok(None),
                },
            };
            match ledger::begin(head, slot, begin, now, next)? {
                Decided { reply, head: None, .. } => Ok(Some(reply)),
                _ => Ok(None),
            }
        })
        .await
    }

    /// The head of a workflow that is looked at.
    pub(super) fn head(&self, rows: &Reading, workflow: &WorkflowId) -> Result<Option<Head>, Stop> {
        let loaded = rows.head(workflow, self.now(), self.next())?;
        if loaded.rebuilt {
            self.open.shared.tell_damage(Some(workflow), 0);
        }
        Ok(loaded.head)
    }

    /// Who of those that go on in a namespace is held by nobody, and was for longest not touched.
    pub(super) fn free(
        &self,
        rows: &Reading,
        open: &OpenTable,
        namespace: &str,
        now: Now,
    ) -> Result<Option<Head>, Stop> {
        let mut free: Option<Head> = None;
        for head in self.going(rows, open, namespace, None)? {
            let Some(head) = repaired(head)? else { continue };
            if ledger::claimable(&head, now)
                && free.as_ref().is_none_or(|free| head.touched < free.touched)
            {
                free = Some(head);
            }
        }
        Ok(free)
    }

    /// The heads of those that go on in a namespace, as [`heads`](Self::heads).
    pub(super) fn going<'r>(
        &'r self,
        rows: &'r Reading,
        open: &'r OpenTable,
        namespace: &str,
        after: Option<&WorkflowId>,
    ) -> Result<impl Iterator<Item = Result<Head, Stop>> + 'r, StorageError> {
        let (from, to) = span(Some(namespace), after);
        let range = open.range::<&[u8]>(from.as_slice()..to.as_slice())?;
        Ok(range.filter_map(move |row| match row {
            Ok((at, _)) => self.head(rows, &key::split(at.value())?.0).transpose(),
            Err(error) => Some(Err(error.into())),
        }))
    }

    /// The heads of a range of keys, put together from what else is kept where they have rotten; of a
    /// workflow beyond repair, the error.
    pub(super) fn heads<'r>(
        &'r self,
        rows: &'r Reading,
        namespace: Option<&str>,
        after: Option<&WorkflowId>,
    ) -> Result<impl Iterator<Item = Result<Head, Stop>> + 'r, StorageError> {
        let (from, to) = span(namespace, after);
        let range = rows.heads.range::<&[u8]>(from.as_slice()..to.as_slice())?;
        Ok(range.filter_map(move |row| {
            let (at, bytes) = match row {
                Ok(row) => row,
                Err(error) => return Some(Err(error.into())),
            };
            // A key that names nothing was changed on the disk.
            let (workflow, _) = key::split(at.value())?;
            match open_head(bytes.value(), &workflow) {
                Ok(head) => Some(Ok(head)),
                Err(_) => self.head(rows, &workflow).transpose(),
            }
        }))
    }
}

/// The keys of a namespace, or of all, after a workflow.
fn span(namespace: Option<&str>, after: Option<&WorkflowId>) -> (Vec<u8>, Vec<u8>) {
    let mut from = namespace.map(key::namespace).unwrap_or_default();
    let to = key::after(from.clone());
    if let Some(after) = after {
        from = from.max(key::after(key::workflow(after)));
    }
    let to = to.max(from.clone());
    (from, to)
}

/// A page of workflows.
pub(super) fn page(
    heads: impl Iterator<Item = Result<Head, Stop>>,
    most: usize,
    now: Now,
) -> Result<Vec<Summary>, Stop> {
    let summary = |head| match head {
        Ok(head) => Ok(Summary::of(&head, now)),
        // It is there, though nothing else is known: looking at it tells why.
        Err(Stop::Refused(StoreError::Corrupt { workflow, .. })) => {
            Ok(Summary::of(&Head::new(workflow, 0, false), now))
        }
        Err(stop) => Err(stop),
    };
    heads.take(most).map(summary).collect()
}

/// A head, `None` of a workflow beyond repair: one is no reason to leave the others.
pub(super) fn repaired(head: Result<Head, Stop>) -> Result<Option<Head>, Stop> {
    match head {
        Ok(head) => Ok(Some(head)),
        Err(Stop::Refused(StoreError::Corrupt { .. })) => Ok(None),
        Err(stop) => Err(stop),
    }
}
