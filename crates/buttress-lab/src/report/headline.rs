//! What was gained, in one sentence.

use std::time::Duration;

use super::number::percent;
use crate::{
    run::{Measured, MeasuredArm},
    stats::{Estimate, Summary},
};

/// The first arm and the one that gained most over it.
pub(super) struct Gain<'a> {
    pub(super) first: &'a MeasuredArm,
    pub(super) best: &'a MeasuredArm,
    after: Option<Duration>,
}

impl<'a> Gain<'a> {
    /// Compares the arms; `None` if there is nothing to compare, or nothing was gained.
    ///
    /// The best arm is the quickest in 99 of 100 among those that answer as often as any, as far
    /// as their intervals can tell. An arm with another load cannot be compared. Where requests are
    /// measured apart from a certain time on, it is those that count.
    pub(super) fn of(measured: &'a Measured) -> Option<Self> {
        let first = measured.arms.first()?;
        let alike = || measured.arms.iter().filter(|arm| arm.load == first.load);
        let top = alike().map(|arm| low(numbers(arm).success)).fold(f64::NEG_INFINITY, f64::max);
        let best = alike()
            .filter(|arm| high(numbers(arm).success) >= top && numbers(arm).latency.is_some())
            .min_by(|a, b| p99(a).total_cmp(&p99(b)))?;
        (best.name != first.name).then_some(Self { first, best, after: measured.after })
    }

    /// What is compared.
    pub(super) fn numbers(&self) -> (&'a Summary, &'a Summary) {
        (numbers(self.first), numbers(self.best))
    }

    /// How many more requests are answered.
    pub(super) fn claim(&self) -> String {
        let (was, is) = self.numbers();
        let which = match self.after {
            Some(after) => format!("requests from {} s on", after.as_secs_f64()),
            None => "requests".to_owned(),
        };
        let (was, is) = (percent(was.success.value), percent(is.success.value));
        format!("“{}” answers {is} of {which} instead of {was}", self.best.name)
    }

    /// The gain and its price in one sentence.
    pub(super) fn sentence(&self) -> String {
        let (was, is) = self.numbers();
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

fn numbers(arm: &MeasuredArm) -> &Summary {
    arm.later.as_ref().map_or(&arm.numbers, |later| &later.numbers)
}

fn p99(arm: &MeasuredArm) -> f64 {
    numbers(arm).latency.as_ref().map_or(f64::INFINITY, |latency| latency.p99.value)
}
