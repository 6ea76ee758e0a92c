//! When a server asks to be left alone until.

use std::time::{Duration, SystemTime};

use ::http::{HeaderMap, HeaderName, header::RETRY_AFTER};

/// The same in milliseconds, as Azure's and OpenAI's servers send it.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// Longer waits are told as this one: quotas are renewed by the day at the latest in practice, and
/// a server with a wrong clock must not hold a circuit open for years.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads how long a server asks to be left alone.
///
/// `retry-after-ms` goes before `Retry-After`, which is a number of seconds or a date in any of
/// the three formats of RFC 9110 §5.6.7. A date that has passed by `now` means zero. Numbers may
/// have a fraction. What cannot be read is taken as absent; what exceeds a day as a day.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use buttress::http::retry_after;
/// use http::{HeaderMap, header::RETRY_AFTER};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(RETRY_AFTER, "120".parse().unwrap());
/// assert_eq!(retry_after(&headers, SystemTime::UNIX_EPOCH), Some(Duration::from_secs(120)));
///
/// headers.insert(RETRY_AFTER, "Thu, 01 Jan 1970 00:01:00 GMT".parse().unwrap());
/// assert_eq!(retry_after(&headers, SystemTime::UNIX_EPOCH), Some(Duration::from_secs(60)));
///
/// headers.insert("retry-after-ms", "250".parse().unwrap());
/// assert_eq!(retry_after(&headers, SystemTime::UNIX_EPOCH), Some(Duration::from_millis(250)));
/// ```
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    read(headers, || now)
}

/// The same by the clock on the wall, which is looked at only if there is a date to compare.
pub(super) fn retry_after_by_clock(headers: &HeaderMap) -> Option<Duration> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a date in a header can be compared with nothing else"
    )]
    read(headers, SystemTime::now)
}

fn read(headers: &HeaderMap, now: impl Fn() -> SystemTime) -> Option<Duration> {
    let values = |name: HeaderName| {
        headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok()).map(str::trim)
    };
    values(RETRY_AFTER_MS)
        .find_map(|text| decimal(text, Duration::from_millis))
        .or_else(|| {
            values(RETRY_AFTER)
                .find_map(|text| decimal(text, Duration::from_secs).or_else(|| date(text, &now)))
        })
        .map(|wait| wait.min(LONGEST))
}

fn date(text: &str, now: impl Fn() -> SystemTime) -> Option<Duration> {
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now()).unwrap_or_default())
}

/// Reads digits with or without a fraction, as so many units.
///
/// Not as a floating-point number: that would let signs, exponents, infinities and NaN in.
fn decimal(text: &str, units: impl Fn(u64) -> Duration) -> Option<Duration> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    // Six digits of a fraction of a second are microseconds: finer than any timer.
    let fraction = fraction.get(..6).unwrap_or(fraction);
    let scale = 10_u32.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    units(whole.parse().ok()?).checked_add(units(fraction.parse().ok()?) / scale)
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn header(value: &str) -> Option<Duration> {
        let value = HeaderValue::from_str(value).unwrap();
        retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]), at(784_111_700))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn reads_numbers() {
        assert_eq!(header("0"), Some(Duration::ZERO));
        assert_eq!(header("007"), Some(7 * SECOND));
        assert_eq!(header("  30 "), Some(30 * SECOND));
        assert_eq!(header("1.5"), Some(Duration::from_millis(1_500)));
        assert_eq!(header("0.00000099"), Some(Duration::ZERO));
    }

    #[test]
    fn reads_the_three_forms_of_a_date() {
        // 784 111 777 s after the epoch: the example of RFC 9110 §5.6.7.
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(header(date), Some(77 * SECOND), "{date}");
        }
        assert_eq!(header("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
    }

    #[test]
    fn ignores_what_is_neither() {
        for text in [
            "",
            "-1",
            "+1",
            "1e3",
            "inf",
            "NaN",
            "1.",
            ".5",
            "1.2.3",
            "0x10",
            "1 2",
            "soon",
            "1s",
            "99999999999999999999999999",
            "Sun, 06 Nov 1994",
            "Sun, 32 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(header(text), None, "{text}");
        }
        let garbage = HeaderValue::from_bytes(b"\xff\xfe").unwrap();
        assert_eq!(retry_after(&HeaderMap::from_iter([(RETRY_AFTER, garbage)]), at(0)), None);
        assert_eq!(retry_after(&HeaderMap::new(), at(0)), None);
    }

    #[test]
    fn is_bounded() {
        assert_eq!(header("86401"), Some(LONGEST));
        assert_eq!(header(&u64::MAX.to_string()), Some(LONGEST));
        assert_eq!(header("Fri, 31 Dec 9999 23:59:59 GMT"), Some(LONGEST));
    }

    #[test]
    fn milliseconds_go_first_if_they_can_be_read() {
        let mut headers = HeaderMap::new();
        headers.append(RETRY_AFTER, HeaderValue::from_static("junk"));
        headers.append(RETRY_AFTER, HeaderValue::from_static("9"));
        assert_eq!(retry_after(&headers, at(0)), Some(9 * SECOND));
        headers.insert(RETRY_AFTER_MS, HeaderValue::from_static("1500"));
        assert_eq!(retry_after(&headers, at(0)), Some(Duration::from_millis(1_500)));
        headers.insert(RETRY_AFTER_MS, HeaderValue::from_static("-1500"));
        assert_eq!(retry_after(&headers, at(0)), Some(9 * SECOND));
    }

    #[test]
    fn the_clock_is_read_only_for_a_date() {
        let read_with = |text| {
            let reads = std::cell::Cell::new(0);
            let value = HeaderValue::from_static(text);
            read(&HeaderMap::from_iter([(RETRY_AFTER, value)]), || {
                reads.set(reads.get() + 1);
                at(0)
            });
            reads.get()
        };
        assert_eq!(read_with("12"), 0);
        assert_eq!(read_with("never"), 0);
        assert_eq!(read_with("Sun, 06 Nov 1994 08:49:37 GMT"), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, now in 0_u64..1 << 40) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let headers =
                    HeaderMap::from_iter([(RETRY_AFTER, value.clone()), (RETRY_AFTER_MS, value)]);
                prop_assert!(retry_after(&headers, at(now)).is_none_or(|wait| wait <= LONGEST));
            }
        }

        #[test]
        fn texts_like_dates_are_survived(
            text in "(Sun|Sunday|Xyz),? [0-9]{1,2}[ -](Nov|Feb|Foo)[ -][0-9]{2,4} [0-9]{2}:[0-9]{2}:[0-9]{2}( GMT)?"
        ) {
            prop_assert!(header(&text).is_none_or(|wait| wait <= LONGEST));
        }

        #[test]
        fn seconds_come_back(seconds in 0..=LONGEST.as_secs()) {
            prop_assert_eq!(header(&seconds.to_string()), Some(Duration::from_secs(seconds)));
        }

        #[test]
        fn milliseconds_come_back(millis in 0_u64..=86_400_000) {
            let value = HeaderValue::from(millis);
            let headers = HeaderMap::from_iter([(RETRY_AFTER_MS, value)]);
            prop_assert_eq!(retry_after(&headers, at(0)), Some(Duration::from_millis(millis)));
        }

        #[test]
        fn dates_come_back(now in 0_u64..4_000_000_000, seconds in 0..=LONGEST.as_secs()) {
            let text = httpdate::fmt_http_date(at(now + seconds));
            let value = HeaderValue::from_str(&text).unwrap();
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
            prop_assert_eq!(retry_after(&headers, at(now)), Some(Duration::from_secs(seconds)));
        }
    }
}
