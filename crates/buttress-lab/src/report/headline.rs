//! What was gained, in one sentence.

use super::number::percent;
use crate::{
    run::{Measured, MeasuredArm},
    stats::Estimate,
};

/// The first arm and the one that gained most over it.
pub(super) struct Gain<'a> {
    pub(super) first: &'a MeasuredArm,
    pub(super) best: &'a MeasuredArm,
}

impl<'a> Gain<'a> {
    /// Compares the arms; `None` if there is nothing to compare, or nothing was gained.
    ///
    /// The best arm is the quickest in 99 of 100 among those that answer as often as any, as far
    /// as their intervals can tell.
    pub(super) fn of(measured: &'a Measured) -> Option<Self> {
        let first = measured.arms.first()?;
        let top = measured
            .arms
            .iter()
            .map(|arm| low(arm.numbers.success))
            .fold(f64::NEG_INFINITY, f64::max);
        let best = measured
            .arms
            .iter()
            .filter(|arm| high(arm.numbers.success) >= top && arm.numbers.latency.is_some())
            .min_by(|a, b| p99(a).total_cmp(&p99(b)))?;
        (best.name != first.name).then_some(Self { first, best })
    }

    /// How many more requests are answered.
    pub(super) fn claim(&self) -> String {
        let Self { first, best } = self;
        let (was, is) = (first.numbers.success.value, best.numbers.success.value);
        format!("“{}” answers {} of requests instead of {}", best.name, percent(is), percent(was))
    }

    /// The gain and its price in one sentence.
    pub(super) fn sentence(&self) -> String {
        let (was, is) = (&self.first.numbers, &self.best.numbers);
        let latency = match (&was.latency, &is.latency) {
            (Some(was), Some(is)) => {
                let (was, is) = (was.p99.value, is.p99.value);
                format!(", 99 of 100 answers within {is:.2} s instead of {was:.2} s")
            }
            _ => String::new(),
        };
        let (was, is) = (was.calls.value, is.calls.value);
        let claim = self.claim();
        format!("{claim}{latency}, at {is:.2} tool calls per request instead of {was:.2}.")
    }
}

fn low(estimate: Estimate) -> f64 {
    estimate.value - estimate.half_width.unwrap_or(0.0)
}

fn high(estimate: Estimate) -> f64 {
    estimate.value + estimate.half_width.unwrap_or(0.0)
}

fn p99(arm: &MeasuredArm) -> f64 {
    arm.numbers.latency.as_ref().map_or(f64::INFINITY, |latency| latency.p99.value)
}
