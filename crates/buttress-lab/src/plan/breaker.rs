//! A breaker, as a plan writes it.

use std::time::Duration;

use buttress::{Backoff, Cusum, Jitter, Probes, Trigger, Window};

use super::{
    fields::{Field, Fields},
    layer::{LONGEST, count, seconds, share},
    refusal::Fault,
};

/// How many calls a window may hold.
const WIDEST: u32 = 1_000_000;

/// The settings of a breaker.
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// What opens it.
    pub trigger: Trigger,
    /// How long it stays open.
    pub open_for: Option<Backoff>,
    /// How many calls try whether the tool is back.
    pub probes: Option<Probes>,
}

const TRIGGERS: [&str; 5] = ["consecutive", "failure_rate", "slow_rate", "cusum", "flaky"];
const WINDOW: [&str; 3] = ["over_calls", "over_seconds", "min_calls"];

pub(super) fn breaker(field: Field<'_>) -> Result<Breaker, Fault> {
    let settings = ["slow", "open_for", "open_cap", "probes"];
    let known: Vec<&str> = TRIGGERS.into_iter().chain(WINDOW).chain(settings).collect();
    let fields = field.fields("breaker", &known)?;
    Ok(Breaker {
        trigger: trigger(&fields)?,
        open_for: open_for(&fields)?,
        probes: fields.optional("probes").map(probes).transpose()?,
    })
}

fn trigger(fields: &Fields<'_>) -> Result<Trigger, Fault> {
    let given: Vec<Field<'_>> = TRIGGERS.iter().filter_map(|key| fields.optional(key)).collect();
    if let Some(second) = given.get(1) {
        let message = format!("a breaker has at most one of {}", TRIGGERS.join(", "));
        return Err(second.fault(message));
    }
    let kind = given.first().map_or("", |field| field.key);
    let with_rates = WINDOW.map(|key| (key, ["failure_rate", "slow_rate"].as_slice()));
    for (key, kinds) in with_rates.into_iter().chain([("slow", ["slow_rate"].as_slice())]) {
        if let (Some(setting), false) = (fields.optional(key), kinds.contains(&kind)) {
            let message = format!("\"{key}\" goes with `{}` only", kinds.join("` or `"));
            return Err(setting.fault(message));
        }
    }
    let Some(field) = given.first() else { return Ok(Trigger::default()) };
    match field.key {
        "consecutive" => count(*field, 10_000).map(Trigger::consecutive),
        "failure_rate" => Ok(Trigger::failure_rate(share(*field)?, window(fields)?)),
        "slow_rate" => {
            let slow = fields.required("slow", "2.0")?.seconds(0.001, LONGEST)?;
            Ok(Trigger::slow_rate(slow, share(*field)?, window(fields)?))
        }
        "cusum" => cusum(*field).map(Trigger::cusum),
        _ if field.truth()? => Ok(Trigger::flaky()),
        _ => Err(field.must_be("true")),
    }
}

fn window(fields: &Fields<'_>) -> Result<Window, Fault> {
    let window = match (fields.optional("over_calls"), fields.optional("over_seconds")) {
        (Some(calls), None) => Window::calls(count(calls, WIDEST)?),
        (None, Some(time)) => Window::time(time.seconds(0.032, LONGEST)?),
        (_, Some(second)) => {
            return Err(second.fault("a rate is told either `over_calls` or `over_seconds`"));
        }
        (None, None) => {
            let message = "a rate needs a window: add `over_calls = 100` or `over_seconds = 60.0`";
            return Err(Fault::new(fields.span(), message));
        }
    };
    match fields.optional("min_calls") {
        Some(field) => Ok(window.min_calls(count(field, WIDEST)?)),
        None => Ok(window),
    }
}

fn cusum(field: Field<'_>) -> Result<Cusum, Fault> {
    let fields = field.fields("cusum", &["healthy", "broken", "false_trip_every"])?;
    let healthy = share(fields.required("healthy", "0.1")?)?;
    let broken = share(fields.required("broken", "0.5")?)?;
    let every = count(fields.required("false_trip_every", "100_000")?, 10_000_000)?;
    Cusum::new(healthy, broken, every).map_err(|error| field.fault(error.to_string()))
}

/// The defaults of a written open time, in seconds: those of the layer.
const OPEN: (u64, u64) = (5, 30);

fn open_for(fields: &Fields<'_>) -> Result<Option<Backoff>, Fault> {
    let written = [fields.optional("open_cap"), fields.optional("open_for")];
    let Some(field) = written.into_iter().flatten().next() else { return Ok(None) };
    let first = seconds(fields, "open_for")?.unwrap_or(Duration::from_secs(OPEN.0));
    let longest = seconds(fields, "open_cap")?.unwrap_or(first.max(Duration::from_secs(OPEN.1)));
    if first > longest {
        return Err(field.fault(format!(
            "\"open_cap\" must be at least \"open_for\", not {} after {}",
            longest.as_secs_f64(),
            first.as_secs_f64()
        )));
    }
    Ok(Some(Backoff::exponential(first, longest).jitter(Jitter::Equal)))
}

fn probes(field: Field<'_>) -> Result<Probes, Fault> {
    let written = "how many must succeed of how many, `[2, 3]`, at most 64";
    let items = field.items(2)?;
    let &[needed, allowed] = items.as_slice() else { return Err(field.must_be(written)) };
    let (needed, allowed) = (needed.small(1, 64)?, allowed.small(1, 64)?);
    match (u8::try_from(needed), u8::try_from(allowed)) {
        (Ok(needed), Ok(allowed)) if needed <= allowed => Ok(Probes::new(needed, allowed)),
        _ => Err(field.must_be(written)),
    }
}
