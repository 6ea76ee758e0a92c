//! Numbers of a plan, checked where they are typed.

use std::time::Duration;

/// A number in a plan that nothing could be simulated with.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Impossible {
    /// A share that is no share.
    #[error("the share of {what} calls must be from 0 to 1, not {value}")]
    Share {
        /// Which calls.
        what: &'static str,
        /// What was given.
        value: f64,
    },
    /// Shares that add up to more than everything.
    #[error("the shares of failed ({fail}) and slow ({slow}) calls add up to more than 1")]
    Sum {
        /// The share of failed calls.
        fail: f64,
        /// The share of slow calls.
        slow: f64,
    },
    /// A time that is no time.
    #[error("seconds must be finite, at least 0 and less than 584 years, not {0}")]
    Seconds(f64),
    /// A range that ends before it starts.
    #[error("a range must not end before it starts, as {from:?} to {to:?} does")]
    Range {
        /// The start that was given.
        from: Duration,
        /// The end that was given.
        to: Duration,
    },
    /// A window that is over as it starts.
    #[error("a window must end after it starts, unlike {from:?} to {to:?}")]
    Window {
        /// The start that was given.
        from: Duration,
        /// The end that was given.
        to: Duration,
    },
    /// A range of calls without a call in it.
    #[error("there is no call from {first} to {last}; calls are counted from 1")]
    Calls {
        /// The first call that was given.
        first: u64,
        /// The last call that was given.
        last: u64,
    },
    /// A list of calls without a call in it, or with call 0.
    #[error("a list of calls must name at least one, counted from 1")]
    List,
}

/// How long something takes: uniform between two times, or exactly one.
///
/// ```
/// use std::time::Duration;
/// use buttress_sim::Takes;
///
/// let slow = Takes::seconds(5.0, 7.0)?;
/// assert_eq!(slow.draw(0.25), Duration::from_millis(5_500));
/// assert_eq!(
///     Takes::seconds(7.0, 5.0).unwrap_err().to_string(),
///     "a range must not end before it starts, as 7s to 5s does",
/// );
/// # Ok::<(), buttress_sim::Impossible>(())
/// ```
///
/// Kept in nanoseconds; what is longer than 584 years is cut to that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Takes {
    from: u64,
    width: u64,
}

impl Takes {
    /// No time at all.
    pub const NOTHING: Self = Self { from: 0, width: 0 };

    /// Anything from `from` up to but not including `to`; exactly `from` if they are equal.
    ///
    /// # Errors
    /// Refuses an end before the start.
    pub const fn between(from: Duration, to: Duration) -> Result<Self, Impossible> {
        match nanos(to).checked_sub(nanos(from)) {
            Some(width) => Ok(Self { from: nanos(from), width }),
            None => Err(Impossible::Range { from, to }),
        }
    }

    /// The same in seconds.
    ///
    /// # Errors
    /// Refuses an end before the start, and what is negative, infinite or not a number.
    pub fn seconds(from: f64, to: f64) -> Result<Self, Impossible> {
        Self::between(checked(from)?, checked(to)?)
    }

    /// Always the same time.
    pub const fn exactly(time: Duration) -> Self {
        Self { from: nanos(time), width: 0 }
    }

    /// A range that is known to be one.
    pub(crate) const fn millis(from: u64, to: u64) -> Self {
        Self { from: from * 1_000_000, width: (to - from) * 1_000_000 }
    }

    /// The time for a random number, at least 0 and below 1.
    pub fn draw(self, unit: f64) -> Duration {
        Duration::from_nanos(self.from.saturating_add((self.width as f64 * unit) as u64))
    }

    /// The time in the middle: the mean of what is drawn.
    pub fn mean(self) -> Duration {
        self.draw(0.5)
    }
}

impl From<Duration> for Takes {
    fn from(time: Duration) -> Self {
        Self::exactly(time)
    }
}

/// Which shares of the calls fail and are slow; the rest is fast.
///
/// ```
/// use buttress_sim::Shares;
///
/// assert!(Shares::new(0.2, 0.1).is_ok());
/// assert_eq!(
///     Shares::new(0.9, 0.2).unwrap_err().to_string(),
///     "the shares of failed (0.9) and slow (0.2) calls add up to more than 1",
/// );
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    fail: f64,
    slow: f64,
}

impl Shares {
    /// All calls are fast.
    pub const ALL_FAST: Self = Self { fail: 0.0, slow: 0.0 };

    /// A share of failed and one of slow calls.
    ///
    /// # Errors
    /// Refuses what is not from 0 to 1, and shares that add up to more than 1.
    pub fn new(fail: f64, slow: f64) -> Result<Self, Impossible> {
        for (what, value) in [("failed", fail), ("slow", slow)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Impossible::Share { what, value });
            }
        }
        // Shares written in decimals, such as 0.7 and 0.3, may miss 1 by a rounding.
        if fail + slow > 1.0 + 1e-12 {
            return Err(Impossible::Sum { fail, slow });
        }
        Ok(Self { fail, slow })
    }

    /// Shares that are known to be some.
    pub(crate) const fn known(fail: f64, slow: f64) -> Self {
        Self { fail, slow }
    }

    /// The share that fails.
    pub const fn fail(self) -> f64 {
        self.fail
    }

    /// The share that is slow.
    pub const fn slow(self) -> f64 {
        self.slow
    }
}

/// Seconds as a duration.
pub(crate) fn checked(seconds: f64) -> Result<Duration, Impossible> {
    let longest = Duration::from_nanos(u64::MAX);
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time <= longest => Ok(time),
        _ => Err(Impossible::Seconds(seconds)),
    }
}

const fn nanos(time: Duration) -> u64 {
    let nanos = time.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_cannot_be() {
        for bad in [f64::NAN, f64::INFINITY, -0.1, 1e300] {
            assert!(matches!(Takes::seconds(bad, bad), Err(Impossible::Seconds(_))), "{bad}");
            assert!(matches!(Shares::new(bad, 0.0), Err(Impossible::Share { .. })), "{bad}");
            assert!(matches!(Shares::new(0.0, bad), Err(Impossible::Share { .. })), "{bad}");
        }
        assert!(Takes::seconds(1.0, 0.999).is_err());
        assert!(Shares::new(0.5, 0.500_1).is_err());
        let nan = Shares::new(f64::NAN, 0.0).unwrap_err();
        assert_eq!(nan.to_string(), "the share of failed calls must be from 0 to 1, not NaN");
    }

    #[test]
    fn whole_shares_may_be_written_in_decimals() {
        for tenth in 0..=10 {
            let fail = f64::from(tenth) / 10.0;
            assert!(Shares::new(fail, 1.0 - fail).is_ok(), "{fail}");
        }
    }

    proptest! {
        #[test]
        fn what_is_drawn_is_in_the_range(from in any::<u64>(), to in any::<u64>(), unit in 0.0_f64..1.0) {
            let (from, to) = (from.min(to), from.max(to));
            let takes = Takes::between(Duration::from_nanos(from), Duration::from_nanos(to)).unwrap();
            let drawn = takes.draw(unit).as_nanos() as u64;
            prop_assert!((from..=to).contains(&drawn));
        }
    }
}
