//! The decisions of a store, without a store.
//!
//! Each operation is a function of what is kept of the workflow and of the step; it returns the answer
//! and what is to be written. A store reads the two under a lock or in a transaction, decides, writes
//! and syncs: memory, redb and PostgreSQL decide by the same code. Public for those who write another.
//!
//! | operation | reads | decided by |
//! |---|---|---|
//! | acquire, claim, renew, release, finish, delete | the head | [`acquire`], [`claim`], [`renew`], [`release`], [`finish`], [`delete`] |
//! | begin, complete, append | the head and the slot of the step | [`begin`], [`complete`], [`append`] |
//! | fork | both heads, the records of the source | [`fork`] |
//! | latest, verify | the records | [`latest`], [`audit`] |
//! | any, when a head has rotten | the records | [`rebuild`] |

mod history;
mod lease;
mod rebuild;
#[cfg(test)]
mod reference;
mod retention;
mod step;
#[cfg(test)]
mod tests;

pub use self::{
    history::{audit, fork, latest},
    lease::{acquire, claim, claimable, delete, finish, release, renew},
    rebuild::rebuild,
    retention::expires,
    step::{append, begin, complete},
};

use super::{
    Damage, Digest, Entry, Fence, Head, Life, MAX_NAME, MAX_PAYLOAD, Now, Record, Sealed, Status,
    StepId, StoreError, WorkflowId,
};

/// What is kept of a step: its newest record.
#[expect(clippy::large_enum_variant, reason = "read once an operation, and taken apart at once")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Nothing was written of it.
    Empty,
    /// Its newest record.
    Intact(Sealed),
    /// Its newest record is damaged.
    Damaged {
        /// Where it was kept, and what it was.
        newest: Newest,
        /// What is wrong with it.
        damage: Damage,
    },
}

/// What is kept of a step beside its records: which is the newest, and whether that one is an intent, in case
/// it rots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Its version.
    pub version: u64,
    /// Whether it is an intent: the step is counted among those [begun and not done](Head::pending).
    pub begun: bool,
}

impl Newest {
    /// What is kept of the step of a record that was written last.
    pub fn of(record: &Record) -> Self {
        Self { version: record.version, begun: record.status == Status::Intent }
    }
}

impl Slot {
    /// What is kept of a step of which the record at `newest` was read.
    pub fn of(step: &StepId, newest: Newest, read: Result<Sealed, Damage>) -> Self {
        match read {
            Ok(record) if record.step == *step => Self::Intact(record),
            Ok(_) => Self::Damaged { newest, damage: Damage::Misplaced },
            Err(damage) => Self::Damaged { newest, damage },
        }
    }

    fn is_begun(&self) -> bool {
        match self {
            Self::Empty => false,
            Self::Intact(record) => record.status == Status::Intent,
            Self::Damaged { newest, .. } => newest.begun,
        }
    }

    /// The version of the newest record, damaged or not.
    pub fn version(&self) -> Option<u64> {
        match self {
            Self::Empty => None,
            Self::Intact(record) => Some(record.version),
            Self::Damaged { newest, .. } => Some(newest.version),
        }
    }
}

/// An answer, and what must be durable before it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided<T> {
    /// The answer.
    pub reply: T,
    /// The new head, if it changed.
    pub head: Option<Head>,
    /// A record to be added at the version that it carries, as it is to be stored; it becomes the newest of its step.
    pub record: Option<Written>,
    /// Versions that retention no longer protects: of these, drop each that is there, intact, and
    /// [expires](expires()) once the record is added.
    pub expired: Vec<u64>,
}

/// A record and its stored form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The record.
    pub sealed: Sealed,
    /// Its stored form.
    pub bytes: Vec<u8>,
}

impl<T> Decided<T> {
    const fn unchanged(reply: T) -> Self {
        Self { reply, head: None, record: None, expired: Vec::new() }
    }
}

/// Refuses names that are too long, or that not every engine can keep.
pub fn check_names(workflow: &WorkflowId, step: Option<&StepId>) -> Result<(), StoreError> {
    check_name("a namespace", &workflow.namespace)?;
    check_name("a workflow's name", &workflow.workflow)?;
    step.map_or(Ok(()), |step| check_name("a step's name", &step.name))
}

/// Refuses a name that is too long, or that not every engine can keep. `what` says whose it is.
pub fn check_name(what: &'static str, name: &str) -> Result<(), StoreError> {
    if name.len() > MAX_NAME {
        return Err(StoreError::TooLarge { what, bytes: name.len(), most: MAX_NAME });
    }
    // PostgreSQL has no text with a NUL; what one store takes all must take.
    if name.contains('\0') {
        return Err(StoreError::Invalid { what, why: "has a NUL character" });
    }
    Ok(())
}

fn check_payload(entry: &Entry) -> Result<(), StoreError> {
    let bytes = entry.payload.bytes.len();
    if bytes > MAX_PAYLOAD {
        return Err(StoreError::TooLarge { what: "a payload", bytes, most: MAX_PAYLOAD });
    }
    Ok(())
}

fn alive(head: Head) -> Result<Head, StoreError> {
    match head.life {
        Life::Open | Life::Finished => Ok(head),
        Life::Deleted => Err(StoreError::Deleted { workflow: head.workflow }),
    }
}

/// A record before it is known where it stands.
struct Draft {
    step: StepId,
    parent: Option<u64>,
    attempt: u32,
    fence: Fence,
    fingerprint: Digest,
    entry: Entry,
}

fn write(head: &mut Head, now: Now, draft: Draft) -> Written {
    let Draft { step, parent, attempt, fence, fingerprint, entry } = draft;
    let record = Record {
        workflow: head.workflow.clone(),
        version: head.latest + 1,
        parent,
        step,
        attempt,
        epoch: match fence {
            Fence::Epoch(epoch) => epoch,
            Fence::Born(_) => 0,
        },
        status: entry.status,
        created: now.wall,
        fingerprint,
        payload: entry.payload,
        previous: head.digest,
    };
    let (bytes, digest) = record.seal();
    head.latest = record.version;
    head.digest = digest;
    head.touched = now.wall;
    head.life = if entry.finish { Life::Finished } else { Life::Open };
    // One who writes without a lease does not take another's away.
    if entry.finish && matches!(fence, Fence::Epoch(_)) {
        head.lease = None;
    }
    Written { sealed: Sealed { record, digest }, bytes }
}
