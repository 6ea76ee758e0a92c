//! Turns the stack of an arm into layers around a tool.

use std::{collections::BTreeMap, io};

use buttress::{BreakerLayer, Budget, HedgeLayer, Random, Rejection, RetryLayer, TimeoutLayer};
use buttress_sim::{ToolError, ToolReply, ToolRequest};
use tower::{Layer, Service, util::BoxCloneService};

use crate::{
    plan::{Arm, Breaker, BudgetPlan, Delay, Hedge, LayerPlan, Retry},
    seed,
};

/// A tool, or a stack around one.
pub(crate) type Stack = BoxCloneService<ToolRequest, ToolReply, ToolError>;

/// The tools that an arm calls, by name. Clones of one are the same tool.
pub(crate) type Tools = BTreeMap<String, Stack>;

/// Puts the layers of an arm, outermost first, around its tool.
///
/// # Errors
/// If a tool is not there.
pub(crate) fn build(arm: &Arm, tools: &Tools, seed: u64) -> io::Result<Stack> {
    let named = |name: &str| {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no tool {name:?}"));
        tools.get(name).cloned().ok_or_else(missing)
    };
    let layers = arm.stack.iter().rev().zip(0_u64..);
    layers.fold(named(&arm.tool), |inner, (layer, place)| {
        let inner = inner?;
        Ok(match layer {
            LayerPlan::Retry(plan) => wrap(&retry(plan, seed::word(seed, place)), inner),
            LayerPlan::Hedge(plan) => wrap(&hedge(plan), inner),
            LayerPlan::Breaker(plan) => wrap(&breaker(plan, seed::word(seed, place)), inner),
            LayerPlan::Timeout(limit) => wrap(&TimeoutLayer::new(*limit), inner),
            LayerPlan::Limit(_)
            | LayerPlan::Fallback(_)
            | LayerPlan::Quorum(_)
            | LayerPlan::Degrade(_)
            | LayerPlan::Failover(_) => {
                let message = format!("{:?}: there is no such layer yet", layer);
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
        })
    })
}

fn wrap<L>(layer: &L, inner: Stack) -> Stack
where
    L: Layer<Stack>,
    L::Service: Service<ToolRequest, Response = ToolReply, Error = ToolError, Future: Send>
        + Clone
        + Send
        + 'static,
{
    BoxCloneService::new(layer.layer(inner))
}

fn retry(plan: &Retry, seed: u64) -> RetryLayer {
    let mut layer = RetryLayer::new().random(Random::seeded(seed));
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

fn hedge(plan: &Hedge) -> HedgeLayer {
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

fn breaker(plan: &Breaker, seed: u64) -> BreakerLayer {
    let mut layer = BreakerLayer::new(plan.trigger).random(Random::seeded(seed));
    if let Some(backoff) = plan.open_for {
        layer = layer.open_for(backoff);
    }
    if let Some(probes) = plan.probes {
        layer = layer.probes(probes);
    }
    layer
}

/// A budget of the layer's own, full.
fn budget(plan: &BudgetPlan) -> Budget {
    let mut budget = Budget::per_success(plan.share);
    if let Some(tokens) = plan.cap {
        budget = budget.cap(tokens);
    }
    if let Some(interval) = plan.one_every {
        budget = budget.one_every(interval);
    }
    budget
}

/// The short kind of a failure, as reports name it.
pub(crate) fn kind_of(error: &ToolError) -> &'static str {
    match error {
        ToolError::Failed(_) => "failed",
        ToolError::Throttled { .. } => "throttled",
        ToolError::Crashed => "crashed",
        ToolError::Dropped => "dropped",
        ToolError::Rejected(Rejection::Timeout { .. }) => "timeout",
        ToolError::Rejected(Rejection::Unready { .. }) => "unready",
        ToolError::Rejected(Rejection::Open { .. }) => "open",
        ToolError::Rejected(_) => "rejected",
        _ => "other",
    }
}
