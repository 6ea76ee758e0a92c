//! Where the wait before an attempt comes from: fixed, or learned from the attempts before.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{Quantile, survival::History};

/// The waits between attempts.
#[derive(Clone, Debug)]
pub(super) enum Delay {
    Every(Duration),
    Gaps(Arc<[Duration]>),
    Learned(Arc<Learned>),
    Percentile(Arc<Percentile>),
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(gap) if gap.is_zero() => f.write_str("at once"),
            Self::Every(gap) => write!(f, "after {gap:?}"),
            Self::Gaps(gaps) => write!(f, "after gaps of {gaps:?}"),
            Self::Learned(_) => f.write_str("when it pays"),
            Self::Percentile(percentile) => {
                write!(f, "after the {} quantile", percentile.quantile)
            }
        }
    }
}

impl Delay {
    /// The wait after the attempt launched last, `launched` in all; `None` for no further attempt.
    pub(super) fn gap(&self, launched: u32) -> Option<Duration> {
        match self {
            Self::Every(gap) => Some(*gap),
            Self::Gaps(gaps) => gaps.get(launched as usize - 1).copied(),
            Self::Learned(learned) => learned.delay(),
            Self::Percentile(percentile) => Some(percentile.delay()),
        }
    }

    /// Whether the age of each attempt matters.
    pub(super) const fn learns(&self) -> bool {
        matches!(self, Self::Learned(_))
    }

    /// An attempt gave an acceptable answer at this age.
    pub(super) fn ended(&self, age: Duration) {
        if let Self::Learned(learned) = self {
            learned.record(|history| history.ended(age));
        }
    }

    /// An attempt failed or was dropped at this age.
    pub(super) fn censored(&self, age: Duration) {
        if let Self::Learned(learned) = self {
            learned.record(|history| history.censored(age));
        }
    }

    /// Whether the first attempt was still running after the first delay.
    pub(super) fn outlived(&self, pending: bool) {
        if let Self::Percentile(percentile) = self {
            percentile.outlived(pending);
        }
    }
}

/// The delay that pays best, by the survival curve of the attempts so far.
pub(super) struct Learned {
    /// In nanoseconds; `OFF` while a second attempt does not pay.
    delay: AtomicU64,
    price: Option<Duration>,
    history: Mutex<Lesson>,
}

struct Lesson {
    history: History,
    /// Records since the delay was computed last.
    fresh: u32,
}

const OFF: u64 = u64::MAX;

impl Learned {
    pub(super) fn new(price: Option<Duration>) -> Self {
        Self {
            delay: AtomicU64::new(OFF),
            price,
            history: Mutex::new(Lesson { history: History::new(), fresh: 0 }),
        }
    }

    pub(super) fn delay(&self) -> Option<Duration> {
        match self.delay.load(Ordering::Relaxed) {
            OFF => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    fn record(&self, record: impl FnOnce(&mut History)) {
        let curve = {
            // A panic cannot leave the history half written: it holds only counts.
            let mut lesson = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            record(&mut lesson.history);
            lesson.fresh += 1;
            // The more is known the less a record changes.
            if lesson.fresh < (lesson.history.answers() / 16).max(8) {
                return;
            }
            lesson.fresh = 0;
            lesson.history.curve()
        };
        // The sweep over it costs up to some hundred microseconds: others need not wait.
        let price = self.price.map(|price| price.as_secs_f64());
        let best = curve.and_then(|curve| curve.best_delay(price));
        let nanos = best.map_or(OFF, |delay| delay.as_nanos() as u64);
        self.delay.store(nanos, Ordering::Relaxed);
    }
}

impl fmt::Debug for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Learned").field(&self.delay()).finish()
    }
}

/// A quantile of the duration of attempts, tracked by one bit per call.
///
/// "Was the first attempt still running after the delay?" has the same answer whether or not the
/// attempt is cancelled later, so cancelling does not bias it. The delay grows by a little at
/// each yes and shrinks by a little at each no, in proportions that balance at the quantile
/// (Robbins and Monro, 1951, on the logarithm).
pub(super) struct Percentile {
    /// In nanoseconds, as a float's bits.
    delay: AtomicU64,
    quantile: f64,
}

/// The step of the logarithm of the delay per bit, before it is weighed.
const STEP: f64 = 0.05;
/// No delay is shorter or longer than what a latency history covers, in nanoseconds.
const SHORTEST: f64 = 1e6;
const LONGEST: f64 = 600e9;

impl Percentile {
    pub(super) fn new(quantile: Quantile, start: Duration) -> Self {
        let start = (start.as_nanos() as f64).clamp(SHORTEST, LONGEST);
        Self { delay: AtomicU64::new(start.to_bits()), quantile: quantile.get() }
    }

    pub(super) fn delay(&self) -> Duration {
        Duration::from_nanos(f64::from_bits(self.delay.load(Ordering::Relaxed)) as u64)
    }

    fn outlived(&self, pending: bool) {
        let weight = if pending { self.quantile } else { self.quantile - 1.0 };
        let factor = (STEP * weight).exp();
        let step = |bits| Some((f64::from_bits(bits) * factor).clamp(SHORTEST, LONGEST).to_bits());
        // Always Ok: the step always gives a value.
        let _ = self.delay.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }
}

impl fmt::Debug for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Percentile")
            .field("quantile", &self.quantile)
            .field("delay", &self.delay())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    use super::*;

    #[test]
    fn a_percentile_is_found_from_above_and_below() {
        for seed in 1..=5 {
            println!("seed {seed}");
            for start in [0.01, 30.0] {
                let mut rng = SmallRng::seed_from_u64(seed);
                let percentile = Percentile::new(Quantile::P90, Duration::from_secs_f64(start));
                let (mut sum, mut count) = (0.0, 0.0);
                for call in 0..20_000 {
                    let delay = percentile.delay().as_secs_f64();
                    // Exponential with mean 1 s: the 90th percentile is ln 10.
                    let taken = -(1.0 - rng.random::<f64>()).ln();
                    percentile.outlived(taken > delay);
                    if call >= 10_000 {
                        sum += delay;
                        count += 1.0;
                    }
                }
                let mean: f64 = sum / count;
                assert!((mean - std::f64::consts::LN_10).abs() < 0.1, "{mean}");
            }
        }
    }

    #[test]
    fn a_percentile_stays_within_bounds() {
        let percentile = Percentile::new(Quantile::P99, Duration::MAX);
        percentile.outlived(true);
        assert_eq!(percentile.delay(), Duration::from_secs(600));
        let percentile = Percentile::new(Quantile::P50, Duration::ZERO);
        percentile.outlived(false);
        assert_eq!(percentile.delay(), Duration::from_millis(1));
    }
}
