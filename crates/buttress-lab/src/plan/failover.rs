//! A failover, as a plan writes it.

use std::{num::NonZeroU32, time::Duration};

use super::{
    Tools,
    fields::{Field, Fields},
    layer::{BudgetPlan, attempts, budget, count, seconds, tools_of},
    refusal::Fault,
};

/// How many replicas there may be beside what is inside.
const MOST_OTHERS: usize = 63;

/// The settings of a failover. What is inside of it is the first replica.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    /// The other replicas.
    pub tools: Vec<String>,
    /// Who is called.
    pub mode: Mode,
    /// On how many replicas a call is tried.
    pub attempts: Option<u32>,
    /// How long a replica may take to become ready.
    pub patience: Option<Duration>,
    /// After how many failures in a row a replica looks ill.
    pub failures: Option<NonZeroU32>,
    /// How long a replica that came back takes to bear its whole share.
    pub slow_start: Option<Duration>,
    /// What further attempts cost.
    pub budget: Option<BudgetPlan>,
}

/// Which replicas are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One, and another when it looks ill.
    ActivePassive {
        /// For how long after a promotion there is no other one.
        hold_down: Option<Duration>,
        /// Whether the first one is promoted when it is back.
        fail_back: Option<bool>,
    },
    /// All that look well.
    ActiveActive {
        /// Whether the one with the least to do is called, rather than the better of two.
        least_load: bool,
    },
}

pub(super) fn failover(field: Field<'_>, tools: Tools<'_>) -> Result<Failover, Fault> {
    let known = [
        "tools",
        "mode",
        "hold_down",
        "fail_back",
        "balance",
        "attempts",
        "patience",
        "failures",
        "slow_start",
        "budget",
    ];
    let fields = field.fields("failover", &known)?;
    let listed = fields.required("tools", "[\"standby\"]")?;
    Ok(Failover {
        tools: tools_of(listed, MOST_OTHERS, tools)?,
        mode: mode(&fields)?,
        attempts: attempts(&fields)?,
        patience: seconds(&fields, "patience")?,
        failures: fields.optional("failures").map(|field| count(field, 10_000)).transpose()?,
        slow_start: seconds(&fields, "slow_start")?,
        budget: fields.optional("budget").map(budget).transpose()?,
    })
}

fn mode(fields: &Fields<'_>) -> Result<Mode, Fault> {
    const MODES: [(&str, bool); 2] = [("active-passive", false), ("active-active", true)];
    let chosen = fields.optional("mode").map(|field| field.choice(&MODES)).transpose()?;
    let are_all_active = chosen.unwrap_or(false);
    let of_the_other: &[&str] =
        if are_all_active { &["hold_down", "fail_back"] } else { &["balance"] };
    if let Some(lost) = of_the_other.iter().find_map(|key| fields.optional(key)) {
        let (mode, _) = MODES[usize::from(!are_all_active)];
        return Err(lost.fault(format!("\"{}\" goes with `mode = \"{mode}\"` only", lost.key)));
    }
    if !are_all_active {
        return Ok(Mode::ActivePassive {
            hold_down: seconds(fields, "hold_down")?,
            fail_back: fields.optional("fail_back").map(|field| field.truth()).transpose()?,
        });
    }
    let balances = [("two-choices", false), ("least-load", true)];
    let balance = fields.optional("balance").map(|field| field.choice(&balances));
    Ok(Mode::ActiveActive { least_load: balance.transpose()?.unwrap_or(false) })
}
