//! Steps that are HTTP requests.

use std::{
    error::Error,
    pin::pin,
    task::{Context, Poll, Waker},
};

use ::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::Body;
use http_body_util::{Empty, Full};

use super::{Codec, Keyed, StepOf, Unkeyed};
use crate::{
    http::ReplayBody,
    store::{Digest, IdempotencyKey, Payload},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A body whose bytes are at hand, to be hashed or recorded.
///
/// Requests get one by [`BufferBodyLayer`](crate::http::BufferBodyLayer) outside the checkpoint, responses
/// by collecting them inside of it.
#[diagnostic::on_unimplemented(
    message = "the bytes of a body of type `{Self}` are not at hand",
    label = "`{Self}` is not `buttress::checkpoint::AtHand`",
    note = "for requests, put `buttress::http::BufferBodyLayer::new(limit)` outside the checkpoint",
    note = "for responses, collect the body inside the checkpoint: `http_body_util::BodyExt::collect` in an `.and_then(..)`"
)]
pub trait AtHand {
    /// The bytes; `None` if they are not all there.
    fn at_hand(&self) -> Option<Bytes>;
}

impl AtHand for () {
    fn at_hand(&self) -> Option<Bytes> {
        Some(Bytes::new())
    }
}

impl AtHand for Bytes {
    fn at_hand(&self) -> Option<Bytes> {
        Some(self.clone())
    }
}

impl AtHand for Vec<u8> {
    fn at_hand(&self) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(self))
    }
}

impl AtHand for String {
    fn at_hand(&self) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(self.as_bytes()))
    }
}

impl AtHand for &'static str {
    fn at_hand(&self) -> Option<Bytes> {
        Some(Bytes::from_static(self.as_bytes()))
    }
}

impl<D> AtHand for Empty<D> {
    fn at_hand(&self) -> Option<Bytes> {
        Some(Bytes::new())
    }
}

impl<D: Buf + Clone> AtHand for Full<D> {
    fn at_hand(&self) -> Option<Bytes> {
        drain(self.clone())
    }
}

impl<B: Body + Unpin> AtHand for ReplayBody<B> {
    fn at_hand(&self) -> Option<Bytes> {
        drain(self.copy()?)
    }
}

#[cfg(feature = "reqwest")]
impl AtHand for reqwest::Body {
    fn at_hand(&self) -> Option<Bytes> {
        self.as_bytes().map(Bytes::copy_from_slice)
    }
}

/// Reads a body that has nothing to wait for.
fn drain<B: Body>(body: B) -> Option<Bytes> {
    let mut body = pin!(body);
    let mut cx = Context::from_waker(Waker::noop());
    let mut read = BytesMut::new();
    while !body.is_end_stream() {
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(None) => break,
            Poll::Ready(Some(Ok(frame))) => {
                // Trailers are no part of what is asked.
                if let Ok(data) = frame.into_data() {
                    read.put(data);
                }
            }
            Poll::Ready(Some(Err(_))) | Poll::Pending => return None,
        }
    }
    Some(read.freeze())
}

/// The step is the [`StepOf`] in the extensions of the request.
///
/// The fingerprint is made of method, URI and body; not of headers, which carry dates and traces. The
/// key goes into the header `Idempotency-Key`, in place of one that was there, and into the extensions.
///
/// ```
/// use buttress::checkpoint::{Keyed, StepOf};
/// use http::Request;
///
/// let charge = || Request::post("/charges").body("cents=1200").unwrap();
/// let mut request = charge();
/// request.extensions_mut().insert(StepOf::new("order-17", "charge"));
/// assert_eq!(request.step(), Ok(StepOf::new("order-17", "charge")));
/// assert_eq!(request.fingerprint(), charge().fingerprint());
/// assert!(charge().step().unwrap_err().to_string().contains("`StepOf`"));
/// ```
impl<B: AtHand> Keyed for Request<B> {
    fn step(&self) -> Result<StepOf, Unkeyed> {
        let step = self.extensions().get::<StepOf>().cloned();
        step.ok_or_else(|| {
            Unkeyed::new(
                "the request does not say which step it is: put a \
                 `buttress::checkpoint::StepOf` into its extensions",
            )
        })
    }

    fn fingerprint(&self) -> Result<Digest, Unkeyed> {
        let body = self.body().at_hand().ok_or_else(|| {
            Unkeyed::new(
                "the body of the request is not at hand, to tell it from others: put a \
                 `buttress::http::BufferBodyLayer` with a sufficient limit outside the checkpoint",
            )
        })?;
        let uri = self.uri().to_string();
        Ok(Digest::of_parts(&[self.method().as_str().as_bytes(), uri.as_bytes(), &body]))
    }

    fn place(&mut self, key: IdempotencyKey) {
        // Hexadecimal digits are a header value.
        if let Ok(value) = HeaderValue::try_from(key.to_string()) {
            self.headers_mut().insert(IDEMPOTENCY_KEY, value);
        }
        self.extensions_mut().insert(key);
    }
}

/// Keeps status, headers and body of HTTP responses.
///
/// The body's bytes must be [at hand](AtHand): collect it inside the checkpoint. The version and the
/// extensions are not kept.
///
/// ```
/// use buttress::checkpoint::{Codec, Http};
/// use bytes::Bytes;
/// use http::Response;
///
/// let response = Response::builder().status(201).header("location", "/charges/7");
/// let response = response.body(Bytes::from("paid")).unwrap();
/// let bytes = Http.encode(&response).unwrap();
/// let read: Response<Bytes> = Http.decode(&bytes).unwrap();
/// assert_eq!((read.status(), &read.headers()["location"], &read.body()[..]), (response.status(), "/charges/7", &b"paid"[..]));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http;

/// Status, the number of headers, each header's name and value after their lengths, the body.
impl<B: AtHand + From<Bytes>> Codec<Response<B>> for Http {
    fn number(&self) -> u8 {
        Payload::HTTP
    }

    fn encode(&self, response: &Response<B>) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let body = response
            .body()
            .at_hand()
            .ok_or("the body of the response is not at hand: collect it inside the checkpoint")?;
        let headers = response.headers();
        let mut bytes = Vec::with_capacity(64 * (headers.len() + 1) + body.len());
        bytes.put_u16_le(response.status().as_u16());
        bytes.put_u32_le(u32::try_from(headers.len())?);
        for (name, value) in headers {
            for part in [name.as_str().as_bytes(), value.as_bytes()] {
                bytes.put_u32_le(u32::try_from(part.len())?);
                bytes.put_slice(part);
            }
        }
        bytes.put_slice(&body);
        Ok(bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Response<B>, Box<dyn Error + Send + Sync>> {
        let mut rest = bytes;
        let status = StatusCode::from_u16(rest.try_get_u16_le()?)?;
        let count = rest.try_get_u32_le()?;
        let mut headers = HeaderMap::new();
        for _ in 0..count {
            let name = HeaderName::from_bytes(part(&mut rest)?)?;
            headers.try_append(name, HeaderValue::from_bytes(part(&mut rest)?)?)?;
        }
        let mut response = Response::new(B::from(Bytes::copy_from_slice(rest)));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

fn part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Box<dyn Error + Send + Sync>> {
    let length = rest.try_get_u32_le()? as usize;
    let (part, after) = rest.split_at_checked(length).ok_or("cut short")?;
    *rest = after;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn charge() -> Request<&'static str> {
        Request::post("https://bank.example/charges?x=1").body("cents=1200").expect("valid")
    }

    #[test]
    fn the_fingerprint_is_that_of_what_is_asked() {
        let fingerprint = charge().fingerprint();
        let mut traced = charge();
        traced.headers_mut().insert("traceparent", HeaderValue::from_static("00-1"));
        assert_eq!(traced.fingerprint(), fingerprint);
        let (parts, _) = charge().into_parts();
        let full = Request::from_parts(parts, Full::new(Bytes::from_static(b"cents=1200")));
        assert_eq!(full.fingerprint(), fingerprint);
        let mut put = charge();
        *put.method_mut() = ::http::Method::PUT;
        let mut elsewhere = charge();
        *elsewhere.uri_mut() = "https://bank.example/charges".parse().expect("valid");
        let more = charge().map(|_| "cents=1201");
        for other in [put, elsewhere, more] {
            assert_ne!(other.fingerprint(), fingerprint);
        }
    }

    #[test]
    fn the_key_replaces_one_that_was_there() {
        let mut request = charge();
        request.headers_mut().insert(IDEMPOTENCY_KEY, HeaderValue::from_static("mine"));
        let key = IdempotencyKey(Digest::of(b"x"));
        request.place(key);
        assert_eq!(request.headers()[IDEMPOTENCY_KEY], key.to_string());
        assert_eq!(request.headers().len(), 1);
        assert_eq!(request.extensions().get(), Some(&key));
    }

    fn decode(bytes: &[u8]) -> Result<Response<Bytes>, Box<dyn Error + Send + Sync>> {
        Http.decode(bytes)
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            status in 100_u16..1000,
            headers in prop::collection::vec(("[a-z][a-z0-9-]{0,8}", "[ -~]{0,8}"), 0..5),
            body: Vec<u8>,
            keep: prop::sample::Index,
        ) {
            let mut response = Response::new(Bytes::from(body));
            *response.status_mut() = StatusCode::from_u16(status)?;
            for (name, value) in headers {
                let name = HeaderName::try_from(name).expect("valid");
                response.headers_mut().append(name, HeaderValue::try_from(value).expect("valid"));
            }
            let bytes = Http.encode(&response).expect("it is at hand");
            let read = decode(&bytes).expect("it was encoded");
            prop_assert_eq!(read.status(), response.status());
            prop_assert_eq!(read.headers(), response.headers());
            prop_assert_eq!(read.body(), response.body());
            // Cut short in the head it is an error, never a panic.
            let head = bytes.len() - response.body().len();
            prop_assert!(decode(&bytes[..keep.index(head)]).is_err());
        }

        #[test]
        fn noise_is_no_panic(noise: Vec<u8>) {
            let _ = decode(&noise);
        }
    }
}
