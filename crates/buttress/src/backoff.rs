//! How long to wait between attempts.

use std::{fmt, time::Duration};

use crate::OutOfRange;

/// How a delay is spread, so that callers that failed together do not return together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Jitter {
    /// The delay as computed.
    None,
    /// Anywhere from nothing to the delay.
    #[default]
    Full,
    /// Anywhere from half of the delay to the delay.
    Equal,
    /// Anywhere from the base to three times the previous delay.
    ///
    /// The factor plays no part: growth comes from the previous delay.
    Decorrelated,
    /// Anywhere from half to one and a half times the delay.
    HalfToOneAndHalf,
}

/// The delay before each attempt after the first.
///
/// Exponential: `base`, `base * factor`, `base * factor²`, .. up to `cap`, spread by a
/// [`Jitter`]. The cap holds with the jitter included. Delays are whole nanoseconds.
///
/// The jitters are those of Marc Brooker, *Exponential Backoff And Jitter* (2015).
///
/// ```
/// use std::time::Duration;
/// use buttress::{Backoff, Jitter};
///
/// let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(5))
///     .jitter(Jitter::None);
/// let delays: Vec<_> = (1..=4).map(|n| backoff.delay(n, Duration::ZERO, 0.5).as_secs()).collect();
/// assert_eq!(delays, [1, 2, 4, 5]);
/// ```
///
/// # Defaults
/// Base 100 ms, factor 2, cap 10 s, full jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    base: u64,
    cap: u64,
    factor: Factor,
    jitter: Jitter,
}

/// How much longer each delay is than the one before: at least 1, finite.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Factor(f64);

impl Factor {
    /// The same delay every time.
    pub const ONE: Self = Self(1.0);
    /// Twice the delay every time.
    pub const TWO: Self = Self(2.0);

    /// Takes a factor.
    ///
    /// # Errors
    /// Refuses what is below 1 or not finite.
    pub const fn new(factor: f64) -> Result<Self, OutOfRange> {
        if factor >= 1.0 && factor.is_finite() {
            Ok(Self(factor))
        } else {
            Err(OutOfRange::new("a factor", "at least 1 and finite", factor))
        }
    }

    /// The factor as a number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Backoff {
    /// Delays that double from `base` up to `cap`, with full jitter.
    pub const fn exponential(base: Duration, cap: Duration) -> Self {
        Self { base: nanos(base), cap: nanos(cap), factor: Factor::TWO, jitter: Jitter::Full }
    }

    /// The same delay every time, with full jitter.
    pub const fn constant(delay: Duration) -> Self {
        Self::exponential(delay, delay).factor(Factor::ONE)
    }

    /// No delay at all.
    pub const fn none() -> Self {
        Self::constant(Duration::ZERO).jitter(Jitter::None)
    }

    /// Sets how much each delay grows; 2 by default.
    #[must_use]
    pub const fn factor(mut self, factor: Factor) -> Self {
        self.factor = factor;
        self
    }

    /// Sets how the delays are spread; [`Jitter::Full`] by default.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The longest delay it ever gives.
    pub const fn cap(&self) -> Duration {
        Duration::from_nanos(self.cap)
    }

    /// The delay after the `failures`th failure, counted from 1.
    ///
    /// `previous` is the delay given last (zero at first); `unit` is a random number, at least
    /// 0 and below 1. What lies outside is taken for the nearer end.
    pub fn delay(&self, failures: u32, previous: Duration, unit: f64) -> Duration {
        let unit = unit.clamp(0.0, 1.0);
        let grown = self.grown(failures);
        let spread = match self.jitter {
            Jitter::None => grown,
            Jitter::Full => scale(grown, unit),
            Jitter::Equal => (grown - scale(grown, 0.5)).saturating_add(scale(grown, 0.5 * unit)),
            Jitter::Decorrelated => {
                let high = nanos(previous).max(self.base).saturating_mul(3);
                self.base.saturating_add(scale(high - self.base, unit))
            }
            Jitter::HalfToOneAndHalf => scale(grown, 0.5 + unit),
        };
        Duration::from_nanos(spread.min(self.cap))
    }

    /// `base * factor^(failures - 1)`, at most the cap.
    fn grown(&self, failures: u32) -> u64 {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        // Zero times infinity would be no number at all.
        if self.base == 0 {
            return 0;
        }
        scale(self.base, self.factor.0.powi(exponent)).min(self.cap)
    }
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, cap) = (Duration::from_nanos(self.base), self.cap());
        let factor = match self.jitter {
            Jitter::Decorrelated => 3.0,
            _ => self.factor.0,
        };
        if self.cap == 0 {
            f.write_str("at once")
        } else if base >= cap || factor == 1.0 {
            write!(f, "after {:?}", base.min(cap))
        } else {
            write!(f, "after {base:?} × {factor} up to {cap:?}")
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Duration::from_millis(100), Duration::from_secs(10))
    }
}

const fn nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}

/// `nanos * by`, saturating. A float as large as `u64::MAX` is cast to it.
fn scale(nanos: u64, by: f64) -> u64 {
    (nanos as f64 * by) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_jitter() -> impl Strategy<Value = Jitter> {
        prop_oneof![
            Just(Jitter::None),
            Just(Jitter::Full),
            Just(Jitter::Equal),
            Just(Jitter::Decorrelated),
            Just(Jitter::HalfToOneAndHalf),
        ]
    }

    #[test]
    fn says_what_it_is() {
        let second = Duration::from_secs(1);
        assert_eq!(Backoff::default().to_string(), "after 100ms × 2 up to 10s");
        assert_eq!(Backoff::constant(second).to_string(), "after 1s");
        assert_eq!(Backoff::exponential(2 * second, second).to_string(), "after 1s");
        assert_eq!(Backoff::none().to_string(), "at once");
    }

    /// The delay by plain arithmetic on seconds.
    fn naive(
        base: f64,
        cap: f64,
        factor: f64,
        jitter: Jitter,
        n: u32,
        prev: f64,
        unit: f64,
    ) -> f64 {
        let mut grown = base;
        for _ in 1..n {
            grown = (grown * factor).min(cap);
        }
        let grown = grown.min(cap);
        let spread = match jitter {
            Jitter::None => grown,
            Jitter::Full => unit * grown,
            Jitter::Equal => grown / 2.0 + unit * grown / 2.0,
            Jitter::Decorrelated => base + unit * (3.0 * prev.max(base) - base),
            Jitter::HalfToOneAndHalf => grown * (0.5 + unit),
        };
        spread.min(cap)
    }

    proptest! {
        #[test]
        fn agrees_with_plain_arithmetic(
            base in 0_u64..10_000, cap in 0_u64..100_000, factor in 1.0_f64..5.0,
            jitter in any_jitter(), n in 1_u32..40, prev in 0_u64..100_000, unit in 0.0_f64..1.0,
        ) {
            let backoff = Backoff::exponential(Duration::from_millis(base), Duration::from_millis(cap))
                .factor(Factor::new(factor).unwrap())
                .jitter(jitter);
            let ours = backoff.delay(n, Duration::from_millis(prev), unit).as_secs_f64();
            let (base, cap, prev) = (base as f64 / 1e3, cap as f64 / 1e3, prev as f64 / 1e3);
            let theirs = naive(base, cap, factor, jitter, n, prev, unit);
            prop_assert!((ours - theirs).abs() <= 4e-9 + 1e-12 * theirs, "{ours} {theirs}");
        }

        #[test]
        fn never_passes_the_cap_nor_panics(
            base in any::<u64>(), cap in any::<u64>(), factor in 1.0_f64..f64::MAX,
            jitter in any_jitter(), n in any::<u32>(), prev in any::<u64>(), unit in any::<f64>(),
        ) {
            let (base, cap) = (Duration::from_nanos(base), Duration::from_nanos(cap));
            let backoff = Backoff::exponential(base, cap)
                .factor(Factor::new(factor).unwrap())
                .jitter(jitter);
            prop_assert!(backoff.delay(n, Duration::from_nanos(prev), unit) <= cap);
        }
    }

    #[test]
    fn refuses_shrinking_and_infinite_factors() {
        for bad in [0.0, 0.999, f64::NAN, f64::INFINITY] {
            assert!(Factor::new(bad).is_err());
        }
        assert_eq!(Factor::new(1.0), Ok(Factor::ONE));
        assert_eq!(Factor::TWO.get(), 2.0);
    }

    #[test]
    fn endless_times_are_as_long_as_can_be_told() {
        for endless in [Duration::MAX, Duration::from_secs(1 << 36)] {
            let backoff = Backoff::constant(endless).jitter(Jitter::None);
            assert_eq!(backoff.cap(), Duration::from_nanos(u64::MAX));
            assert_eq!(backoff.delay(1, Duration::ZERO, 0.0), backoff.cap());
        }
    }
}
