//! What is dropped as new versions are written.

use super::super::{Head, Record, Retention, Status};

/// The versions that lose their protection by the newest that was written, which took the place of `before`
/// as the newest of its step.
pub(super) fn expire(head: &mut Head, before: Option<u64>, retention: &Retention) -> Vec<u64> {
    let floor = (head.latest + 1).saturating_sub(retention.versions.get());
    let superseded = superseded(head, before);
    // It only ever rises: what was below it may be gone.
    let passed = head.floor..floor.max(head.floor);
    head.floor = passed.end;
    superseded.into_iter().chain(passed).collect()
}

/// Below the floor a version is kept only as the newest of its step; it goes with its place.
pub(super) fn superseded(head: &Head, before: Option<u64>) -> Option<u64> {
    before.filter(|before| *before < head.floor)
}

/// Whether a version below the floor may be dropped. `newest` is what is kept as the newest of its step.
pub fn expires(record: &Record, newest: Option<u64>, retention: &Retention) -> bool {
    let failure = record.status == Status::Failed && retention.failures;
    newest.is_some_and(|newest| newest > record.version) && !failure
}
