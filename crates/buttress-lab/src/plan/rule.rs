//! When something else becomes of a call, and what, as a plan writes it.

use std::num::NonZero;

use buttress::{Factor, Ratio};
use buttress_sim::{Burst, Calls, FailKind, Fate, Rule, Takes, When, Window};

use super::{
    fields::{Field, Fields},
    refusal::Fault,
};

/// The longest time, in seconds: a day.
pub(super) const LONGEST: f64 = 86_400.0;
/// The end of the latest window, in seconds: ten years.
const LATEST: f64 = 315_576_000.0;
/// The highest number of a call.
const LAST_CALL: u64 = 1_000_000_000_000;

pub(super) const KINDS: [(&str, FailKind); FailKind::ALL.len()] = {
    let mut kinds = [("", FailKind::Mystery); FailKind::ALL.len()];
    let mut at = 0;
    while at < kinds.len() {
        kinds[at] = (FailKind::ALL[at].as_str(), FailKind::ALL[at]);
        at += 1;
    }
    kinds
};

const CONDITIONS: [&str; 6] = ["share", "burst", "during", "calls", "every", "listed"];
const FATES: [&str; 7] = ["pass", "fail", "hang", "throttle", "corrupt", "drop", "crash"];
const HOLDUPS: [&str; 2] = ["delay", "slowdown"];
const SETTINGS: [&str; 2] = ["after", "retry_after"];

/// The greatest slowdown.
const SLOWEST: f64 = 10_000.0;

/// Reads a rule.
pub(super) fn rule(item: Field<'_>) -> Result<Rule, Fault> {
    let ends: Vec<&str> = FATES.into_iter().chain(HOLDUPS).collect();
    let known: Vec<&str> =
        CONDITIONS.into_iter().chain(ends.iter().copied()).chain(SETTINGS).collect();
    let fields = item.fields("a rule", &known)?;
    let mut conditions = Vec::new();
    for key in CONDITIONS {
        if let Some(field) = fields.optional(key) {
            conditions.push(condition(field)?);
        }
    }
    let field = the_one(&fields, "a rule", &ends)?;
    let mut conditions = conditions.into_iter();
    let first = conditions.next().unwrap_or(When::Always);
    let rule = match field.key {
        "delay" => {
            without_settings(&fields, field)?;
            Rule::delay(first, field.takes(LONGEST)?)
        }
        "slowdown" => {
            without_settings(&fields, field)?;
            let factor = Factor::new(field.number(1.0, SLOWEST)?);
            Rule::slowdown(first, factor.map_err(|error| field.fault(error.to_string()))?)
        }
        _ => Rule::new(first, fate(&fields, field)?),
    };
    Ok(conditions.fold(rule, Rule::and))
}

/// Reads what becomes of a call, where there are no conditions.
pub(super) fn only_fate(field: Field<'_>, what: &'static str) -> Result<Fate<Takes>, Fault> {
    let known: Vec<&str> = FATES.into_iter().chain(SETTINGS).collect();
    let fields = field.fields(what, &known)?;
    fate(&fields, the_one(&fields, what, &FATES)?)
}

/// The only one of some keys that is given.
fn the_one<'a>(fields: &Fields<'a>, what: &str, keys: &[&'a str]) -> Result<Field<'a>, Fault> {
    let given: Vec<Field<'a>> = keys.iter().filter_map(|key| fields.optional(key)).collect();
    match given.as_slice() {
        &[field] => Ok(field),
        _ => {
            let span = given.get(1).map_or(fields.span(), Field::span);
            Err(Fault::new(span, format!("{what} needs exactly one of {}", keys.join(", "))))
        }
    }
}

fn condition(field: Field<'_>) -> Result<When, Fault> {
    match field.key {
        "share" => Ok(When::Share(probability(field)?)),
        "burst" => {
            let fields = field.fields("burst", &["enter", "leave"])?;
            let enter = probability(fields.required("enter", "0.001")?)?;
            let leave = probability(fields.required("leave", "0.01")?)?;
            Ok(When::Burst(Burst::new(enter, leave)))
        }
        "during" => {
            let (from, to) = field.range(LATEST)?;
            Window::between(from, to).map(When::During).map_err(|e| field.fault(e.to_string()))
        }
        "calls" => {
            let ends = field.items(2)?;
            let &[first, last] = ends.as_slice() else {
                return Err(field.must_be("the first and the last call, `[first, last]`"));
            };
            let (first, last) = (first.count(1, LAST_CALL)?, last.count(1, LAST_CALL)?);
            Calls::between(first, last).map(When::Calls).map_err(|e| field.fault(e.to_string()))
        }
        "every" => {
            let step = field.count(1, LAST_CALL)?;
            Ok(When::Calls(Calls::every(NonZero::new(step).unwrap_or(NonZero::<u64>::MIN))))
        }
        _ => {
            let calls = field.items(100_000)?;
            let calls: Vec<u64> =
                calls.iter().map(|call| call.count(1, LAST_CALL)).collect::<Result<_, _>>()?;
            Calls::listed(calls).map(When::Calls).map_err(|e| field.fault(e.to_string()))
        }
    }
}

/// The walk back to the last settled state of a burst is `1 / (enter + leave)` calls long.
const RAREST: f64 = 1e-6;

fn probability(field: Field<'_>) -> Result<Ratio, Fault> {
    Ratio::new(field.number(RAREST, 1.0)?).map_err(|error| field.fault(error.to_string()))
}

fn fate(fields: &Fields<'_>, field: Field<'_>) -> Result<Fate<Takes>, Fault> {
    without_settings(fields, field)?;
    let after =
        fields.optional("after").map_or(Ok(Takes::NOTHING), |field| field.takes(LONGEST))?;
    match field.key {
        "pass" => Ok(Fate::Pass { takes: field.takes(LONGEST)? }),
        "fail" => Ok(Fate::Fail { kind: field.choice(&KINDS)?, after }),
        "hang" => yes(field).map(|()| Fate::Hang),
        "throttle" => {
            yes(field)?;
            let retry_after = fields.optional("retry_after").map(|f| f.seconds(0.0, LONGEST));
            Ok(Fate::Throttle { retry_after: retry_after.transpose()?, after })
        }
        "corrupt" => Ok(Fate::Corrupt { takes: field.takes(LONGEST)? }),
        "drop" => Ok(Fate::DropMidAnswer { after: field.takes(LONGEST)? }),
        // A number of seconds after which it is back, or `true` for never.
        _ if field.value.get_ref().is_bool() => {
            yes(field).map(|()| Fate::Crash { restart_after: None })
        }
        _ => Ok(Fate::Crash { restart_after: Some(field.seconds(0.0, LATEST)?) }),
    }
}

fn yes(field: Field<'_>) -> Result<(), Fault> {
    if field.truth()? { Ok(()) } else { Err(field.must_be("true")) }
}

fn without_settings(fields: &Fields<'_>, end: Field<'_>) -> Result<(), Fault> {
    only_with(fields, "after", end, &["fail", "throttle"])?;
    only_with(fields, "retry_after", end, &["throttle"])
}

fn only_with(fields: &Fields<'_>, key: &str, end: Field<'_>, ends: &[&str]) -> Result<(), Fault> {
    match fields.optional(key) {
        Some(field) if !ends.contains(&end.key) => {
            let message =
                format!("\"{key}\" goes with {} only, not with {}", ends.join(" or "), end.key);
            Err(field.fault(message))
        }
        _ => Ok(()),
    }
}
