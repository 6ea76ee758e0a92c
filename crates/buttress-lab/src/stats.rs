//! Numbers out of measurements: rates, means and quantiles with their 99 % half-widths.

use std::{collections::BTreeMap, time::Duration};

/// The normal quantile of a two-sided 99 % interval.
const Z99: f64 = 2.576;

/// The points of a latency curve: enough for a smooth line on a wide screen.
const CURVE_POINTS: usize = 240;

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The intended start, counted from that of the first request or a little before.
    pub at: Duration,
    /// From the intended start to the answer, or to the failure.
    pub latency: Duration,
    /// The kind of the failure, if it failed.
    pub failure: Option<&'static str>,
    /// What it cost.
    pub cost: Cost,
}

/// What one request cost at the tool.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Tool calls launched.
    pub calls: u64,
    /// Tool calls dropped before their end.
    pub cancelled: u64,
    /// How long the tool was kept busy, all calls together.
    pub busy: Duration,
}

/// The measurements of one arm, one outcome after the other.
#[derive(Debug, Default)]
pub struct Sample {
    latencies: Vec<u64>,
    errors: BTreeMap<&'static str, u64>,
    requests: u64,
    last: Duration,
    failures: Moments,
    calls: Moments,
    busy: Moments,
    cancelled: Moments,
}

impl Sample {
    /// Takes note of one request.
    pub fn add(&mut self, outcome: &Outcome) {
        self.requests += 1;
        self.last = self.last.max(outcome.at);
        match outcome.failure {
            None => self.latencies.push(nanos(outcome.latency)),
            Some(kind) => {
                *self.errors.entry(kind).or_default() += 1;
                self.failures.add(micros(outcome.latency));
            }
        }
        self.calls.add(outcome.cost.calls);
        self.cancelled.add(outcome.cost.cancelled);
        self.busy.add(micros(outcome.cost.busy));
    }

    /// How many requests were measured.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// When the last request was to begin.
    pub fn last(&self) -> Duration {
        self.last
    }

    /// Sums the measurements up.
    pub fn summary(mut self) -> Summary {
        self.latencies.sort_unstable();
        let mut moments = Moments::default();
        self.latencies.iter().for_each(|nanos| moments.add(nanos / 1_000));
        let successes = self.latencies.len() as u64;
        let latency = (successes > 0).then(|| Latency {
            mean: moments.estimate(1e-6),
            p50: quantile(&self.latencies, 0.5),
            p90: quantile(&self.latencies, 0.9),
            p95: quantile(&self.latencies, 0.95),
            p99: quantile(&self.latencies, 0.99),
            p999: quantile(&self.latencies, 0.999),
            max: self.latencies.last().copied().map_or(0.0, seconds),
        });
        Summary {
            requests: self.requests,
            successes,
            success: proportion(successes, self.requests),
            latency,
            failure: (self.failures.count > 0).then(|| self.failures.estimate(1e-6)),
            calls: self.calls.estimate(1.0),
            tool_seconds: self.busy.estimate(1e-6),
            cancelled: self.cancelled.estimate(1.0),
            errors: self.errors.into_iter().map(|(kind, n)| (kind.to_owned(), n)).collect(),
            waiting: waiting(&self.latencies, self.requests),
        }
    }
}

/// A number and how far off it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Half of the width of its 99 % interval; `None` where the sample is too small to say.
    pub half_width: Option<f64>,
}

/// The latencies of successes, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    /// The arithmetic mean.
    pub mean: Estimate,
    /// The median.
    pub p50: Estimate,
    /// Nine of ten are at most this.
    pub p90: Estimate,
    /// Nineteen of twenty are at most this.
    pub p95: Estimate,
    /// 99 of 100 are at most this.
    pub p99: Estimate,
    /// 999 of 1000 are at most this.
    pub p999: Estimate,
    /// The longest: the 100th percentile.
    pub max: f64,
}

/// The numbers of one arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Requests measured.
    pub requests: u64,
    /// Requests answered.
    pub successes: u64,
    /// The share of requests answered, 0 to 1.
    pub success: Estimate,
    /// The latencies of successes; `None` if there were none.
    pub latency: Option<Latency>,
    /// How long it took until a request failed, in seconds; `None` if none did.
    pub failure: Option<Estimate>,
    /// Tool calls launched per request.
    pub calls: Estimate,
    /// Seconds of the tool used per request.
    pub tool_seconds: Estimate,
    /// Tool calls dropped before their end, per request.
    pub cancelled: Estimate,
    /// How many requests failed, by kind.
    pub errors: BTreeMap<String, u64>,
    /// The share of requests still without an answer after so many seconds, along a logarithmic
    /// grid from the shortest to the longest latency. It ends at the share that failed.
    pub waiting: Vec<(f64, f64)>,
}

/// Sums of whole numbers and of their squares: exact, so the order of adding does not matter.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: u64,
    sum: u128,
    squares: u128,
}

impl Moments {
    fn add(&mut self, value: u64) {
        let value = u128::from(value);
        self.count += 1;
        self.sum += value;
        self.squares = self.squares.saturating_add(value * value);
    }

    /// The mean and its half-width, with `unit` the size of one.
    fn estimate(&self, unit: f64) -> Estimate {
        if self.count == 0 {
            return Estimate { value: 0.0, half_width: None };
        }
        let n = self.count as f64;
        let mean = self.sum as f64 / n;
        let half_width = (self.count > 1).then(|| {
            // Var = (Σx² − (Σx)²/n) / (n − 1), in integers up to the division: no cancellation.
            let spread = u128::from(self.count)
                .saturating_mul(self.squares)
                .saturating_sub(self.sum.saturating_mul(self.sum));
            let variance = spread as f64 / n / (n - 1.0);
            Z99 * (variance / n).sqrt() * unit
        });
        Estimate { value: mean * unit, half_width }
    }
}

/// A share and half of its Wilson interval, which stays honest at 0 and at 1.
///
/// Source: E. B. Wilson, *Probable inference* (1927).
fn proportion(hits: u64, of: u64) -> Estimate {
    if of == 0 {
        return Estimate { value: 0.0, half_width: None };
    }
    let (n, z2) = (of as f64, Z99 * Z99);
    let p = hits as f64 / n;
    let half = Z99 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Estimate { value: p, half_width: Some(half) }
}

/// The quantile by nearest rank, and half the distance of the order statistics around it.
///
/// `sorted` is not empty.
fn quantile(sorted: &[u64], q: f64) -> Estimate {
    let n = sorted.len();
    let at = |rank: f64| sorted.get((rank as usize).saturating_sub(1)).copied().map(seconds);
    let rank = (q * n as f64).ceil().clamp(1.0, n as f64);
    let reach = Z99 * (n as f64 * q * (1.0 - q)).sqrt();
    let (low, high) = ((q * n as f64 - reach).floor(), (q * n as f64 + reach).ceil());
    let half_width = match (low >= 1.0, at(low), at(high)) {
        (true, Some(low), Some(high)) => Some((high - low) / 2.0),
        _ => None,
    };
    Estimate { value: at(rank).unwrap_or(f64::NAN), half_width }
}

/// The share of requests without an answer, over time.
fn waiting(sorted: &[u64], requests: u64) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return Vec::new() };
    // A latency of zero has no logarithm.
    let (low, high) = ((*first).max(1_000) as f64, (*last).max(1_000) as f64);
    let mut curve: Vec<(f64, f64)> = vec![(low / 1e9, 1.0)];
    for point in 0..=CURVE_POINTS {
        let at = low * (high / low).powf(point as f64 / CURVE_POINTS as f64);
        let answered = if point == CURVE_POINTS {
            sorted.len()
        } else {
            sorted.partition_point(|latency| *latency as f64 <= at)
        };
        curve.push((at / 1e9, 1.0 - answered as f64 / requests as f64));
    }
    curve
}

/// In microseconds the sum of squares of the longest run fits, and no clock here is finer.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answered(millis: u64) -> Outcome {
        Outcome {
            at: Duration::ZERO,
            latency: Duration::from_millis(millis),
            failure: None,
            cost: Cost { calls: 1, cancelled: 0, busy: Duration::from_millis(millis) },
        }
    }

    fn failed(kind: &'static str) -> Outcome {
        Outcome { failure: Some(kind), ..answered(5) }
    }

    fn summary(outcomes: impl IntoIterator<Item = Outcome>) -> Summary {
        let mut sample = Sample::default();
        outcomes.into_iter().for_each(|outcome| sample.add(&outcome));
        sample.summary()
    }

    proptest! {
        #[test]
        fn agrees_with_plain_sums(millis in prop::collection::vec(0_u64..20_000, 2..60)) {
            let ours = summary(millis.iter().copied().map(answered));
            let latency = ours.latency.expect("there are successes");

            let n = millis.len() as f64;
            let xs: Vec<f64> = millis.iter().map(|ms| *ms as f64 / 1e3).collect();
            let mean = xs.iter().sum::<f64>() / n;
            let variance = xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
            prop_assert!((latency.mean.value - mean).abs() < 1e-9);
            let half = 2.576 * (variance / n).sqrt();
            prop_assert!((latency.mean.half_width.unwrap() - half).abs() < 1e-9 + 1e-9 * half);
            prop_assert_eq!(latency.max, xs.iter().copied().fold(0.0, f64::max));

            for (q, ours) in [(0.5, latency.p50), (0.9, latency.p90), (0.999, latency.p999)] {
                // The smallest value that at least a share q of all values do not pass.
                let theirs = xs
                    .iter()
                    .copied()
                    .filter(|x| xs.iter().filter(|y| *y <= x).count() as f64 >= q * n)
                    .fold(f64::INFINITY, f64::min);
                prop_assert_eq!(ours.value, theirs);
            }
        }

        #[test]
        fn the_curve_falls_to_the_share_of_failures(
            millis in prop::collection::vec(0_u64..20_000, 1..60), failures in 0_usize..50,
        ) {
            let outcomes = millis.iter().copied().map(answered);
            let ours = summary(outcomes.chain((0..failures).map(|_| failed("failed"))));
            prop_assert!(ours.waiting.windows(2).all(|w| w[0].0 <= w[1].0 && w[0].1 >= w[1].1));
            let share = failures as f64 / (failures + millis.len()) as f64;
            prop_assert!((ours.waiting.last().unwrap().1 - share).abs() < 1e-12);
        }
    }

    #[test]
    fn the_median_of_many_lies_within_its_order_statistics() {
        let ours = summary((1..=10_000).map(answered)).latency.unwrap();
        // n·q ± 2.576 √(n·q·(1−q)) = 5000 ± 128.8: ranks 4871 and 5129.
        assert_eq!(ours.p50.value, 5.0);
        assert!((ours.p50.half_width.unwrap() - 0.129).abs() < 1e-12);
    }

    #[test]
    fn a_rare_quantile_of_a_small_sample_has_no_half_width() {
        let ours = summary((1..=1_000).map(answered)).latency.unwrap();
        assert!(ours.p99.half_width.is_some());
        assert_eq!(ours.p999.half_width, None);
    }

    #[test]
    fn a_perfect_score_is_not_certain() {
        let ours = summary((0..100).map(answered));
        assert_eq!(ours.success.value, 1.0);
        // Wilson: z² / 2(n + z²) = 6.6358 / 213.27.
        assert!((ours.success.half_width.unwrap() - 0.031_114).abs() < 1e-5);
    }

    #[test]
    fn nothing_answered_means_no_latency() {
        let ours = summary([failed("failed"), failed("timeout"), failed("failed")]);
        assert_eq!((ours.success.value, ours.latency.is_none()), (0.0, true));
        assert_eq!(ours.errors, [("failed".to_owned(), 2), ("timeout".to_owned(), 1)].into());
        assert!(ours.waiting.is_empty());
    }

    #[test]
    fn an_empty_sample_is_summed_up_too() {
        let ours = summary([]);
        assert_eq!((ours.requests, ours.success.value), (0, 0.0));
        assert_eq!(ours.calls.half_width, None);
    }
}
