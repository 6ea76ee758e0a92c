//! The layers of this workspace, with their defaults where nothing else is said.

use std::time::Duration;

use buttress::{Budget, HedgeLayer, Once, Quantile, RetryLayer, TimeoutLayer};
use tower::Layer;

use crate::{Bare, Run};

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
