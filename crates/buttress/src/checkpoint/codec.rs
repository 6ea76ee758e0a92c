//! Responses as bytes, and back.

use std::error::Error;

use serde::{Serialize, de::DeserializeOwned};

use crate::store::Payload;

/// Puts responses into bytes, and reads them back.
pub trait Codec<T> {
    /// The number of the codec, which is stored with the bytes: 128 and above for your own.
    fn number(&self) -> u8;

    /// The bytes of a response.
    fn encode(&self, value: &T) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>>;

    /// The response of the bytes.
    fn decode(&self, bytes: &[u8]) -> Result<T, Box<dyn Error + Send + Sync>>;
}

/// JSON, by serde: the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn number(&self) -> u8 {
        Payload::JSON
    }

    fn encode(&self, value: &T) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        Ok(serde_json::to_vec(value)?)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, Box<dyn Error + Send + Sync>> {
        Ok(serde_json::from_slice(bytes)?)
    }
}
