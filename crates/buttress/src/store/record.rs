//! What is kept of a step or a state.

use super::{Digest, StepId, WorkflowId};

/// What a record says of its step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// The step is about to be done. Unless a later record of the step follows, it is in doubt.
    Intent = 1,
    /// The step was done; the payload is its result.
    Done = 2,
    /// The step failed for good; the payload says why.
    Failed = 3,
    /// The state of something that changes: each save is a version of its own.
    State = 4,
    /// The step was begun, and it is certain that nothing came of it: it may be begun afresh.
    Withdrawn = 5,
}

impl Status {
    /// The word for it in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::State => "state",
            Self::Withdrawn => "withdrawn",
        }
    }

    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Intent),
            2 => Some(Self::Done),
            3 => Some(Self::Failed),
            4 => Some(Self::State),
            5 => Some(Self::Withdrawn),
            _ => None,
        }
    }
}

/// What a record carries for its owner, and how to read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// How the bytes are written: 0 for plain bytes, 1 for JSON, 2 for an HTTP response, 128 and above for
    /// codecs of users.
    pub codec: u8,
    /// The version of the type that they were made from, as its owner counts.
    pub schema: u32,
    /// The bytes, up to [`MAX_PAYLOAD`](super::MAX_PAYLOAD).
    pub bytes: Vec<u8>,
}

impl Payload {
    /// The codec number of plain bytes.
    pub const BYTES: u8 = 0;
    /// The codec number of JSON.
    pub const JSON: u8 = 1;
    /// The codec number of HTTP responses.
    pub const HTTP: u8 = 2;
}

/// One version in the history of a workflow.
///
/// Its stored form is sealed: SHA-256 over the very bytes that are stored, and among them the digest
/// of the version before, so that a flipped bit, a lost version and two that were exchanged all show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The workflow.
    pub workflow: WorkflowId,
    /// Its place in the history of the workflow, from 1, without gaps when written.
    pub version: u64,
    /// The version that this one was made from: for a state, the one that was loaded; for a result,
    /// its intent; for a copy, the version in the workflow that was forked.
    pub parent: Option<u64>,
    /// The step.
    pub step: StepId,
    /// Which attempt at the step, from 1. Repetitions by layers inside one attempt do not count.
    pub attempt: u32,
    /// Under which epoch of the workflow it was written; 0 if without a lease.
    pub epoch: u64,
    /// What it says.
    pub status: Status,
    /// When it was written, in milliseconds since 1970, by the clock of whoever wrote it. For people:
    /// nothing is decided by it but the age of what may be pruned.
    pub created: u64,
    /// The digest of the request.
    pub fingerprint: Digest,
    /// What it carries.
    pub payload: Payload,
    /// The digest of the version before; of the first, 32 zeros.
    pub previous: Digest,
}

impl Record {
    /// What whoever wrote an intent knows it by, if they [said](super::Begin::mark).
    pub fn mark(&self) -> Option<u64> {
        let text = std::str::from_utf8(&self.payload.bytes).ok()?;
        u64::from_str_radix(text, 16).ok().filter(|_| self.status == Status::Intent)
    }
}

/// A record together with its seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The record.
    pub record: Record,
    /// SHA-256 of all bytes of the stored form before it.
    pub digest: Digest,
}

impl std::ops::Deref for Sealed {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

/// Why stored bytes are not an intact record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Damage {
    /// There is no record where one must be.
    Missing,
    /// The bytes are not those that were sealed.
    Digest,
    /// Intact, but not of the version, workflow or step for which it was kept: exchanged.
    Misplaced,
    /// Intact, but it does not continue the version before.
    Chain,
    /// Written in a format that this release does not know, with its number.
    Format(u8),
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Digest => f.write_str("its bytes were changed"),
            Self::Misplaced => f.write_str("kept in the place of another"),
            Self::Chain => f.write_str("it does not continue the version before it"),
            Self::Format(found) => write!(f, "format {found} is not known to this release"),
        }
    }
}
