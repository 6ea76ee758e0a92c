//! A limit on concurrent calls, as a plan writes it.

use std::{num::NonZeroU32, time::Duration};

use super::{
    fields::{Field, Fields},
    layer::{count, seconds},
    refusal::Fault,
};

/// How many calls may run, or wait.
const MOST_CALLS: u32 = 1_000_000;

/// The settings of a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// How many calls may run at once.
    pub most: Most,
    /// How many may wait.
    pub queue: Option<u32>,
    /// How long they may wait.
    pub wait: Option<Duration>,
}

/// How many calls may run at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Most {
    /// So many.
    Fixed(NonZeroU32),
    /// As many as outcomes say that the tool can take.
    Adaptive {
        /// Where it starts.
        start: Option<NonZeroU32>,
        /// What it never falls below.
        min: Option<NonZeroU32>,
        /// What it never grows above.
        max: Option<NonZeroU32>,
        /// How long it stays after it shrank.
        period: Option<Duration>,
        /// From when on a call is a sign of overload.
        slow_after: Option<Duration>,
    },
}

const ADAPTIVE: [&str; 5] = ["start", "min", "max", "period", "slow_after"];

/// Either how many may run, or a table with more.
pub(super) fn limit(field: Field<'_>) -> Result<Limit, Fault> {
    if field.table().is_none() {
        return Ok(Limit { most: Most::Fixed(calls(field)?), queue: None, wait: None });
    }
    let known: Vec<&str> =
        ["most", "adaptive", "queue", "wait"].into_iter().chain(ADAPTIVE).collect();
    let fields = field.fields("limit", &known)?;
    Ok(Limit {
        most: most(field, &fields)?,
        queue: fields.optional("queue").map(|field| field.small(0, MOST_CALLS)).transpose()?,
        wait: seconds(&fields, "wait")?,
    })
}

fn most(whole: Field<'_>, fields: &Fields<'_>) -> Result<Most, Fault> {
    let adaptive = match (fields.optional("most"), fields.optional("adaptive")) {
        (Some(most), None) => {
            return match ADAPTIVE.iter().find_map(|key| fields.optional(key)) {
                Some(lost) => {
                    Err(lost.fault(format!("\"{}\" goes with `adaptive` only", lost.key)))
                }
                None => calls(most).map(Most::Fixed),
            };
        }
        (None, Some(adaptive)) => adaptive,
        (most, _) => {
            let span = most.map_or(whole.span(), |most| most.span());
            return Err(Fault::new(span, "a limit needs either `most` or `adaptive`"));
        }
    };
    if !adaptive.truth()? {
        return Err(adaptive.must_be("true"));
    }
    let bound = |key| fields.optional(key).map(calls).transpose();
    let (start, min, max) = (bound("start")?, bound("min")?, bound("max")?);
    let in_order =
        [("min", min, "start", start), ("start", start, "max", max), ("min", min, "max", max)];
    for (low, at_least, high, at_most) in in_order {
        if let (Some(least), Some(most), Some(field)) = (at_least, at_most, fields.optional(high))
            && least > most
        {
            return Err(field.fault(format!(
                "\"{high}\" must be at least \"{low}\", not {most} after {least}"
            )));
        }
    }
    Ok(Most::Adaptive {
        start,
        min,
        max,
        period: seconds(fields, "period")?,
        slow_after: seconds(fields, "slow_after")?,
    })
}

fn calls(field: Field<'_>) -> Result<NonZeroU32, Fault> {
    count(field, MOST_CALLS)
}
