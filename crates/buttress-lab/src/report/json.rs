//! The report for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    run::{Later, Measured, MeasuredArm},
    series::{Series, Stretch},
    stats::{Estimate, Latency, Summary},
};

#[derive(Serialize)]
struct Report<'a> {
    experiment: &'a str,
    seed: u64,
    requests: u64,
    world: String,
    interrupted: bool,
    not_reached: &'a [String],
    arms: Vec<ArmReport<'a>>,
}

#[derive(Serialize)]
struct ArmReport<'a> {
    name: &'a str,
    #[serde(flatten)]
    numbers: Numbers<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    later: Option<LaterReport<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<SeriesReport>,
}

/// The numbers of the requests that were made from a certain time on.
#[derive(Serialize)]
struct LaterReport<'a> {
    from_s: f64,
    to_s: f64,
    offered_per_s: f64,
    goodput_per_s: f64,
    #[serde(flatten)]
    numbers: Numbers<'a>,
}

/// Counts per stretch of time.
#[derive(Serialize)]
struct SeriesReport {
    seconds: f64,
    offered: Vec<u64>,
    answered: Vec<u64>,
    failed: Vec<u64>,
    calls: Vec<u64>,
}

#[derive(Serialize)]
struct Numbers<'a> {
    requests: u64,
    success_rate: f64,
    mean_s: Option<f64>,
    p50_s: Option<f64>,
    p90_s: Option<f64>,
    p95_s: Option<f64>,
    p99_s: Option<f64>,
    p999_s: Option<f64>,
    max_s: Option<f64>,
    failure_mean_s: Option<f64>,
    calls_per_request: f64,
    tool_seconds_per_request: f64,
    cancelled_per_request: f64,
    errors: &'a BTreeMap<String, u64>,
    half_widths: HalfWidths,
}

/// Half of the 99 % intervals of the numbers of the same names.
#[derive(Serialize)]
struct HalfWidths {
    success_rate: Option<f64>,
    mean_s: Option<f64>,
    p50_s: Option<f64>,
    p90_s: Option<f64>,
    p95_s: Option<f64>,
    p99_s: Option<f64>,
    p999_s: Option<f64>,
    calls_per_request: Option<f64>,
    tool_seconds_per_request: Option<f64>,
    cancelled_per_request: Option<f64>,
}

/// Writes JSON: rates from 0 to 1, times in seconds, latencies among successes and `null` without
/// any. The same measurements give the same bytes.
///
/// # Errors
/// If a number has no JSON.
pub fn json(measured: &Measured) -> Result<String, serde_json::Error> {
    let report = Report {
        experiment: &measured.experiment,
        seed: measured.settings.seed,
        requests: measured.settings.requests,
        world: measured.settings.world.to_string(),
        interrupted: measured.interrupted,
        not_reached: &measured.unreached,
        arms: measured.arms.iter().map(arm).collect(),
    };
    serde_json::to_string_pretty(&report).map(|text| text + "\n")
}

fn arm(arm: &MeasuredArm) -> ArmReport<'_> {
    ArmReport {
        name: &arm.name,
        numbers: numbers(&arm.numbers),
        later: arm.later.as_ref().map(later),
        series: arm.series.as_ref().map(series),
    }
}

fn later(later: &Later) -> LaterReport<'_> {
    LaterReport {
        from_s: later.from.as_secs_f64(),
        to_s: later.to.as_secs_f64(),
        offered_per_s: later.offered(),
        goodput_per_s: later.goodput(),
        numbers: numbers(&later.numbers),
    }
}

fn series(series: &Series) -> SeriesReport {
    let counts = |pick: fn(&Stretch) -> u64| series.stretches().iter().map(pick).collect();
    SeriesReport {
        seconds: series.width().as_secs_f64(),
        offered: counts(|stretch| stretch.offered),
        answered: counts(|stretch| stretch.answered),
        failed: counts(|stretch| stretch.failed),
        calls: counts(|stretch| stretch.calls),
    }
}

fn numbers(numbers: &Summary) -> Numbers<'_> {
    let latency = |pick: fn(&Latency) -> Estimate| numbers.latency.as_ref().map(pick);
    let value = |pick| latency(pick).map(|estimate| estimate.value);
    let half = |pick| latency(pick).and_then(|estimate| estimate.half_width);
    Numbers {
        requests: numbers.requests,
        success_rate: numbers.success.value,
        mean_s: value(|l| l.mean),
        p50_s: value(|l| l.p50),
        p90_s: value(|l| l.p90),
        p95_s: value(|l| l.p95),
        p99_s: value(|l| l.p99),
        p999_s: value(|l| l.p999),
        max_s: numbers.latency.as_ref().map(|latency| latency.max),
        failure_mean_s: numbers.failure.map(|failure| failure.value),
        calls_per_request: numbers.calls.value,
        tool_seconds_per_request: numbers.tool_seconds.value,
        cancelled_per_request: numbers.cancelled.value,
        errors: &numbers.errors,
        half_widths: HalfWidths {
            success_rate: numbers.success.half_width,
            mean_s: half(|l| l.mean),
            p50_s: half(|l| l.p50),
            p90_s: half(|l| l.p90),
            p95_s: half(|l| l.p95),
            p99_s: half(|l| l.p99),
            p999_s: half(|l| l.p999),
            calls_per_request: numbers.calls.half_width,
            tool_seconds_per_request: numbers.tool_seconds.half_width,
            cancelled_per_request: numbers.cancelled.half_width,
        },
    }
}
