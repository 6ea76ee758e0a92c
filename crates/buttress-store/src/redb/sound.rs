//! Rows for those who know of no errors of the engine.

use ::redb::{AccessGuard, StorageError};
use buttress::store::WorkflowId;

use super::{key, rows::Bytes};

type Row<'a> = (AccessGuard<'a, Bytes>, AccessGuard<'a, Bytes>);

/// Gives rows of records to a reader as versions and bytes. They end where the engine fails, and then so
/// does this.
pub(super) fn sound<'r, I, T>(
    rows: I,
    workflow: &WorkflowId,
    read: impl FnOnce(Sound<'_, I>) -> T,
) -> Result<T, StorageError>
where
    I: Iterator<Item = Result<Row<'r>, StorageError>>,
{
    let prefix = key::workflow(workflow);
    let mut failed = None;
    let done = read(Sound { rows, workflow: &prefix, failed: &mut failed });
    failed.map_or(Ok(done), Err)
}

/// The records of a workflow.
pub(super) struct Sound<'a, I> {
    rows: I,
    workflow: &'a [u8],
    failed: &'a mut Option<StorageError>,
}

impl<'r, I: Iterator<Item = Result<Row<'r>, StorageError>>> Iterator for Sound<'_, I> {
    type Item = (u64, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.rows.next()? {
                Ok((at, bytes)) => {
                    // A key of another length was changed on the disk; what it held is missed elsewhere.
                    if let Some(version) = key::version(at.value(), self.workflow) {
                        return Some((version, bytes.value().to_vec()));
                    }
                }
                Err(error) => {
                    *self.failed = Some(error);
                    return None;
                }
            }
        }
    }
}
