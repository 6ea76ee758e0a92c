//! The layers of a stack, as a plan writes them.

use std::{num::NonZeroU32, time::Duration};

use buttress::Ratio;

use super::{
    Tools,
    breaker::{Breaker, breaker},
    degrade::{Degrade, degrade},
    failover::{Failover, failover},
    fallback::{Fallback, fallback},
    fields::{Field, Fields},
    hedge::{Hedge, hedge},
    known_tool,
    limit::{Limit, limit},
    quorum::{Members, Quorum, quorum},
    refusal::{Fault, unknown},
    retry::{Retry, retry},
};

/// How many layers a stack may have.
const MOST_LAYERS: usize = 20;
/// How many attempts a layer may make.
pub(super) const MOST_ATTEMPTS: u32 = 100;
/// The longest delay, in seconds: a day.
pub(super) const LONGEST: f64 = 86_400.0;

/// One layer and its settings; what is `None` is left to the layer's own default.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerPlan {
    /// Repeats failed calls.
    Retry(Retry),
    /// Calls again beside a slow call.
    Hedge(Hedge),
    /// Keeps calls from a tool that is down.
    Breaker(Breaker),
    /// Bounds the time of a call.
    Timeout(Duration),
    /// Bounds how many calls run at once.
    Limit(Limit),
    /// Tries other tools when a call fails.
    Fallback(Fallback),
    /// Asks several, and returns what enough of them agree on.
    Quorum(Quorum),
    /// Asks several, and answers with what they give.
    Degrade(Degrade),
    /// Calls one of several, and leaves alone what is ill.
    Failover(Failover),
}

impl LayerPlan {
    /// The tools that it calls beside what is inside of it.
    pub fn tools(&self) -> impl Iterator<Item = &str> {
        let (first, second): (&[String], &[String]) = match self {
            Self::Fallback(plan) => (&plan.tools, &[]),
            Self::Failover(plan) => (&plan.tools, &[]),
            Self::Degrade(plan) => (&plan.required, &plan.optional),
            Self::Quorum(Quorum { members: Members::With(tools), .. }) => (tools, &[]),
            Self::Quorum(_)
            | Self::Retry(_)
            | Self::Hedge(_)
            | Self::Breaker(_)
            | Self::Timeout(_)
            | Self::Limit(_) => (&[], &[]),
        };
        first.iter().chain(second).map(String::as_str)
    }
}

/// A budget for extra attempts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetPlan {
    /// What a success earns.
    pub share: Ratio,
    /// The most it holds.
    pub cap: Option<u16>,
    /// The time in which one attempt is earned without any success.
    pub one_every: Option<Duration>,
}

/// Reads a stack, outermost first.
pub(super) fn stack(field: Field<'_>, tools: Tools<'_>) -> Result<Vec<LayerPlan>, Fault> {
    field.items(MOST_LAYERS)?.into_iter().map(|item| layer(item, tools)).collect()
}

const LAYERS: [&str; 9] =
    ["breaker", "degrade", "failover", "fallback", "hedge", "limit", "quorum", "retry", "timeout"];

fn layer(item: Field<'_>, tools: Tools<'_>) -> Result<LayerPlan, Fault> {
    let written = "one layer, such as `{ timeout = 2.0 }`";
    let Some(table) = item.table() else { return Err(item.must_be(written)) };
    let mut entries = table.iter().collect::<Vec<_>>();
    entries.sort_by_key(|(key, _)| key.span().start);
    if let Some((key, _)) =
        entries.iter().find(|(key, _)| !LAYERS.contains(&key.get_ref().as_ref()))
    {
        let message = unknown("layer", "layers", key.get_ref(), &LAYERS);
        return Err(Fault::new(key.span(), message));
    }
    let &[(key, value)] = entries.as_slice() else {
        let message = match entries.get(1) {
            Some((second, _)) => format!(
                "a layer needs braces of its own: write `{{ .. }}, {{ {} = .. }}`",
                second.get_ref()
            ),
            None => format!("no layer: write {written}"),
        };
        return Err(Fault::new(entries.get(1).map_or(item.span(), |(key, _)| key.span()), message));
    };
    let field = Field { key: key.get_ref(), value };
    match field.key {
        "retry" => retry(field).map(LayerPlan::Retry),
        "breaker" => breaker(field).map(LayerPlan::Breaker),
        "hedge" => hedge(field).map(LayerPlan::Hedge),
        "limit" => limit(field).map(LayerPlan::Limit),
        "fallback" => fallback(field, tools).map(LayerPlan::Fallback),
        "quorum" => quorum(field, tools).map(LayerPlan::Quorum),
        "degrade" => degrade(field, tools).map(LayerPlan::Degrade),
        "failover" => failover(field, tools).map(LayerPlan::Failover),
        _ => Ok(LayerPlan::Timeout(field.seconds(0.001, LONGEST)?)),
    }
}

/// A list of at least one and at most so many tools of the plan; the same may be in it twice.
pub(super) fn tools_of(
    field: Field<'_>,
    most: usize,
    tools: Tools<'_>,
) -> Result<Vec<String>, Fault> {
    let items = field.items(most)?;
    if items.is_empty() {
        return Err(field.must_be("the name of at least one tool"));
    }
    items.into_iter().map(|item| known_tool(item, tools)).collect()
}

pub(super) fn attempts(fields: &Fields<'_>) -> Result<Option<u32>, Fault> {
    fields.optional("attempts").map(|field| field.small(1, MOST_ATTEMPTS)).transpose()
}

/// A whole number from 1 to so many.
pub(super) fn count(field: Field<'_>, most: u32) -> Result<NonZeroU32, Fault> {
    Ok(NonZeroU32::new(field.small(1, most)?).unwrap_or(NonZeroU32::MIN))
}

pub(super) fn seconds(fields: &Fields<'_>, key: &'static str) -> Result<Option<Duration>, Fault> {
    fields.optional(key).map(|field| field.seconds(0.0, LONGEST)).transpose()
}

/// Either the share that a success earns, or a table with more.
pub(super) fn budget(field: Field<'_>) -> Result<BudgetPlan, Fault> {
    if field.table().is_none() {
        return Ok(BudgetPlan { share: share(field)?, cap: None, one_every: None });
    }
    let fields = field.fields("budget", &["share", "cap", "one_every"])?;
    let cap = fields.optional("cap").map(|field| field.small(1, 10_000)).transpose()?;
    Ok(BudgetPlan {
        share: share(fields.required("share", "0.1")?)?,
        cap: cap.map(|cap| u16::try_from(cap).unwrap_or(u16::MAX)),
        one_every: fields
            .optional("one_every")
            .map(|field| field.seconds(0.001, LONGEST))
            .transpose()?,
    })
}

/// A share of a whole, above 0.
pub(super) fn share(field: Field<'_>) -> Result<Ratio, Fault> {
    Ratio::new(field.number(0.001, 1.0)?).map_err(|error| field.fault(error.to_string()))
}
