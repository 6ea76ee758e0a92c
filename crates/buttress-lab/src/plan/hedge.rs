//! A hedge, as a plan writes it.

use std::time::Duration;

use buttress::{OnFailure, Quantile};

use super::{
    fields::{Field, Fields},
    layer::{BudgetPlan, LONGEST, MOST_ATTEMPTS, attempts, budget, seconds},
    refusal::Fault,
};

/// The settings of a hedge.
#[derive(Clone, Debug, PartialEq)]
pub struct Hedge {
    /// When further attempts start.
    pub delay: Delay,
    /// Attempts in all.
    pub attempts: Option<u32>,
    /// What a failed attempt does.
    pub on_failure: Option<OnFailure>,
    /// What extra attempts cost.
    pub budget: Option<BudgetPlan>,
}

/// When the further attempts of a hedge start.
#[derive(Clone, Debug, PartialEq)]
pub enum Delay {
    /// All at once.
    Immediate(u32),
    /// One by one, each so long after the one before.
    After(Duration),
    /// After each of these, the next.
    Gaps(Vec<Duration>),
    /// When the latencies seen so far say that it pays.
    Learned {
        /// What a further attempt is weighed against, in seconds of the caller's time.
        price: Option<Duration>,
    },
    /// At a quantile of the latencies seen so far.
    Percentile(Quantile, Duration),
}

pub(super) fn hedge(field: Field<'_>) -> Result<Hedge, Fault> {
    let known = [
        "after",
        "immediate",
        "gaps",
        "learned",
        "percentile",
        "start",
        "price",
        "attempts",
        "on_failure",
        "budget",
    ];
    let fields = field.fields("hedge", &known)?;
    let delay = delay(field, &fields)?;
    let attempts = attempts(&fields)?;
    if let (Delay::Immediate(_) | Delay::Gaps(_), Some(_)) = (&delay, attempts) {
        let message = "\"attempts\" follows from `immediate` or `gaps`: leave it out";
        let given = fields.optional("attempts").map_or(field.span(), |field| field.span());
        return Err(Fault::new(given, message));
    }
    let on_failure = fields.optional("on_failure").map(|field| {
        field.choice(&[
            ("next", OnFailure::Next),
            ("wait", OnFailure::Wait),
            ("propagate", OnFailure::Propagate),
        ])
    });
    Ok(Hedge {
        delay,
        attempts,
        on_failure: on_failure.transpose()?,
        budget: fields.optional("budget").map(budget).transpose()?,
    })
}

fn delay(whole: Field<'_>, fields: &Fields<'_>) -> Result<Delay, Fault> {
    let kinds = ["after", "immediate", "gaps", "learned", "percentile"];
    let given: Vec<Field<'_>> = kinds.iter().filter_map(|kind| fields.optional(kind)).collect();
    let &[field] = given.as_slice() else {
        let message = format!("a hedge needs exactly one of {}", kinds.join(", "));
        return Err(Fault::new(given.get(1).map_or(whole.span(), Field::span), message));
    };
    for (setting, kind) in [("start", "percentile"), ("price", "learned")] {
        if let (Some(setting), true) = (fields.optional(setting), field.key != kind) {
            return Err(setting.fault(format!("\"{}\" goes with `{kind}` only", setting.key)));
        }
    }
    match field.key {
        "after" => field.seconds(0.001, LONGEST).map(Delay::After),
        "immediate" => field.small(1, MOST_ATTEMPTS).map(Delay::Immediate),
        "gaps" => {
            let gaps = field.items(MOST_ATTEMPTS as usize - 1)?;
            if gaps.is_empty() {
                return Err(field.must_be("at least one gap, in seconds"));
            }
            let gaps = gaps.iter().map(|gap| gap.seconds(0.0, LONGEST));
            gaps.collect::<Result<_, _>>().map(Delay::Gaps)
        }
        "percentile" => {
            let quantile = Quantile::new(field.number(0.01, 0.999)?)
                .map_err(|error| field.fault(error.to_string()))?;
            let start = fields.required("start", "1.0")?.seconds(0.001, LONGEST)?;
            Ok(Delay::Percentile(quantile, start))
        }
        _ if field.truth()? => Ok(Delay::Learned { price: seconds(fields, "price")? }),
        _ => Err(field.must_be("true")),
    }
}
