//! Turns the stack of an arm into layers around a tool.

mod agreement;
mod alone;
mod several;

use std::{collections::BTreeMap, io};

use buttress::{Budget, Random, Rejection, TimeoutLayer};
use buttress_sim::{ToolError, ToolReply, ToolRequest};
use tower::{Layer, Service, util::BoxCloneSyncService};

use self::{
    alone::{breaker, hedge, limit, retry},
    several::{degrade, failover, fallback, quorum},
};
use crate::{
    plan::{Arm, BudgetPlan, LayerPlan},
    seed,
};

/// A tool, or a stack around one.
pub(crate) type Stack = BoxCloneSyncService<ToolRequest, ToolReply, ToolError>;

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
        let others = layer.tools().map(named).collect::<io::Result<Vec<Stack>>>()?;
        let random = || Random::seeded(seed::word(seed, place));
        Ok(match layer {
            LayerPlan::Retry(plan) => wrap(&retry(plan, random()), inner),
            LayerPlan::Hedge(plan) => wrap(&hedge(plan), inner),
            LayerPlan::Breaker(plan) => wrap(&breaker(plan, random()), inner),
            // A place in the line before a limit is waited for in readiness.
            LayerPlan::Timeout(limit) => wrap(&TimeoutLayer::new(*limit).and_readiness(), inner),
            LayerPlan::Limit(plan) => limit(plan, inner),
            LayerPlan::Fallback(plan) => fallback(plan, inner, &others),
            LayerPlan::Quorum(plan) => quorum(plan, inner, others),
            LayerPlan::Degrade(plan) => degrade(plan, inner, &arm.tool, others),
            LayerPlan::Failover(plan) => failover(plan, inner, &arm.tool, others, random()),
        })
    })
}

fn wrap<L>(layer: &L, inner: Stack) -> Stack
where
    L: Layer<Stack>,
    L::Service: Service<ToolRequest, Response = ToolReply, Error = ToolError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    Stack::new(layer.layer(inner))
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
        ToolError::Rejected(Rejection::Full { .. }) => "full",
        ToolError::Rejected(Rejection::Unavailable { .. }) => "unavailable",
        ToolError::Rejected(Rejection::NoQuorum { .. }) => "no quorum",
        ToolError::Rejected(Rejection::AllFailed { .. }) => "all failed",
        ToolError::Rejected(Rejection::TooFew { .. }) => "too few",
        ToolError::Rejected(_) => "rejected",
        _ => "other",
    }
}
