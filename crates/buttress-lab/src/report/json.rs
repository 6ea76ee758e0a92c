//! The report for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    run::{Measured, MeasuredArm},
    stats::{Estimate, Latency},
};

#[derive(Serialize)]
struct Report<'a> {
    experiment: &'a str,
    seed: u64,
    requests: u64,
    world: String,
    interrupted: bool,
    arms: Vec<ArmReport<'a>>,
}

#[derive(Serialize)]
struct ArmReport<'a> {
    name: &'a str,
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
        arms: measured.arms.iter().map(arm).collect(),
    };
    serde_json::to_string_pretty(&report).map(|text| text + "\n")
}

fn arm(MeasuredArm { name, numbers }: &MeasuredArm) -> ArmReport<'_> {
    let latency = |pick: fn(&Latency) -> Estimate| numbers.latency.as_ref().map(pick);
    let value = |pick| latency(pick).map(|estimate| estimate.value);
    let half = |pick| latency(pick).and_then(|estimate| estimate.half_width);
    ArmReport {
        name,
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
