//! A tool and its faults, as a plan writes them.

use std::num::NonZero;

use buttress::Ratio;
use buttress_sim::{Burst, Calls, FailKind, Fate, Faults, Rule, Shares, Takes, When, Window};

use super::{
    fields::{Field, Fields},
    refusal::Fault,
};

/// How many rules a tool may have.
const MOST_RULES: usize = 100;
/// The longest time, in seconds: a day.
const LONGEST: f64 = 86_400.0;
/// The end of the latest window, in seconds: ten years.
const LATEST: f64 = 315_576_000.0;
/// The highest number of a call.
const LAST_CALL: u64 = 1_000_000_000_000;

const KINDS: [(&str, FailKind); FailKind::ALL.len()] = {
    let mut kinds = [("", FailKind::Mystery); FailKind::ALL.len()];
    let mut at = 0;
    while at < kinds.len() {
        kinds[at] = (FailKind::ALL[at].as_str(), FailKind::ALL[at]);
        at += 1;
    }
    kinds
};

/// Reads a tool.
pub(super) fn faults(field: Field<'_>) -> Result<Faults, Fault> {
    let known = ["fail", "fail_kind", "fail_after", "slow", "slow_takes", "fast_takes", "rules"];
    let fields = field.fields("a tool", &known)?;
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

const CONDITIONS: [&str; 6] = ["share", "burst", "during", "calls", "every", "listed"];
const ENDS: [&str; 8] = ["pass", "fail", "hang", "throttle", "corrupt", "drop", "crash", "delay"];

fn rule(item: Field<'_>) -> Result<Rule, Fault> {
    let known: Vec<&str> =
        CONDITIONS.into_iter().chain(ENDS).chain(["after", "retry_after"]).collect();
    let fields = item.fields("a rule", &known)?;
    let mut conditions = Vec::new();
    for key in CONDITIONS {
        if let Some(field) = fields.optional(key) {
            conditions.push(condition(field)?);
        }
    }
    let given: Vec<Field<'_>> = ENDS.iter().filter_map(|key| fields.optional(key)).collect();
    let &[field] = given.as_slice() else {
        let span = given.get(1).map_or(item.span(), Field::span);
        return Err(Fault::new(span, format!("a rule needs exactly one of {}", ENDS.join(", "))));
    };
    let mut conditions = conditions.into_iter();
    let first = conditions.next().unwrap_or(When::Always);
    let rule = match field.key {
        "delay" => {
            only_with(&fields, "after", field, &["fail", "throttle"])?;
            only_with(&fields, "retry_after", field, &["throttle"])?;
            Rule::delay(first, field.takes(LONGEST)?)
        }
        _ => Rule::new(first, fate(&fields, field)?),
    };
    Ok(conditions.fold(rule, Rule::and))
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
    only_with(fields, "after", field, &["fail", "throttle"])?;
    only_with(fields, "retry_after", field, &["throttle"])?;
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
