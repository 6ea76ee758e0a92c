//! Layers around one service.

use buttress::{BreakerLayer, HedgeLayer, LimitLayer, Random, RetryLayer};

use super::{Stack, budget, wrap};
use crate::plan::{Breaker, Delay, Hedge, Limit, Most, Retry};

pub(super) fn retry(plan: &Retry, random: Random) -> RetryLayer {
    let mut layer = RetryLayer::new().random(random);
    if let Some(attempts) = plan.attempts {
        layer = layer.attempts(attempts);
    }
    if let Some(backoff) = plan.backoff {
        layer = layer.backoff(backoff);
    }
    if let Some(plan) = &plan.budget {
        layer = layer.budget(budget(plan));
    }
    if let Some(retry) = plan.retry_unknown {
        layer = layer.retry_unknown(retry);
    }
    if let Some(longest) = plan.max_retry_after {
        layer = layer.max_retry_after(longest);
    }
    if let Some(longest) = plan.wait_when_rejected {
        layer = layer.wait_when_rejected(longest);
    }
    layer
}

pub(super) fn hedge(plan: &Hedge) -> HedgeLayer {
    let mut layer = match &plan.delay {
        Delay::Immediate(attempts) => HedgeLayer::immediate(*attempts),
        Delay::After(delay) => HedgeLayer::after(*delay),
        Delay::Gaps(gaps) => HedgeLayer::gaps(gaps.iter().copied()),
        Delay::Learned { price: None } => HedgeLayer::learned(),
        Delay::Learned { price: Some(price) } => HedgeLayer::learned().price(*price),
        Delay::Percentile(quantile, start) => HedgeLayer::percentile(*quantile, *start),
    };
    if let Some(attempts) = plan.attempts {
        layer = layer.attempts(attempts);
    }
    if let Some(on_failure) = plan.on_failure {
        layer = layer.on_failure(on_failure);
    }
    if let Some(plan) = &plan.budget {
        layer = layer.budget(budget(plan));
    }
    layer
}

pub(super) fn breaker(plan: &Breaker, random: Random) -> BreakerLayer {
    let mut layer = BreakerLayer::new(plan.trigger).random(random);
    if let Some(backoff) = plan.open_for {
        layer = layer.open_for(backoff);
    }
    if let Some(probes) = plan.probes {
        layer = layer.probes(probes);
    }
    layer
}

pub(super) fn limit(plan: &Limit, inner: Stack) -> Stack {
    match plan.most {
        Most::Fixed(most) => wrap(&line(LimitLayer::fixed(most), plan), inner),
        Most::Adaptive { start, min, max, period, slow_after } => {
            let mut layer = LimitLayer::adaptive();
            if let Some(min) = min {
                layer = layer.min(min);
            }
            if let Some(max) = max {
                layer = layer.max(max);
            }
            if let Some(start) = start {
                layer = layer.start(start);
            }
            if let Some(period) = period {
                layer = layer.period(period);
            }
            if let Some(after) = slow_after {
                layer = layer.slow_after(after);
            }
            wrap(&line(layer, plan), inner)
        }
    }
}

/// The line before a limit.
fn line<M>(mut layer: LimitLayer<M>, plan: &Limit) -> LimitLayer<M> {
    if let Some(most) = plan.queue {
        layer = layer.queue(most);
    }
    if let Some(longest) = plan.wait {
        layer = layer.wait_at_most(longest);
    }
    layer
}
