//! A fallback, as a plan writes it.

use std::time::Duration;

use super::{
    Tools,
    fields::Field,
    layer::{BudgetPlan, budget, seconds, tools_of},
    refusal::Fault,
};

/// How many tiers there may be after the first.
const MOST_TIERS: usize = 20;

/// The settings of a fallback. What is inside of it is tried first.
#[derive(Clone, Debug, PartialEq)]
pub struct Fallback {
    /// The tools that are tried then, in order.
    pub tools: Vec<String>,
    /// How long each may take to become ready while there is another.
    pub patience: Option<Duration>,
    /// Whether permanent failures lead to the next tool too.
    pub on_permanent: Option<bool>,
    /// What trying another tool costs.
    pub budget: Option<BudgetPlan>,
}

pub(super) fn fallback(field: Field<'_>, tools: Tools<'_>) -> Result<Fallback, Fault> {
    let fields = field.fields("fallback", &["tools", "patience", "on_permanent", "budget"])?;
    let listed = fields.required("tools", "[\"weak\"]")?;
    Ok(Fallback {
        tools: tools_of(listed, MOST_TIERS, tools)?,
        patience: seconds(&fields, "patience")?,
        on_permanent: fields.optional("on_permanent").map(|f| f.truth()).transpose()?,
        budget: fields.optional("budget").map(budget).transpose()?,
    })
}
