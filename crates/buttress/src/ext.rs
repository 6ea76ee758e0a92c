//! The layers as methods of tower's `ServiceBuilder`.

use std::time::Duration;

use tower::{ServiceBuilder, layer::util::Stack};
use tower_layer::Layer;

use crate::{
    BreakerLayer, CallError, DegradeLayer, FailoverLayer, FallbackLayer, HedgeLayer, LimitLayer,
    QuorumLayer, RetryLayer, TimeoutLayer,
    stack::{Disorder, outline},
};

/// Adds the layers to [`ServiceBuilder`] by name, outermost first.
///
/// ```
/// use std::time::Duration;
/// use buttress::{BreakerLayer, HedgeLayer, RetryLayer, ServiceBuilderExt};
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let tool = service_fn(async |city: &'static str| Ok::<_, BoxError>(format!("sunny in {city}")));
/// let service = ServiceBuilder::new()
///     .time_limit(Duration::from_secs(20)) // the call
///     .retry_classified(RetryLayer::new().attempts(3))
///     .hedge(HedgeLayer::after(Duration::from_secs(1)))
///     .breaker(BreakerLayer::default().name("weather"))
///     .time_limit(Duration::from_secs(5)) // each attempt
///     .service(tool);
/// assert_eq!(service.oneshot("Rome").await.unwrap(), "sunny in Rome");
/// # }
/// ```
pub trait ServiceBuilderExt<L>: sealed::Sealed + Sized {
    /// Starts further attempts before the first has ended. See [`hedge`](crate::hedge).
    fn hedge<C, R, T>(
        self,
        layer: HedgeLayer<C, R, T>,
    ) -> ServiceBuilder<Stack<HedgeLayer<C, R, T>, L>>;

    /// Repeats calls that failed in a way that may pass. See [`retry`](crate::retry).
    fn retry_classified<C, R>(
        self,
        layer: RetryLayer<C, R>,
    ) -> ServiceBuilder<Stack<RetryLayer<C, R>, L>>;

    /// Leaves what is broken alone. See [`breaker`](crate::breaker).
    fn breaker<C>(self, layer: BreakerLayer<C>) -> ServiceBuilder<Stack<BreakerLayer<C>, L>>;

    /// Does each step of a workflow once. See [`checkpoint`](crate::checkpoint).
    #[cfg(feature = "serde")]
    fn checkpoint<K, C, N, P>(
        self,
        layer: crate::CheckpointLayer<K, C, N, P>,
    ) -> ServiceBuilder<Stack<crate::CheckpointLayer<K, C, N, P>, L>>;

    /// Calls others beside the service, and answers with what they give. See
    /// [`degrade`](crate::degrade).
    fn degrade<S, C, R>(
        self,
        layer: DegradeLayer<S, C, R>,
    ) -> ServiceBuilder<Stack<DegradeLayer<S, C, R>, L>>;
    /// Asks several, and returns what enough of them agree on. See [`quorum`](crate::quorum).
    fn quorum<A, C, R, T>(
        self,
        layer: QuorumLayer<A, C, R, T>,
    ) -> ServiceBuilder<Stack<QuorumLayer<A, C, R, T>, L>>;
    /// Lets only so many calls run at once. See [`limit`](crate::limit).
    fn limit<M>(self, layer: LimitLayer<M>) -> ServiceBuilder<Stack<LimitLayer<M>, L>>;
    /// Calls one of several replicas. See [`failover`](crate::failover).
    fn failover<S, C, R>(
        self,
        layer: FailoverLayer<S, C, R>,
    ) -> ServiceBuilder<Stack<FailoverLayer<S, C, R>, L>>;
    /// Tries other services, functions and values in turn. See [`fallback`](crate::fallback).
    fn fallback<T, C, R, M, K>(
        self,
        layer: FallbackLayer<T, C, R, M, K>,
    ) -> ServiceBuilder<Stack<FallbackLayer<T, C, R, M, K>, L>>;

    /// Bounds the time of a call, or of an attempt. See [`timeout`](crate::timeout).
    fn time_limit(self, limit: Duration) -> ServiceBuilder<Stack<TimeoutLayer, L>>;

    /// Puts the layers around `service`, unless their order does harm. See [`stack`](crate::stack).
    ///
    /// # Errors
    /// Every pair of layers of this crate whose order does harm, and what to do about it.
    fn check<S>(&self, service: S) -> Result<L::Service, Disorder>
    where
        L: Layer<S>;

    /// Wraps the service's error, so that the layers above can refuse: the last line of a stack
    /// over a service with somebody else's error.
    ///
    /// ```
    /// use std::{num::ParseIntError, time::Duration};
    /// use buttress::{CallError, ServiceBuilderExt};
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let service = ServiceBuilder::new()
    ///     .time_limit(Duration::from_secs(5))
    ///     .wrap_errors()
    ///     .service(service_fn(async |text: &str| text.parse::<u32>()));
    /// let error: CallError<ParseIntError> = service.oneshot("many").await.unwrap_err();
    /// assert!(error.service().is_some());
    /// # }
    /// ```
    fn wrap_errors<E>(
        self,
    ) -> ServiceBuilder<Stack<tower::util::MapErrLayer<fn(E) -> CallError<E>>, L>>;
}

impl<L> ServiceBuilderExt<L> for ServiceBuilder<L> {
    fn hedge<C, R, T>(
        self,
        layer: HedgeLayer<C, R, T>,
    ) -> ServiceBuilder<Stack<HedgeLayer<C, R, T>, L>> {
        self.layer(layer)
    }

    fn retry_classified<C, R>(
        self,
        layer: RetryLayer<C, R>,
    ) -> ServiceBuilder<Stack<RetryLayer<C, R>, L>> {
        self.layer(layer)
    }

    fn breaker<C>(self, layer: BreakerLayer<C>) -> ServiceBuilder<Stack<BreakerLayer<C>, L>> {
        self.layer(layer)
    }

    #[cfg(feature = "serde")]
    fn checkpoint<K, C, N, P>(
        self,
        layer: crate::CheckpointLayer<K, C, N, P>,
    ) -> ServiceBuilder<Stack<crate::CheckpointLayer<K, C, N, P>, L>> {
        self.layer(layer)
    }

    fn degrade<S, C, R>(
        self,
        layer: DegradeLayer<S, C, R>,
    ) -> ServiceBuilder<Stack<DegradeLayer<S, C, R>, L>> {
        self.layer(layer)
    }
    fn quorum<A, C, R, T>(
        self,
        layer: QuorumLayer<A, C, R, T>,
    ) -> ServiceBuilder<Stack<QuorumLayer<A, C, R, T>, L>> {
        self.layer(layer)
    }
    fn limit<M>(self, layer: LimitLayer<M>) -> ServiceBuilder<Stack<LimitLayer<M>, L>> {
        self.layer(layer)
    }
    fn failover<S, C, R>(
        self,
        layer: FailoverLayer<S, C, R>,
    ) -> ServiceBuilder<Stack<FailoverLayer<S, C, R>, L>> {
        self.layer(layer)
    }
    fn fallback<T, C, R, M, K>(
        self,
        layer: FallbackLayer<T, C, R, M, K>,
    ) -> ServiceBuilder<Stack<FallbackLayer<T, C, R, M, K>, L>> {
        self.layer(layer)
    }

    fn time_limit(self, limit: Duration) -> ServiceBuilder<Stack<TimeoutLayer, L>> {
        self.layer(TimeoutLayer::new(limit))
    }

    fn check<S>(&self, service: S) -> Result<L::Service, Disorder>
    where
        L: Layer<S>,
    {
        let (service, parts) = outline(self, service);
        parts.check().map(|()| service)
    }

    fn wrap_errors<E>(
        self,
    ) -> ServiceBuilder<Stack<tower::util::MapErrLayer<fn(E) -> CallError<E>>, L>> {
        self.map_err(CallError::Service)
    }
}

mod sealed {
    pub trait Sealed {}
    impl<L> Sealed for tower::ServiceBuilder<L> {}
}
