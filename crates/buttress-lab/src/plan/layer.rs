//! The layers of a stack, as a plan writes them.

use std::time::Duration;

use buttress::{Backoff, Factor, Jitter, OnFailure, Quantile, Ratio};

use super::{
    fields::{Field, Fields},
    refusal::{Fault, unknown},
};

/// How many layers a stack may have.
const MOST_LAYERS: usize = 20;
/// How many attempts a layer may make.
const MOST_ATTEMPTS: u32 = 100;
/// The longest delay, in seconds: a day.
const LONGEST: f64 = 86_400.0;

/// One layer and its settings; what is `None` is left to the layer's own default.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerPlan {
    /// Repeats failed calls.
    Retry(Retry),
    /// Calls again beside a slow call.
    Hedge(Hedge),
    /// Bounds the time of a call.
    Timeout(Duration),
}

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
pub(super) fn stack(field: Field<'_>) -> Result<Vec<LayerPlan>, Fault> {
    field.items(MOST_LAYERS)?.into_iter().map(layer).collect()
}

const LAYERS: [&str; 3] = ["hedge", "retry", "timeout"];

fn layer(item: Field<'_>) -> Result<LayerPlan, Fault> {
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
        "hedge" => hedge(field).map(LayerPlan::Hedge),
        _ => Ok(LayerPlan::Timeout(field.seconds(0.001, LONGEST)?)),
    }
}

fn retry(field: Field<'_>) -> Result<Retry, Fault> {
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

fn attempts(fields: &Fields<'_>) -> Result<Option<u32>, Fault> {
    fields.optional("attempts").map(|field| field.small(1, MOST_ATTEMPTS)).transpose()
}

fn seconds(fields: &Fields<'_>, key: &'static str) -> Result<Option<Duration>, Fault> {
    fields.optional(key).map(|field| field.seconds(0.0, LONGEST)).transpose()
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

/// Either the share that a success earns, or a table with more.
fn budget(field: Field<'_>) -> Result<BudgetPlan, Fault> {
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

fn share(field: Field<'_>) -> Result<Ratio, Fault> {
    Ratio::new(field.number(0.001, 1.0)?).map_err(|error| field.fault(error.to_string()))
}

fn hedge(field: Field<'_>) -> Result<Hedge, Fault> {
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
