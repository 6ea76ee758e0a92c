//! Which requests may be sent again.

use ::http::{HeaderName, Request};

use crate::{Repeat, Replay};

/// The header of draft-ietf-httpapi-idempotency-key-header.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Repeats idempotent requests freely, others only if they were provably not executed.
///
/// Idempotent are the methods of RFC 9110 §9.2.2 (`GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT`,
/// `DELETE`) and `QUERY`, and any request with an `Idempotency-Key`, by which the server knows a
/// repetition. Method, URI, version, headers and extensions are copied; the body as
/// [`CopyBody`] says.
///
/// ```
/// use buttress::{Repeat, Replay, http::Idempotent};
/// use http::Request;
///
/// let search = Request::get("/search").body(()).unwrap();
/// assert_eq!(Idempotent.repeat(&search), Repeat::Freely);
///
/// let order = Request::post("/orders").body("two apples").unwrap();
/// assert_eq!(Idempotent.repeat(&order), Repeat::IfUnsent);
///
/// let order = Request::post("/orders").header("idempotency-key", "8e03").body("two apples").unwrap();
/// assert_eq!(Idempotent.repeat(&order), Repeat::Freely);
/// assert_eq!(Idempotent.copy(&order).map(Request::into_body), Some("two apples"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Idempotent;

impl<B: CopyBody> Replay<Request<B>> for Idempotent {
    fn repeat(&self, request: &Request<B>) -> Repeat {
        let keyed = || request.headers().get(IDEMPOTENCY_KEY).is_some_and(|key| !key.is_empty());
        if request.method().is_idempotent() || keyed() { Repeat::Freely } else { Repeat::IfUnsent }
    }

    fn copy(&self, request: &Request<B>) -> Option<Request<B>> {
        // First the body: if it cannot be copied, the head is not worth copying.
        let body = request.body().copy_body()?;
        let mut copy = Request::new(body);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        *copy.extensions_mut() = request.extensions().clone();
        Some(copy)
    }
}

/// A request body that can be sent twice.
///
/// Every `Clone` body is one (`()`, `Bytes`, `String`, `Full`, `Empty`), and so is
/// [`ReplayBody`](super::ReplayBody), as long as it was buffered whole. Implement it for a body of
/// your own that is not `Clone`.
#[diagnostic::on_unimplemented(
    message = "a request body of type `{Self}` cannot be sent twice",
    label = "`{Self}` is neither `Clone` nor `buttress::http::CopyBody`",
    note = "put `buttress::http::BufferBodyLayer::new(limit)` outside the layer that repeats: it keeps bodies up to a limit"
)]
pub trait CopyBody: Sized {
    /// Copies the body from its start; `None` if it must be sent once.
    fn copy_body(&self) -> Option<Self>;
}

// Else the compiler would ask for `Clone` and not show the notes above.
#[diagnostic::do_not_recommend]
impl<B: Clone> CopyBody for B {
    fn copy_body(&self) -> Option<Self> {
        Some(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use ::http::{HeaderValue, Method, Version};
    use bytes::Bytes;
    use http_body_util::{Empty, Full};

    use super::*;

    #[test]
    fn methods_are_repeated_as_they_allow() {
        let repeat = |method: &str, key: Option<&'static str>| {
            let mut request = Request::new(());
            *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
            if let Some(key) = key {
                request.headers_mut().insert(IDEMPOTENCY_KEY, HeaderValue::from_static(key));
            }
            Idempotent.repeat(&request)
        };
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"] {
            assert_eq!(repeat(method, None), Repeat::Freely, "{method}");
        }
        for method in ["POST", "PATCH", "CONNECT", "BREW"] {
            assert_eq!(repeat(method, None), Repeat::IfUnsent, "{method}");
            assert_eq!(repeat(method, Some("\"8e03\"")), Repeat::Freely, "{method}");
            assert_eq!(repeat(method, Some("")), Repeat::IfUnsent, "{method}");
        }
    }

    #[test]
    fn copies_everything() {
        let request = Request::put("https://example.com/a?b=c")
            .version(Version::HTTP_2)
            .header("x-one", "1")
            .header("x-one", "2")
            .extension(7_u8)
            .body(Full::new(Bytes::from_static(b"body")))
            .unwrap();
        let copy = Idempotent.copy(&request).unwrap();
        assert_eq!(copy.extensions().get::<u8>(), Some(&7));
        assert_eq!(format!("{copy:?}"), format!("{request:?}"));
    }

    #[test]
    fn plain_bodies_can_be_copied() {
        fn is<B: CopyBody>() {}
        is::<()>();
        is::<String>();
        is::<Vec<u8>>();
        is::<&'static str>();
        is::<Bytes>();
        is::<Full<Bytes>>();
        is::<Empty<Bytes>>();
    }
}
