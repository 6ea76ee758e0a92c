use std::task::{Context, Poll};

use http::Request;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{EndsAt, REQUEST_TIMEOUT_MS, value_of};
use crate::Deadline;

/// Tells the server how much time the call has left.
///
/// Under a [`TimeoutLayer`](crate::TimeoutLayer), each request gets the header
/// [`REQUEST_TIMEOUT_MS`] and the extension [`EndsAt`]. Without a deadline requests pass as they are.
/// Put it innermost, below retry and hedge, so that each attempt tells what is left for it.
///
/// ```
/// use std::time::Duration;
/// use buttress::{TimeoutLayer, http::SendDeadlineLayer};
/// use http::Request;
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let service = ServiceBuilder::new()
///     .layer(TimeoutLayer::new(Duration::from_secs(5)))
///     .layer(SendDeadlineLayer)
///     .service(service_fn(async |request: Request<()>| {
///         Ok::<_, BoxError>(request.headers()["x-request-timeout-ms"].clone())
///     }));
/// assert_eq!(service.oneshot(Request::new(())).await.unwrap(), "5000");
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SendDeadlineLayer;

impl<S> Layer<S> for SendDeadlineLayer {
    type Service = SendDeadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SendDeadline { inner }
    }
}

/// The service of [`SendDeadlineLayer`].
#[derive(Clone, Debug)]
pub struct SendDeadline<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for SendDeadline<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(end) = Deadline::current() {
            let left = end.saturating_duration_since(Instant::now());
            request.headers_mut().insert(REQUEST_TIMEOUT_MS, value_of(left));
            request.extensions_mut().insert(EndsAt(end));
        }
        self.inner.call(request)
    }
}
