//! What others offer for the same purpose, set up to do the same.

use std::{
    future::{Ready, ready},
    pin::pin,
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use recloser::{AsyncRecloser, Recloser};
use tower::{
    Layer, Service, ServiceBuilder,
    balance::p2c::Balance,
    discover::ServiceList,
    hedge::{self, Hedge},
    limit::ConcurrencyLimitLayer,
    load::{CompleteOnResponse, PendingRequests},
    load_shed::LoadShed,
    retry::{self, RetryLayer},
    timeout::TimeoutLayer,
};
use tower_resilience::{
    UnifiedErrors,
    adaptive::{AdaptiveLimiterLayer, Aimd},
    circuitbreaker::CircuitBreakerLayer,
    fallback::FallbackLayer,
    outlier::{OutlierDetectionLayer, OutlierDetector},
    prelude::{BulkheadLayer, HedgeLayer, RetryLayer as Repeats, TimeLimiterLayer},
};

use crate::{
    Bare, Failed, Run,
    ours::LONG,
    run::{admitted, finish, once},
};

/// Longer than any measurement.
const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn tower_timeout() -> Run {
    Run::service(TimeoutLayer::new(LONG).layer(Bare))
}

/// Three attempts in all, as ours by default.
#[derive(Clone)]
struct Thrice {
    left: u32,
}

impl<T, E> retry::Policy<u64, T, E> for Thrice {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut u64, outcome: &mut Result<T, E>) -> Option<Ready<()>> {
        outcome.as_ref().err()?;
        self.left = self.left.checked_sub(1)?;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

pub(crate) fn tower_retry() -> Run {
    Run::service(RetryLayer::new(Thrice { left: 2 }).layer(Bare))
}

#[derive(Clone)]
struct Always;

impl hedge::Policy<u64> for Always {
    fn clone_request(&self, request: &u64) -> Option<u64> {
        Some(*request)
    }

    fn can_retry(&self, _: &u64) -> bool {
        true
    }
}

pub(crate) fn tower_hedge() -> Run {
    // Told of calls that took a second, it is prepared to hedge each call and never comes to it.
    let told = [1_000; 32];
    Run::service(Hedge::new_with_mock_latencies(Bare, Always, 10, 0.95, HOUR, &told))
}

/// Balances by the calls under way, which it does not see fail.
fn balanced<S>(replicas: impl Iterator<Item = S>) -> Run
where
    S: Service<u64, Error: Into<tower::BoxError>> + 'static,
{
    let replicas = replicas.map(|s| PendingRequests::new(s, CompleteOnResponse::default()));
    Run::service(Balance::new(ServiceList::new::<u64>(replicas.collect::<Vec<_>>())))
}

pub(crate) fn tower_balance() -> Run {
    balanced([Bare; 3].into_iter())
}

/// As its documentation has it: a balancer passes over what is ejected.
pub(crate) fn resilience_outlier() -> Run {
    let detector = OutlierDetector::new();
    balanced(["a", "b", "c"].into_iter().map(|name| {
        detector.register(name, 5);
        let layer = OutlierDetectionLayer::builder().detector(detector.clone());
        let layer = layer.instance_name(name).build().expect("it has a name and a detector");
        layer.layer(Bare)
    }))
}

pub(crate) fn resilience_timeout() -> Run {
    Run::service(TimeLimiterLayer::builder().timeout_duration(LONG).build().layer(Bare))
}

pub(crate) fn resilience_retry() -> Run {
    Run::service(Repeats::<u64, u64, Failed>::builder().max_attempts(3).build().layer(Bare))
}

pub(crate) fn resilience_hedge() -> Run {
    Run::service(HedgeLayer::builder().delay(LONG).max_hedged_attempts(2).build().layer(Bare))
}

pub(crate) fn resilience_fallback() -> Run {
    Run::service(FallbackLayer::<u64, u64, Failed>::tower_service(Bare).layer(Bare))
}

pub(crate) fn resilience_fallback_to_a_value() -> Run {
    Run::service(FallbackLayer::<u64, u64, Failed>::value(0).layer(Bare))
}

pub(crate) fn resilience_breaker() -> Run {
    let layer = CircuitBreakerLayer::builder().build().expect("the defaults are valid");
    Run::service(layer.layer(Bare))
}

pub(crate) fn resilience_breaker_open() -> Run {
    let (layer, handle) = CircuitBreakerLayer::builder()
        .wait_duration_in_open(HOUR)
        .build_with_handle()
        .expect("an hour is a valid wait");
    finish(pin!(handle.force_open()));
    Run::refusing_service(layer.layer(Bare))
}

pub(crate) fn resilience_stack() -> Run {
    let breaker = CircuitBreakerLayer::builder().build().expect("the defaults are valid");
    // As its documentation composes layers: each brings its errors into one type.
    let attempt = ServiceBuilder::new()
        .layer(HedgeLayer::builder().delay(LONG).max_hedged_attempts(2).build())
        .layer(breaker.unified::<Failed>())
        .layer(TimeLimiterLayer::builder().timeout_duration(LONG).build().unified::<Failed>())
        .service(Bare);
    let attempts = Repeats::builder().max_attempts(3).build().layer(attempt);
    Run::service(FallbackLayer::<u64, u64, _>::value(0).layer(attempts))
}

/// As many as ours let run.
const MANY: usize = 20;

pub(crate) fn tower_limit() -> Run {
    Run::service(ConcurrencyLimitLayer::new(MANY).layer(Bare))
}

pub(crate) fn tower_shed_limit() -> Run {
    Run::service(LoadShed::new(ConcurrencyLimitLayer::new(MANY).layer(Bare)))
}

pub(crate) fn tower_limit_full() -> Run {
    let limit = ConcurrencyLimitLayer::new(1).layer(Bare);
    let holder = admitted(&limit);
    let mut service = LoadShed::new(limit);
    Run::refusing(move |request| {
        let _holder = &holder;
        once(&mut service, request)
    })
}

pub(crate) fn resilience_limit() -> Run {
    let layer = BulkheadLayer::builder().max_concurrent_calls(MANY).backpressure().build();
    Run::service(layer.expect("twenty is a valid limit").layer(Bare))
}

pub(crate) fn resilience_limit_adaptive() -> Run {
    let aimd = Aimd::builder().initial_limit(MANY).latency_threshold(LONG).build();
    Run::service(AdaptiveLimiterLayer::new(aimd.expect("the defaults are valid")).layer(Bare))
}

pub(crate) fn recloser() -> Run {
    let recloser = Recloser::default();
    Run::succeeding(move |request| recloser.call(|| once(&mut Bare, request)))
}

pub(crate) fn recloser_open() -> Run {
    let recloser = open_recloser();
    Run::refusing(move |request| recloser.call(|| once(&mut Bare, request)))
}

pub(crate) fn recloser_async() -> Run {
    let recloser = AsyncRecloser::from(Recloser::default());
    Run::succeeding(move |request| finish(pin!(recloser.call(Bare.call(request)))))
}

pub(crate) fn recloser_async_open() -> Run {
    let recloser = AsyncRecloser::from(open_recloser());
    Run::refusing(move |request| finish(pin!(recloser.call(Bare.call(request)))))
}

fn open_recloser() -> Recloser {
    let recloser = Recloser::custom().closed_len(1).open_wait(HOUR).build();
    for _ in 0..2 {
        assert!(recloser.call(|| Err::<u64, _>(Failed::Inner)).is_err(), "the call failed");
    }
    recloser
}

pub(crate) fn backon() -> Run {
    Run::succeeding(|request| {
        let attempts = ExponentialBuilder::default().with_jitter().with_max_times(2);
        finish(pin!((|| Bare.call(request)).retry(attempts)))
    })
}
