//! A retry, as a plan writes it.

use std::time::Duration;

use buttress::{Backoff, Factor, Jitter};

use super::{
    fields::{Field, Fields},
    layer::{BudgetPlan, attempts, budget, seconds},
    refusal::Fault,
};

/// The settings of a retry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retry {
    /// Attempts in all.
    pub attempts: Option<u32>,
    /// The waits between them.
    pub backoff: Option<Backoff>,
    /// What extra attempts cost.
    pub budget: Option<BudgetPlan>,
    /// Whether failures that nobody can classify are repeated.
    pub retry_unknown: Option<bool>,
    /// The longest wait that a dependency may ask for.
    pub max_retry_after: Option<Duration>,
    /// The longest wait that a layer inside may ask for.
    pub wait_when_rejected: Option<Duration>,
}

pub(super) fn retry(field: Field<'_>) -> Result<Retry, Fault> {
    let known = [
        "attempts",
        "base",
        "factor",
        "cap",
        "jitter",
        "budget",
        "retry_unknown",
        "max_retry_after",
        "wait_when_rejected",
    ];
    let fields = field.fields("retry", &known)?;
    Ok(Retry {
        attempts: attempts(&fields)?,
        backoff: backoff(&fields)?,
        budget: fields.optional("budget").map(budget).transpose()?,
        retry_unknown: fields.optional("retry_unknown").map(|f| f.truth()).transpose()?,
        max_retry_after: seconds(&fields, "max_retry_after")?,
        wait_when_rejected: seconds(&fields, "wait_when_rejected")?,
    })
}

/// The default cap of a written backoff, in seconds.
const CAP: f64 = 60.0;

fn backoff(fields: &Fields<'_>) -> Result<Option<Backoff>, Fault> {
    let written = ["base", "factor", "cap", "jitter"];
    if written.iter().all(|key| fields.optional(key).is_none()) {
        return Ok(None);
    }
    let base = seconds(fields, "base")?.unwrap_or(Duration::from_millis(100));
    let cap = seconds(fields, "cap")?.unwrap_or(Duration::from_secs_f64(CAP));
    if base > cap {
        let given = fields.optional("cap").or(fields.optional("base"));
        let message = format!(
            "\"base\" must be at most \"cap\" ({CAP} by default), not {} with a cap of {}",
            base.as_secs_f64(),
            cap.as_secs_f64()
        );
        return Err(Fault::new(given.map_or(fields.span(), |field| field.span()), message));
    }
    let mut backoff = Backoff::exponential(base, cap);
    if let Some(field) = fields.optional("factor") {
        let factor = field.number(1.0, 1_000.0)?;
        backoff = backoff.factor(Factor::new(factor).map_err(|e| field.fault(e.to_string()))?);
    }
    if let Some(field) = fields.optional("jitter") {
        backoff = backoff.jitter(field.choice(&[
            ("none", Jitter::None),
            ("full", Jitter::Full),
            ("equal", Jitter::Equal),
            ("decorrelated", Jitter::Decorrelated),
            ("half-to-one-and-half", Jitter::HalfToOneAndHalf),
        ])?);
    }
    Ok(Some(backoff))
}
