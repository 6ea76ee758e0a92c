use std::{
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::left_by;
use crate::{
    FromRejection, Name, Observe,
    timeout::{ResponseFuture, Timeout, TimeoutLayer},
};

/// Takes over the deadline of whoever sent the request, for a server.
///
/// A [`TimeoutLayer`] whose limit is what the header
/// [`REQUEST_TIMEOUT_MS`](super::REQUEST_TIMEOUT_MS) leaves, and at most `longest`: the
/// sender may shorten a request's time, never lengthen it. Layers and handlers inside see it as
/// their [`Deadline`](crate::Deadline), and pass it on with
/// [`SendDeadlineLayer`](super::SendDeadlineLayer).
///
/// ```
/// use std::time::Duration;
/// use buttress::{Deadline, http::ReceiveDeadlineLayer};
/// use http::Request;
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let service = ServiceBuilder::new()
///     .layer(ReceiveDeadlineLayer::new(Duration::from_secs(30)))
///     .service(service_fn(async |_: Request<()>| Ok::<_, BoxError>(Deadline::remaining())));
/// let request = Request::get("/").header("x-request-timeout-ms", "1500").body(()).unwrap();
/// assert_eq!(service.oneshot(request).await.unwrap(), Some(Duration::from_millis(1_500)));
/// # }
/// ```
///
/// # Errors
/// [`Rejection::Timeout`](crate::Rejection::Timeout) when the time is over.
#[derive(Clone, Debug)]
pub struct ReceiveDeadlineLayer(TimeoutLayer);

impl ReceiveDeadlineLayer {
    /// Lets a request take what its sender leaves, and at most `longest`.
    pub const fn new(longest: Duration) -> Self {
        Self(TimeoutLayer::new(longest))
    }

    /// Sets the name that events carry.
    #[must_use]
    pub fn name(self, name: impl Into<Name>) -> Self {
        Self(self.0.name(name))
    }

    /// Sets who listens to events; `tracing` by default.
    #[must_use]
    pub fn observe(self, observe: impl Observe + 'static) -> Self {
        Self(self.0.observe(observe))
    }
}

impl<S> Layer<S> for ReceiveDeadlineLayer {
    type Service = ReceiveDeadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ReceiveDeadline(self.0.layer(inner))
    }
}

/// The service of [`ReceiveDeadlineLayer`].
#[derive(Clone, Debug)]
pub struct ReceiveDeadline<S>(Timeout<S>);

impl<S, B> Service<Request<B>> for ReceiveDeadline<S>
where
    S: Service<Request<B>>,
    S::Error: FromRejection,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Request<B>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match left_by(request.headers()) {
            Some(left) => self.0.call_within(request, left),
            None => self.0.call(request),
        }
    }
}
