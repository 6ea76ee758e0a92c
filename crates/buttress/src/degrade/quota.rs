//! What so many successes, or failures, of so many members amount to.

use super::level::{Level, Thresholds};
use crate::Ratio;

/// The shares of the settings, as counts of the members there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    /// How many of the required members may fail.
    bearable: u32,
    /// The fewest successes that are more than minimal.
    degraded: u32,
    /// The fewest successes that are more than degraded.
    full: u32,
}

/// Products of shares and counts are off by a few units in the sixteenth digit: 29 % of 100 is
/// 28.999999999999996.
const SLACK: f64 = 1e-12;

impl Quota {
    /// `tolerance` is the share of the required members that may fail: `None` if none may.
    pub(super) fn new(
        members: u32,
        required: u32,
        tolerance: Option<Ratio>,
        thresholds: Thresholds,
    ) -> Self {
        let at_most = |share: Ratio, of: u32| {
            (share.get() * f64::from(of) + f64::from(of) * SLACK).floor() as u32
        };
        let at_least = |share: Ratio, of: u32| {
            (share.get() * f64::from(of) - f64::from(of) * SLACK).ceil() as u32
        };
        Self {
            bearable: tolerance.map_or(0, |share| at_most(share, required)),
            degraded: at_least(thresholds.minimal(), members),
            full: at_least(thresholds.degraded(), members),
        }
    }

    /// Whether so many failures of required members are too many.
    pub(super) const fn is_too_few(self, failed: u32) -> bool {
        failed > self.bearable
    }

    /// The level of a call in which so many members succeeded.
    pub(super) const fn level(self, succeeded: u32) -> Level {
        if succeeded < self.degraded {
            Level::Minimal
        } else if succeeded < self.full {
            Level::Degraded
        } else {
            Level::Full
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn documents(members: u32, required: u32) -> Quota {
        Quota::new(members, required, Some(Ratio::percent(30)), Thresholds::default())
    }

    #[test]
    fn the_thresholds_of_the_documents_hold_exactly_at_the_boundary() {
        // 3 of 10 are not more than 30 %.
        assert!(!documents(10, 10).is_too_few(3));
        assert!(documents(10, 10).is_too_few(4));
        // 1 of 3 is.
        assert!(documents(3, 3).is_too_few(1));
        // A rate of 0.5 is not below 0.5, nor is 0.8 below 0.8.
        let levels = (0..=10).map(|succeeded| documents(10, 0).level(succeeded));
        let (minimal, degraded, full) = (Level::Minimal, Level::Degraded, Level::Full);
        let expected: Vec<Level> = [[minimal; 5].as_slice(), &[degraded; 3], &[full; 3]].concat();
        assert_eq!(levels.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn without_members_nothing_is_missing() {
        let quota = documents(0, 0);
        assert_eq!((quota.level(0), quota.is_too_few(0)), (Level::Full, false));
    }

    #[test]
    fn where_all_are_required_a_single_failure_is_too_many() {
        let quota = Quota::new(9, 9, None, Thresholds::default());
        assert!(!quota.is_too_few(0) && quota.is_too_few(1));
    }

    proptest! {
        /// Shares in percent can be compared in whole numbers.
        #[test]
        fn counts_as_whole_numbers_do(
            members in 0..100_000_u32,
            optional in 0..100_000_u32,
            (tolerance, a, b) in (1..=100_u8, 1..=100_u8, 1..=100_u8),
            near in -2..=2_i64,
        ) {
            let required = members.saturating_sub(optional);
            let (minimal, degraded) = (a.min(b), a.max(b));
            let thresholds =
                Thresholds::new(Ratio::percent(minimal), Ratio::percent(degraded)).unwrap();
            let quota = Quota::new(members, required, Some(Ratio::percent(tolerance)), thresholds);
            for share in [minimal, degraded, tolerance] {
                let border = i64::from(members) * i64::from(share) / 100 + near;
                let count = border.clamp(0, members.into()) as u32;
                let below = |share: u8| {
                    u64::from(count) * 100 < u64::from(members) * u64::from(share)
                };
                let expected = if below(minimal) {
                    Level::Minimal
                } else if below(degraded) {
                    Level::Degraded
                } else {
                    Level::Full
                };
                prop_assert_eq!(quota.level(count), expected);
                let border = i64::from(required) * i64::from(tolerance) / 100 + near;
                let failed = border.clamp(0, required.into()) as u32;
                let more =
                    u64::from(failed) * 100 > u64::from(required) * u64::from(tolerance);
                prop_assert_eq!(quota.is_too_few(failed), more);
            }
        }
    }
}
