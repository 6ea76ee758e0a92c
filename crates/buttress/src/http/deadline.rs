//! The deadline that travels with a request.

mod receive;
mod send;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

pub use self::{
    receive::{ReceiveDeadline, ReceiveDeadlineLayer},
    send::{SendDeadline, SendDeadlineLayer},
};

/// The header that carries the time left, in whole milliseconds.
///
/// A distance and not a point in time: the clocks of two machines need not agree.
pub const REQUEST_TIMEOUT_MS: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// The end of a request's time, as an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndsAt(pub Instant);

/// The header's value for so much time, rounded down so that the receiver never has more.
fn value_of(left: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
}

/// The time that a sender leaves, if the header says so in digits; everything else is ignored.
fn left_by(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(REQUEST_TIMEOUT_MS)?.to_str().ok()?;
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Digits that are too many for a number are a long time, and bounded by the receiver.
    Some(Duration::from_millis(value.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(value: &[u8]) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_TIMEOUT_MS, HeaderValue::from_bytes(value).ok()?);
        left_by(&headers)
    }

    #[test]
    fn only_digits_are_understood() {
        assert_eq!(parsed(b"1500"), Some(Duration::from_millis(1_500)));
        assert_eq!(parsed(b"0"), Some(Duration::ZERO));
        assert_eq!(parsed(b"99999999999999999999999"), Some(Duration::from_millis(u64::MAX)));
        for nonsense in [&b""[..], b"-1", b"+1", b"1.5", b"1 s", b"soon", b"\xff"] {
            assert_eq!(parsed(nonsense), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_is_received_and_never_more(nanos in any::<u64>()) {
            let left = Duration::from_nanos(nanos);
            let received = parsed(value_of(left).as_bytes()).unwrap();
            prop_assert!(received <= left);
            prop_assert!(left - received < Duration::from_millis(1));
        }

        #[test]
        fn never_panics(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = parsed(&value);
        }
    }
}
