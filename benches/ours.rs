//! The layers of this workspace, with their defaults where nothing else is said.

use std::{num::NonZeroU32, time::Duration};

use buttress::{
    Backoff, BreakerLayer, Budget, FallbackLayer, HedgeLayer, Once, Quantile, Ratio, RetryLayer,
    TimeoutLayer, Trigger, Window,
};
use tower::{Layer, Service, ServiceBuilder};

use crate::{Bare, Failed, Run, run::once};

/// Longer than a call takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn bare() -> Run {
    Run::service(Bare)
}

pub(crate) fn timeout() -> Run {
    Run::service(TimeoutLayer::new(LONG).layer(Bare))
}

pub(crate) fn retry() -> Run {
    Run::service(RetryLayer::new().layer(Bare))
}

pub(crate) fn retry_once() -> Run {
    Run::service(RetryLayer::new().replay(Once).layer(Bare))
}

pub(crate) fn retry_with_a_budget() -> Run {
    Run::service(RetryLayer::new().budget(Budget::default()).layer(Bare))
}

pub(crate) fn breaker() -> Run {
    Run::service(BreakerLayer::default().layer(Bare))
}

pub(crate) fn breaker_rate_over_time() -> Run {
    let window = Window::time(Duration::from_secs(10));
    let trigger = Trigger::failure_rate(Ratio::percent(50), window);
    Run::service(BreakerLayer::new(trigger).layer(Bare))
}

/// Opened by a failure, for longer than any measurement.
pub(crate) fn breaker_open() -> Run {
    let layer = BreakerLayer::new(Trigger::consecutive(NonZeroU32::MIN))
        .open_for(Backoff::constant(Duration::from_secs(3_600)));
    let mut service = layer.layer(Bare);
    assert!(once(&mut service, Bare::FAILS).is_err(), "this request fails");
    Run::refusing_service(service)
}

pub(crate) fn breaker_forced_open() -> Run {
    let layer = BreakerLayer::default();
    layer.handle().force_open();
    Run::refusing_service(layer.layer(Bare))
}

pub(crate) fn hedge() -> Run {
    Run::service(HedgeLayer::after(LONG).layer(Bare))
}

pub(crate) fn hedge_once() -> Run {
    Run::service(HedgeLayer::after(LONG).replay(Once).layer(Bare))
}

pub(crate) fn hedge_learned() -> Run {
    Run::service(HedgeLayer::learned().layer(Bare))
}

pub(crate) fn hedge_percentile() -> Run {
    Run::service(HedgeLayer::percentile(Quantile::P95, LONG).layer(Bare))
}

pub(crate) fn fallback() -> Run {
    Run::service(FallbackLayer::to(Bare).layer(Bare))
}

pub(crate) fn fallback_last_error() -> Run {
    Run::service(FallbackLayer::to(Bare).last_error().layer(Bare))
}

pub(crate) fn fallback_to_a_value() -> Run {
    Run::service(FallbackLayer::to_value(0).layer(Bare))
}

pub(crate) fn stack() -> Run {
    Run::service(RetryLayer::new().layer(hedged()))
}

pub(crate) fn stack_without_retry() -> Run {
    Run::service(hedged())
}

/// What the stacks have in common.
fn hedged() -> impl Service<u64, Response = u64, Error = Failed, Future: 'static> + Clone + 'static
{
    ServiceBuilder::new()
        .layer(HedgeLayer::after(LONG))
        .layer(BreakerLayer::default())
        .layer(TimeoutLayer::new(LONG))
        .service(Bare)
}
