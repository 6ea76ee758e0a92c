//! A tool and its faults, as a plan writes them.

use std::num::NonZero;

use buttress_sim::{Capacity, Faults, Shares, Takes, Tool};

use super::{
    fields::{Field, Fields},
    refusal::Fault,
    rule::{KINDS, LONGEST, only_fate, rule},
};

/// How many rules a tool may have.
const MOST_RULES: usize = 100;

/// What a tool does to its calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolPlan {
    /// What goes wrong.
    pub faults: Faults,
    /// How much it can do at a time; without bounds if `None`.
    pub capacity: Option<Capacity>,
}

impl ToolPlan {
    /// The tool, reproducible for a seed.
    pub fn build(&self, seed: u64) -> Tool {
        let tool = Tool::new(self.faults.clone(), seed);
        match self.capacity {
            Some(capacity) => tool.capacity(capacity),
            None => tool,
        }
    }
}

/// Reads a tool.
pub(super) fn tool(field: Field<'_>) -> Result<ToolPlan, Fault> {
    let known = [
        "fail",
        "fail_kind",
        "fail_after",
        "slow",
        "slow_takes",
        "fast_takes",
        "workers",
        "queue",
        "when_full",
        "rules",
    ];
    let fields = field.fields("a tool", &known)?;
    Ok(ToolPlan { faults: faults(&fields)?, capacity: capacity(&fields)? })
}

/// How many calls may be worked on, and wait.
const MOST_CALLS: u32 = 1_000_000;

fn capacity(fields: &Fields<'_>) -> Result<Option<Capacity>, Fault> {
    let Some(field) = fields.optional("workers") else {
        let lost = ["queue", "when_full"].into_iter().find_map(|key| fields.optional(key));
        return match lost {
            Some(lost) => Err(lost.fault(format!("\"{}\" goes with `workers` only", lost.key))),
            None => Ok(None),
        };
    };
    let workers = NonZero::new(field.small(1, MOST_CALLS)?).unwrap_or(NonZero::<u32>::MIN);
    let mut capacity = Capacity::workers(workers);
    if let Some(field) = fields.optional("queue") {
        capacity = capacity.queue(field.small(0, MOST_CALLS)? as usize);
    }
    match (fields.optional("when_full"), fields.optional("queue")) {
        (Some(field), None) => return Err(field.fault("\"when_full\" goes with `queue` only")),
        (Some(field), Some(_)) => capacity = capacity.when_full(only_fate(field, "when_full")?),
        (None, _) => {}
    }
    Ok(Some(capacity))
}

fn faults(fields: &Fields<'_>) -> Result<Faults, Fault> {
    let share = |key| fields.optional(key).map_or(Ok(0.0), |field| field.number(0.0, 1.0));
    let (fail, slow) = (share("fail")?, share("slow")?);
    let shares = Shares::new(fail, slow).map_err(|error| {
        let second = fields.optional("slow").map_or(fields.span(), |field| field.span());
        Fault::new(second, error.to_string())
    })?;
    if let (None, true) = (fields.optional("slow_takes"), slow > 0.0) {
        fields.required("slow_takes", "[5.0, 7.0]")?;
    }
    let takes = |key| fields.optional(key).map_or(Ok(Takes::NOTHING), |field| field.takes(LONGEST));
    let mut faults = Faults::new(shares)
        .fail_after(takes("fail_after")?)
        .slow_takes(takes("slow_takes")?)
        .fast_takes(takes("fast_takes")?);
    if let Some(field) = fields.optional("fail_kind") {
        faults = faults.fail_kind(field.choice(&KINDS)?);
    }
    if let Some(field) = fields.optional("rules") {
        for item in field.items(MOST_RULES)? {
            faults = faults.rule(rule(item)?);
        }
    }
    Ok(faults)
}
