//! What a status says.

use std::time::Duration;

use ::http::{Request, Response, StatusCode};

use super::retry_after::retry_after_by_clock;
use crate::{Classify, Effect, Fault, Verdict};

/// Judges responses by status and headers, and errors by [`Fault`].
///
/// | status | verdict | effect |
/// |---|---|---|
/// | 1xx, 2xx, 3xx | success | applied |
/// | 402 | reroute: this account is out of money or quota, another may not be | none |
/// | 408, 500, 502, 504, and every 5xx not named here | transient | maybe |
/// | 413 | permanent; throttled if it has a `Retry-After` | maybe; none |
/// | 425 | transient | none |
/// | 429, 529 | throttled | none |
/// | 503 | transient; throttled if it has a `Retry-After` | maybe; none |
/// | 501, 505–508, 510, 511 | permanent | maybe |
/// | any other 4xx | permanent | maybe |
///
/// `Retry-After` and `retry-after-ms` are read as by [`retry_after`](super::retry_after) and kept
/// on every verdict that may be repeated.
///
/// The judgement of an effect is the server's word and no more. 425 is the refusal to process
/// what may be a replay (RFC 8470 §5.2), hence without effect. 408 ought to mean that the request
/// did not arrive whole (RFC 9110 §15.5.9), but a server may begin before the end has arrived, and
/// gateways send it when a handler is slow, hence maybe. A 503 that says when to return was
/// decided before the work; one that does not may be a proxy's word for a connection that broke
/// in the midst of it. 413 with a `Retry-After` is a passing condition (RFC 9110 §15.5.14), and
/// codes that are not known count as the x00 of their class (§15). 529 is "overloaded" to several
/// providers of language models.
///
/// The method changes nothing here. That a failed `GET` may be repeated is for [`Idempotent`] to
/// say: its effect is not "none", since it may well have been executed, with all its cost.
///
/// What differs at your service is said with [`refine`](crate::ClassifyExt::refine):
///
/// ```
/// use buttress::{Classify, ClassifyExt, Kind, Verdict, http::ByStatus};
/// use http::{Request, Response, StatusCode};
///
/// let classifier = ByStatus.refine(|verdict, outcome: Result<&Response<()>, &std::io::Error>| {
///     match outcome {
///         Ok(response) if response.status() == StatusCode::CONFLICT => Verdict::transient(),
///         _ => verdict,
///     }
/// });
/// # fn judge<C: Classify<Request<()>, Response<()>, std::io::Error>>(classifier: &C, status: u16) -> Verdict {
/// #     let response = Response::builder().status(status).body(()).unwrap();
/// #     classifier.verdict(&classifier.begin(&Request::new(())), Ok(&response))
/// # }
/// assert_eq!(judge(&classifier, 409).kind, Kind::Transient);
/// assert_eq!(judge(&classifier, 404).kind, Kind::Permanent);
/// ```
///
/// [`Idempotent`]: super::Idempotent
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByStatus;

impl<B, B2, E: Fault> Classify<Request<B>, Response<B2>, E> for ByStatus {
    type Call = ();

    fn begin(&self, _: &Request<B>) {}

    fn verdict(&self, (): &(), outcome: Result<&Response<B2>, &E>) -> Verdict {
        match outcome {
            Ok(response) if response.status().as_u16() < 400 => Verdict::success(),
            Ok(response) => of_status(response.status(), retry_after_by_clock(response.headers())),
            Err(error) => error.verdict(),
        }
    }
}

/// Judges a status, and how long the server asked to be left alone, if it did.
///
/// For clients that tell of a status without a [`Response`]; the table is at [`ByStatus`].
///
/// ```
/// use std::time::Duration;
/// use buttress::{Verdict, http::of_status};
/// use http::StatusCode;
///
/// let wait = Duration::from_secs(3);
/// let verdict = of_status(StatusCode::SERVICE_UNAVAILABLE, Some(wait));
/// assert_eq!(verdict, Verdict::throttled().with_retry_after(wait));
/// ```
pub const fn of_status(status: StatusCode, retry_after: Option<Duration>) -> Verdict {
    let verdict = match (status.as_u16(), retry_after) {
        (..400, _) => return Verdict::success(),
        (402, _) => return Verdict::reroute(),
        (408, _) => Verdict::transient(),
        (425, _) => Verdict::transient().with_effect(Effect::None),
        (429 | 529, _) | (413 | 503, Some(_)) => Verdict::throttled(),
        (400..=499, _) => return Verdict::permanent(),
        // 507 must not be repeated of itself (RFC 4918 §11.5); the others will say the same again.
        (501 | 505..=508 | 510 | 511, _) => return Verdict::permanent(),
        // 6xx and above are no statuses, and to be read as a server's error (RFC 9110 §15).
        (500.., _) => Verdict::transient(),
    };
    Verdict { retry_after, ..verdict }
}

#[cfg(test)]
mod tests {
    use std::io;

    use ::http::{HeaderValue, Method, header::RETRY_AFTER};

    use super::*;
    use crate::Kind;

    fn judge_by<C>(classifier: &C, outcome: Result<&Response<()>, &io::Error>) -> Verdict
    where
        C: Classify<Request<()>, Response<()>, io::Error>,
    {
        let verdicts = [Method::GET, Method::POST].map(|method| {
            let mut request = Request::new(());
            *request.method_mut() = method;
            classifier.verdict(&classifier.begin(&request), outcome)
        });
        assert_eq!(verdicts[0], verdicts[1], "the method matters");
        verdicts[0]
    }

    fn judge(status: u16, wait: Option<&'static str>) -> Verdict {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if let Some(wait) = wait {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(wait));
        }
        judge_by(&ByStatus, Ok(&response))
    }

    #[test]
    fn every_status_is_read_as_the_table_says() {
        use {Effect as E, Kind as K};
        for status in 100..1000 {
            let plain = match status {
                ..400 => (K::Success, E::Applied),
                402 => (K::Reroute, E::None),
                408 => (K::Transient, E::Maybe),
                425 => (K::Transient, E::None),
                429 | 529 => (K::Throttled, E::None),
                400..=499 => (K::Permanent, E::Maybe),
                505..=508 | 501 | 510 | 511 => (K::Permanent, E::Maybe),
                _ => (K::Transient, E::Maybe),
            };
            let verdict = judge(status, None);
            assert_eq!((verdict.kind, verdict.effect), plain, "{status}");
            assert_eq!(verdict.retry_after, None, "{status}");

            let asked = match status {
                413 | 503 => (K::Throttled, E::None),
                _ => plain,
            };
            let verdict = judge(status, Some("3"));
            assert_eq!((verdict.kind, verdict.effect), asked, "{status} with Retry-After");
            let repeatable = matches!(verdict.kind, K::Transient | K::Throttled);
            let wait = repeatable.then_some(Duration::from_secs(3));
            assert_eq!(verdict.retry_after, wait, "{status} with Retry-After");
        }
    }

    #[test]
    fn a_wait_that_cannot_be_read_is_none() {
        assert_eq!(judge(503, Some("-3")), Verdict::transient());
        assert_eq!(judge(429, Some("later")), Verdict::throttled());
    }

    #[test]
    fn errors_speak_for_themselves() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(judge_by(&ByStatus, Err(&reset)), Verdict::transient());
    }
}
