use std::{error::Error, fmt};

use buttress::{Effect, Fault, Verdict, store::StoreError};

/// Why a state was not saved or not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// The store says no: the save is stale or fenced, nothing intact is left, the engine failed.
    Store(StoreError),
    /// The version is intact, and of another type: that which had this number then.
    Schema {
        /// The version.
        version: u64,
        /// The number of the type that was saved.
        found: u32,
        /// The number of the type that is wanted.
        wanted: u32,
    },
    /// The version is intact, and does not have the form of the state.
    Unreadable {
        /// The version.
        version: u64,
        /// What serde says.
        message: String,
    },
    /// The state cannot be put into bytes, or not be read back from them. Nothing was saved.
    Unwritable {
        /// What serde says.
        message: String,
    },
    /// The [`Saver`](super::Saver) is gone, so nothing is saved any more.
    Gone,
}

impl From<StoreError> for StateError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Schema { version, found, wanted } => {
                write!(f, "version {version} has schema {found}, schema {wanted} is wanted")
            }
            Self::Unreadable { version, message } => {
                write!(f, "version {version} cannot be read: {message}")
            }
            Self::Unwritable { message } => write!(f, "the state cannot be saved: {message}"),
            Self::Gone => f.write_str("nobody saves any more: the saver was dropped"),
        }
    }
}

impl Error for StateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl Fault for StateError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Store(error) => error.verdict(),
            _ => Verdict::permanent().with_effect(Effect::None),
        }
    }
}
