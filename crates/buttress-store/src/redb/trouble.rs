//! What can go wrong with the file, and what to do about it.

use std::{any::Any, io, sync::Arc};

use ::redb::{CommitError, DatabaseError, Error, StorageError, TableError, TransactionError};
use buttress::store::{StoreError, TroubleKind};

/// Why an operation ended early.
pub(super) enum Stop {
    /// It was refused, and wrote nothing.
    Refused(StoreError),
    /// The engine failed.
    Broken(Error),
}

impl From<StoreError> for Stop {
    fn from(refused: StoreError) -> Self {
        Self::Refused(refused)
    }
}

macro_rules! broken {
    ($($error:ty),*) => {$(
        impl From<$error> for Stop {
            fn from(error: $error) -> Self {
                Self::Broken(error.into())
            }
        }
    )*};
}

broken!(StorageError, TableError, TransactionError, CommitError, DatabaseError);

impl Stop {
    pub(super) fn tell(self, path: &str) -> StoreError {
        match self {
            Self::Refused(refused) => refused,
            Self::Broken(error) => engine(path, error),
        }
    }
}

/// An error of redb in words that say what to do.
pub(super) fn engine(path: &str, error: Error) -> StoreError {
    let (kind, message) = match &error {
        Error::Io(cause) => return io_error(path, "access", io::Error::new(cause.kind(), error)),
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => (
            TroubleKind::Locked,
            format!(
                "`{path}` is open in another process, or twice in this one: end the other, or share one store"
            ),
        ),
        Error::Corrupted(what) => return damaged(path, what),
        Error::LockPoisoned(_) => return damaged(path, "the engine panicked over it"),
        Error::UpgradeRequired(format) => (
            TroubleKind::Format,
            format!(
                "`{path}` is a redb file of format {format}, which this release cannot read: open it with the release that wrote it"
            ),
        ),
        Error::TableTypeMismatch { .. }
        | Error::TableIsMultimap(_)
        | Error::TableIsNotMultimap(_)
        | Error::TypeDefinitionChanged { .. } => return foreign(path),
        Error::TableDoesNotExist(table) => {
            return damaged(path, &format!("the table `{table}` is missing"));
        }
        Error::PreviousIo | Error::DatabaseClosed => (
            TroubleKind::Unreachable,
            format!("`{path}` was closed after an earlier error of the disk: try again"),
        ),
        other => (TroubleKind::Other, format!("redb failed on `{path}`: {other}")),
    };
    StoreError::engine(kind, message, source(error))
}

/// The file is damaged.
pub(super) fn damaged(path: &str, what: &str) -> StoreError {
    StoreError::engine(
        TroubleKind::Damaged,
        format!(
            "`{path}` is damaged ({what}): stop writing to it, rescue what is intact with `lab store export {path}`, and restore a backup"
        ),
        None,
    )
}

/// A redb file, but not one of ours.
pub(super) fn foreign(path: &str) -> StoreError {
    StoreError::engine(
        TroubleKind::Format,
        format!("`{path}` is a redb file of another program: give the store a file of its own"),
        None,
    )
}

/// Written by a later release.
pub(super) fn newer(path: &str, found: u32, known: u32) -> StoreError {
    StoreError::engine(
        TroubleKind::Format,
        format!(
            "`{path}` has layout {found}, and this release knows layouts up to {known}: open it with the release that wrote it, or a later one"
        ),
        None,
    )
}

/// An error of the file system.
pub(super) fn io_error(path: &str, verb: &str, error: io::Error) -> StoreError {
    use io::ErrorKind as Kind;
    let (kind, message) = match error.kind() {
        Kind::NotFound => (
            TroubleKind::Other,
            format!(
                "cannot {verb} `{path}`: it, or its directory, does not exist: create the directory first"
            ),
        ),
        Kind::PermissionDenied => (
            TroubleKind::Denied,
            format!(
                "cannot {verb} `{path}`: no rights: let this user read and write the file and its directory"
            ),
        ),
        Kind::ReadOnlyFilesystem => (
            TroubleKind::ReadOnly,
            format!(
                "cannot {verb} `{path}`: its file system is read-only: mount it writable, or choose another place"
            ),
        ),
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => (
            TroubleKind::Full,
            format!(
                "no room left for `{path}`: free some; what was answered before is safe, and the store goes on by itself"
            ),
        ),
        Kind::IsADirectory => (
            TroubleKind::Other,
            format!("cannot {verb} `{path}`: it is a directory: name a file in it"),
        ),
        Kind::InvalidData => {
            return damaged(path, "it is not a redb file, or its beginning is lost");
        }
        Kind::UnexpectedEof => return damaged(path, "it is cut short"),
        _ => (TroubleKind::Other, format!("cannot {verb} `{path}`: {error}")),
    };
    StoreError::engine(kind, message, source(error))
}

/// redb panicked: it trusts what it reads.
pub(super) fn panicked(path: &str, payload: &(dyn Any + Send)) -> StoreError {
    let what = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("for an unknown reason");
    damaged(path, &format!("the engine panicked over it: {what}"))
}

/// The writer is gone, which only a panic of a hook can bring about.
pub(super) fn stopped(path: &str) -> StoreError {
    StoreError::engine(
        TroubleKind::Other,
        format!("the writer of `{path}` has stopped: open the store again"),
        None,
    )
}

fn source(
    error: impl std::error::Error + Send + Sync + 'static,
) -> Option<Arc<dyn std::error::Error + Send + Sync>> {
    Some(Arc::new(error))
}
