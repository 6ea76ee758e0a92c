//! What a version is, and how it is written.

use buttress::store::{Damage, Finding, Payload, Sealed};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::StateError;

/// A version that was loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved<T> {
    /// The state.
    pub state: T,
    /// Its version.
    pub version: u64,
    /// The version that it was made from.
    pub parent: Option<u64>,
    /// What was said about it.
    pub metadata: Value,
    /// When it was saved, in milliseconds since 1970, by the clock of who saved it.
    pub created: u64,
    /// Newer versions that are damaged and were passed over, newest first.
    pub skipped: Vec<Finding>,
}

/// A version in a list.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Listed {
    /// It is as it was saved.
    Intact {
        /// The version.
        version: u64,
        /// The version that it was made from.
        parent: Option<u64>,
        /// What was said about it.
        metadata: Value,
        /// When it was saved, in milliseconds since 1970, by the clock of who saved it.
        created: u64,
        /// The number of its type.
        schema: u32,
        /// How long it is, in bytes, metadata included.
        bytes: usize,
    },
    /// It is not.
    Damaged {
        /// The version.
        version: u64,
        /// What is wrong with it.
        damage: Damage,
    },
}

/// How it is written: readable by any tool that knows JSON.
#[derive(Serialize)]
struct Written<'a, T> {
    metadata: &'a Value,
    state: &'a T,
}

#[derive(Deserialize)]
struct Read<T> {
    metadata: Value,
    state: T,
}

/// The metadata alone, without a need to know the type of the state.
#[derive(Deserialize)]
struct About {
    metadata: Value,
}

/// A state in the form in which it is saved.
#[derive(Clone)]
pub(super) struct Draft(pub(super) Vec<u8>);

pub(super) fn encode<T>(state: &T, metadata: &Value) -> Result<Draft, StateError>
where
    T: Serialize + DeserializeOwned,
{
    let unwritable = |message| StateError::Unwritable { message };
    let bytes = serde_json::to_vec(&Written { metadata, state })
        .map_err(|error| unwritable(error.to_string()))?;
    // Not all that JSON takes it gives back: it makes null of a float that is no number.
    serde_json::from_slice::<Read<T>>(&bytes)
        .map_err(|error| unwritable(format!("it cannot be read back: {error}")))?;
    Ok(Draft(bytes))
}

pub(super) fn about(record: &Sealed) -> Result<Listed, StateError> {
    let (version, parent, created) = (record.version, record.parent, record.created);
    let Payload { schema, bytes, .. } = &record.payload;
    let About { metadata } = serde_json::from_slice(bytes)
        .map_err(|error| StateError::Unreadable { version, message: error.to_string() })?;
    Ok(Listed::Intact { version, parent, metadata, created, schema: *schema, bytes: bytes.len() })
}

/// Reads a version whose type is to have this number.
pub(super) fn read<T: DeserializeOwned>(
    record: &Sealed,
    skipped: Vec<Finding>,
    wanted: u32,
) -> Result<Saved<T>, StateError> {
    let Payload { codec, schema, bytes } = &record.payload;
    let version = record.version;
    if *schema != wanted {
        return Err(StateError::Schema { version, found: *schema, wanted });
    }
    if *codec != Payload::JSON {
        let message = format!("it is written in codec {codec}");
        return Err(StateError::Unreadable { version, message });
    }
    let Read { metadata, state } = serde_json::from_slice(bytes)
        .map_err(|error| StateError::Unreadable { version, message: error.to_string() })?;
    let (parent, created) = (record.parent, record.created);
    Ok(Saved { state, version, parent, metadata, created, skipped })
}
