use tower_layer::Layer;

use super::BufferBody;

/// Reads request bodies up to a limit before the call, so that requests can be sent twice.
///
/// Takes requests with any [`Body`](http_body::Body) that is `Unpin` (pin others with
/// `request.map(Box::pin)`) and calls the inner service with
/// [`ReplayBody`](super::ReplayBody), which [`Idempotent`](crate::http::Idempotent) can copy if it was
/// buffered whole. Put it outside the layers that repeat. The inner service must be `Clone`.
///
/// ```
/// use buttress::http::{BufferBodyLayer, ReplayBody};
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut service = ServiceBuilder::new().layer(BufferBodyLayer::new(8)).service(service_fn(
///     async |request: Request<ReplayBody<Full<Bytes>>>| Ok::<_, BoxError>(request.body().copy().is_some()),
/// ));
/// let small = Request::new(Full::from("8 bytes."));
/// assert!(service.ready().await.unwrap().call(small).await.unwrap());
/// let large = Request::new(Full::from("and 11 of them"));
/// assert!(!service.ready().await.unwrap().call(large).await.unwrap());
/// # use tower::Service;
/// # }
/// ```
///
/// # Larger bodies
/// A body that says it is larger is not read at all; one that turns out larger is passed through
/// once: what was read first, then the rest as it comes. So a call keeps at most the limit and one
/// frame of the body; while a body of several frames is joined, up to three times the limit.
/// Trailers are kept, and do not count.
///
/// # Errors
/// A body that fails while it is read is passed on with its failure in place: the inner service
/// reads what came before and then the same error, as it would without this layer. Such a body is
/// not copied. The layer has no errors of its own.
///
/// # Clone
/// Clones share nothing.
///
/// # Cancellation
/// The readied inner service, the request and what was read wait in the response future and go
/// with it. A slow body so keeps a readiness, such as a permit of a concurrency limit inside: bound
/// the wait with a [`TimeoutLayer`](crate::TimeoutLayer) outside.
///
/// # When not to use
/// Bodies that are `Clone`, such as [`Full`](http_body_util::Full), can be copied without.
#[derive(Clone, Copy, Debug)]
pub struct BufferBodyLayer {
    limit: usize,
}

impl BufferBodyLayer {
    /// Buffers bodies of up to `limit` bytes, that many included.
    ///
    /// With a limit of 0 only empty bodies can be sent twice.
    pub const fn new(limit: usize) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for BufferBodyLayer {
    type Service = BufferBody<S>;

    fn layer(&self, inner: S) -> BufferBody<S> {
        BufferBody { inner, limit: self.limit }
    }
}
