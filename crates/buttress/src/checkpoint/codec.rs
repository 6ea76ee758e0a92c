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

const NULL: &[u8] = b"null";

/// JSON, by serde: the default.
///
/// Numbers that JSON does not have, NaN and the infinities, are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn number(&self) -> u8 {
        Payload::JSON
    }

    fn encode(&self, value: &T) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let bytes = serde_json::to_vec(value)?;
        // JSON writes numbers that are none so, and then nobody can read them.
        if bytes.windows(NULL.len()).any(|part| part == NULL) {
            serde_json::from_slice::<T>(&bytes)
                .map_err(|error| format!("it cannot be read back from JSON: {error}"))?;
        }
        Ok(bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, Box<dyn Error + Send + Sync>> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let codec: &dyn Codec<Vec<f64>> = &Json;
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let refused = codec.encode(&vec![1.0, number]).expect_err("no number").to_string();
            assert!(refused.contains("read back") && refused.contains("null"), "{refused}");
        }
        for value in [None, Some("null".to_owned())] {
            let bytes = Json.encode(&value).expect("nothing is wrong");
            assert_eq!(Codec::<Option<String>>::decode(&Json, &bytes).expect("it is there"), value);
        }
    }
}
