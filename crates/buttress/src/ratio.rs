//! Numbers that cannot be wrong: checked where they are typed, so that layers are built infallibly.

use std::{error::Error, fmt};

/// A number was outside of its range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutOfRange {
    what: &'static str,
    range: &'static str,
    value: f64,
}

impl OutOfRange {
    pub(crate) const fn new(what: &'static str, range: &'static str, value: f64) -> Self {
        Self { what, range, value }
    }
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}, not {}", self.what, self.range, self.value)
    }
}

impl Error for OutOfRange {}

/// A share of a whole: above 0, at most 1.
///
/// ```
/// use buttress::Ratio;
///
/// const HALF: Ratio = Ratio::percent(50);
/// assert_eq!(HALF.get(), 0.5);
/// assert!(Ratio::new(f64::NAN).is_err());
/// assert_eq!(Ratio::new(1.5).unwrap_err().to_string(), "a ratio must be above 0 and at most 1, not 1.5");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Ratio(f64);

impl Ratio {
    /// All of it.
    pub const ONE: Self = Self(1.0);

    /// Takes a share that is known at run time only.
    ///
    /// # Errors
    /// Refuses what is not above 0 and at most 1.
    pub const fn new(ratio: f64) -> Result<Self, OutOfRange> {
        if ratio > 0.0 && ratio <= 1.0 {
            Ok(Self(ratio))
        } else {
            Err(OutOfRange::new("a ratio", "above 0 and at most 1", ratio))
        }
    }

    /// Takes a share in percent, from 1 to 100, as written in source.
    ///
    /// # Panics
    /// With 0 or with more than 100; in a `const` the compiler says so.
    /// For numbers that come from outside use [`Ratio::new`].
    #[track_caller]
    pub const fn percent(percent: u8) -> Self {
        assert!(percent > 0 && percent <= 100, "a percentage must be from 1 to 100");
        Self(percent as f64 / 100.0)
    }

    /// The share as a number above 0 and at most 1.
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// A quantile: above 0 and below 1.
///
/// ```
/// use buttress::Quantile;
///
/// assert_eq!(Quantile::P95.get(), 0.95);
/// assert!(Quantile::new(1.0).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Quantile(f64);

impl Quantile {
    /// The median.
    pub const P50: Self = Self(0.5);
    /// Nine of ten are below.
    pub const P90: Self = Self(0.9);
    /// Nineteen of twenty are below.
    pub const P95: Self = Self(0.95);
    /// All but one of a hundred are below.
    pub const P99: Self = Self(0.99);

    /// Takes a quantile.
    ///
    /// # Errors
    /// Refuses what is not above 0 and below 1.
    pub const fn new(quantile: f64) -> Result<Self, OutOfRange> {
        if quantile > 0.0 && quantile < 1.0 {
            Ok(Self(quantile))
        } else {
            Err(OutOfRange::new("a quantile", "above 0 and below 1", quantile))
        }
    }

    /// The quantile as a number above 0 and below 1.
    pub const fn get(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_out_of_range() {
        for bad in [0.0, -0.1, 1.000_1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Ratio::new(bad).is_err(), "{bad}");
        }
        for bad in [0.0, 1.0, -0.1, f64::NAN, f64::INFINITY] {
            assert!(Quantile::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Ratio::new(1.0), Ok(Ratio::ONE));
    }

    #[test]
    #[should_panic(expected = "from 1 to 100")]
    fn refuses_more_than_a_hundred_percent() {
        Ratio::percent(101);
    }
}
