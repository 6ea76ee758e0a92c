//! Layers that call other tools beside what is inside of them.

use buttress::{
    Answers, ByClone, ByFault, DegradeLayer, FailoverLayer, FallbackLayer, QuorumLayer, Random,
    Ratio, Rejection, failover::Balance,
};
use buttress_sim::{ToolError, ToolReply};
use tower::{Layer, ServiceExt};

use super::{Stack, agreement::ByTruth, budget, wrap};
use crate::plan::{Agree, Degrade, Failover, Fallback, Launch, Members, Mode, Quorum};

/// The chain is as long as the plan has it, and the type of a layer knows how long its own is: so
/// each tier is the primary of those after it. Nested layers that share a budget earn once.
pub(super) fn fallback(plan: &Fallback, inner: Stack, tiers: &[Stack]) -> Stack {
    let budget = plan.budget.as_ref().map(budget);
    let on = |primary: Stack, next: Stack| {
        let mut layer = FallbackLayer::to(next);
        if let Some(patience) = plan.patience {
            layer = layer.patience(patience);
        }
        if plan.on_permanent == Some(true) {
            layer = layer.on_permanent();
        }
        if let Some(budget) = &budget {
            layer = layer.budget(budget.clone());
        }
        wrap(&layer, primary)
    };
    let last = tiers.iter().rev().cloned().reduce(|after, tier| on(tier, after));
    last.map_or_else(|| inner.clone(), |rest| on(inner.clone(), rest))
}

pub(super) fn quorum(plan: &Quorum, inner: Stack, others: Vec<Stack>) -> Stack {
    match plan.members {
        Members::Replicas(replicas) => {
            vote(QuorumLayer::of(replicas).agree(ByTruth(plan.agree)), plan, inner)
        }
        Members::With(_) => vote(QuorumLayer::with(others).agree(ByTruth(plan.agree)), plan, inner),
    }
}

type Vote<T> = QuorumLayer<ByTruth, ByFault, ByClone, T>;

fn vote<T>(mut layer: Vote<T>, plan: &Quorum, inner: Stack) -> Stack
where
    Vote<T>: Layer<Stack, Service = buttress::Quorum<Stack, ByTruth, ByFault, ByClone>>,
{
    match (plan.needed, plan.agree) {
        (Some(needed), _) => layer = layer.needed(needed),
        (None, Agree::Any) => layer = layer.needed(1),
        (None, _) => {}
    }
    if let Launch::Lazy(delay) = plan.launch {
        layer = layer.lazy(delay);
    }
    wrap(&layer, inner)
}

/// The members by name, those that are required first.
pub(super) fn degrade(plan: &Degrade, inner: Stack, name: &str, members: Vec<Stack>) -> Stack {
    let mut layer = DegradeLayer::new().inner_name(name.to_owned());
    let names = plan.required.iter().map(|name| (name, true));
    let names = names.chain(plan.optional.iter().map(|name| (name, false)));
    for ((name, is_required), member) in names.zip(members) {
        layer = if is_required {
            layer.required(name.clone(), member)
        } else {
            layer.optional(name.clone(), member)
        };
    }
    if let Some(share) = plan.tolerate {
        layer = match Ratio::new(share) {
            Ok(share) => layer.tolerate(share),
            // Only 0 is no ratio.
            Err(_) => layer.require_all(),
        };
    }
    if let Some(patience) = plan.patience {
        layer = layer.patience(patience);
    }
    Stack::new(layer.layer(inner).map_result(combine))
}

/// Makes one answer of several: a right one, if none of them is wrong.
fn combine(answers: Result<Answers<ToolReply>, ToolError>) -> Result<ToolReply, ToolError> {
    let answers = answers?;
    let causes = answers.failed().clone();
    let both = |one: ToolReply, other: ToolReply| {
        let correct = one.correct && other.correct;
        ToolReply { correct, ..one }
    };
    let answer = answers.into_iter().map(|(_, answer)| answer).reduce(both);
    // An ensemble without required members answers all the same, with nothing.
    answer.ok_or_else(|| Rejection::AllFailed { name: "ensemble".into(), causes }.into())
}

pub(super) fn failover(
    plan: &Failover,
    inner: Stack,
    name: &str,
    others: Vec<Stack>,
    random: Random,
) -> Stack {
    let mut layer = match plan.mode {
        Mode::ActivePassive { hold_down, fail_back } => {
            let mut layer = FailoverLayer::active_passive();
            if let Some(time) = hold_down {
                layer = layer.hold_down(time);
            }
            layer.fail_back(fail_back.unwrap_or(false))
        }
        Mode::ActiveActive { least_load } => {
            let balance = if least_load { Balance::LeastLoad } else { Balance::TwoChoices };
            FailoverLayer::active_active().balance(balance)
        }
    };
    layer = layer.primary(name.to_owned()).random(random);
    for (name, other) in plan.tools.iter().zip(others) {
        layer = layer.replica((name.clone(), other));
    }
    if let Some(attempts) = plan.attempts {
        layer = layer.attempts(attempts);
    }
    if let Some(patience) = plan.patience {
        layer = layer.patience(patience);
    }
    if let Some(failures) = plan.failures {
        layer = layer.failures(failures);
    }
    if let Some(time) = plan.slow_start {
        layer = layer.slow_start(time);
    }
    if let Some(plan) = &plan.budget {
        layer = layer.budget(budget(plan));
    }
    wrap(&layer, inner)
}
