//! Turns a refusal into a response, for services that have no error.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::Rejection;

/// Answers refusals with responses, so that the service cannot fail.
///
/// For servers whose services are infallible, such as axum routers. Put it outermost, and
/// [`never`](crate::never) innermost, so that the layers between have an error to refuse with:
///
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use buttress::{Rejection, RespondLayer, TimeoutLayer, never};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let service = ServiceBuilder::new()
///     .layer(RespondLayer::new(|rejection| (503, rejection.to_string())))
///     .layer(TimeoutLayer::new(Duration::from_secs(1)))
///     .map_err(never::<Rejection>)
///     .service(service_fn(async |_: ()| {
///         tokio::time::sleep(Duration::from_secs(9)).await;
///         Ok::<_, Infallible>((200, "late".to_owned()))
///     }));
/// let Ok((status, text)) = service.oneshot(()).await;
/// assert_eq!((status, &*text), (503, "no answer within 1s"));
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct RespondLayer<F> {
    respond: F,
}

impl<F> RespondLayer<F> {
    /// Makes responses with `respond`.
    pub const fn new<Res>(respond: F) -> Self
    where
        F: Fn(Rejection) -> Res,
    {
        Self { respond }
    }
}

impl<F> fmt::Debug for RespondLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RespondLayer")
    }
}

impl<S, F: Clone> Layer<S> for RespondLayer<F> {
    type Service = Respond<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Respond { inner, respond: self.respond.clone(), unready: None }
    }
}

/// The service of [`RespondLayer`].
pub struct Respond<S, F> {
    inner: S,
    respond: F,
    /// A refusal met while the inner service was made ready; it answers the next call.
    unready: Option<Rejection>,
}

impl<S: Clone, F: Clone> Clone for Respond<S, F> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), respond: self.respond.clone(), unready: None }
    }
}

impl<S: fmt::Debug, F> fmt::Debug for Respond<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Respond").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, F, Req> Service<Req> for Respond<S, F>
where
    S: Service<Req, Error = Rejection>,
    F: Fn(Rejection) -> S::Response + Clone,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = RespondFuture<S::Future, F>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.unready.is_none()
            && let Err(rejection) = ready!(self.inner.poll_ready(cx))
        {
            self.unready = Some(rejection);
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let state = match self.unready.take() {
            Some(rejection) => State::Refused { rejection: Some(rejection) },
            None => State::Calling { future: self.inner.call(request) },
        };
        RespondFuture { state, respond: self.respond.clone() }
    }
}

/// The future of [`Respond`].
#[pin_project]
pub struct RespondFuture<T, F> {
    #[pin]
    state: State<T>,
    respond: F,
}

#[pin_project(project = StateProj)]
enum State<T> {
    Refused {
        rejection: Option<Rejection>,
    },
    Calling {
        #[pin]
        future: T,
    },
}

impl<T, F> fmt::Debug for RespondFuture<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RespondFuture")
    }
}

impl<T, F, Res> Future for RespondFuture<T, F>
where
    T: Future<Output = Result<Res, Rejection>>,
    F: Fn(Rejection) -> Res,
{
    type Output = Result<Res, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = match this.state.project() {
            StateProj::Calling { future } => ready!(future.poll(cx)),
            StateProj::Refused { rejection } => match rejection.take() {
                Some(rejection) => Err(rejection),
                None => return Poll::Pending,
            },
        };
        Poll::Ready(Ok(outcome.unwrap_or_else(this.respond)))
    }
}
