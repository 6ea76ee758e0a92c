//! How much of what a service can do it does.

use std::fmt;

use crate::{OutOfRange, Ratio};

/// How degraded a service is: the greater, the worse.
///
/// ```
/// use buttress::degrade::Level;
///
/// assert!(Level::Full < Level::Degraded && Level::Degraded < Level::Minimal);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// All, or nearly all, of it works.
    #[default]
    Full,
    /// Some of it is missing.
    Degraded,
    /// Most of it is missing.
    Minimal,
}

impl Level {
    /// Every level, the best first.
    pub const ALL: [Self; 3] = [Self::Full, Self::Degraded, Self::Minimal];

    /// The name of the level in lower case, as it appears in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Degraded => "degraded",
            Self::Minimal => "minimal",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Below which share of successful members a call is degraded, and below which minimal.
///
/// ```
/// use buttress::{Ratio, Thresholds};
///
/// let (half, most) = (Ratio::percent(50), Ratio::percent(80));
/// assert_eq!(Thresholds::new(half, most), Ok(Thresholds::default()));
/// assert_eq!(
///     Thresholds::new(most, half).unwrap_err().to_string(),
///     "the share below which a call is minimal must be at most that below which it is degraded, not 0.8",
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    minimal: Ratio,
    degraded: Ratio,
}

impl Thresholds {
    /// A call is `Minimal` below the first share, else `Degraded` below the second, else `Full`.
    ///
    /// # Errors
    /// Refuses a first share above the second.
    pub fn new(minimal: Ratio, degraded: Ratio) -> Result<Self, OutOfRange> {
        if minimal.get() > degraded.get() {
            let what = "the share below which a call is minimal";
            let range = "at most that below which it is degraded";
            return Err(OutOfRange::new(what, range, minimal.get()));
        }
        Ok(Self { minimal, degraded })
    }

    /// The share below which a call is minimal.
    pub const fn minimal(self) -> Ratio {
        self.minimal
    }

    /// The share below which a call is degraded, unless it is minimal.
    pub const fn degraded(self) -> Ratio {
        self.degraded
    }
}

impl Default for Thresholds {
    /// Minimal below 50 %, degraded below 80 %.
    fn default() -> Self {
        Self { minimal: Ratio::percent(50), degraded: Ratio::percent(80) }
    }
}
