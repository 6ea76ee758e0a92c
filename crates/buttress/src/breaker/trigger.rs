//! What opens a closed circuit.

use std::{fmt, num::NonZeroU32, time::Duration};

use super::{
    cusum::Cusum,
    window::{Tally, Window},
};
use crate::{Ratio, Why};

/// What opens a closed circuit.
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
/// use buttress::{BreakerLayer, Ratio, breaker::{Trigger, Window}};
///
/// let minute = Window::time(Duration::from_secs(60));
/// let layer = BreakerLayer::new(Trigger::failure_rate(Ratio::percent(50), minute));
/// # let _ = layer;
/// ```
///
/// # Defaults
/// [`Cusum::STEADY`]. At equal rates of false trips it finds a half-broken dependency in a third
/// of the calls that a streak needs, and it works at any rate of calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trigger(Rule);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Consecutive(NonZeroU32),
    FailureRate(Ratio, Window),
    SlowRate(Duration, Ratio, Window),
    Cusum(Cusum),
}

impl Trigger {
    /// Opens at so many failures in a row. Throttled calls neither add to a row nor end it.
    pub const fn consecutive(failures: NonZeroU32) -> Self {
        Self(Rule::Consecutive(failures))
    }

    /// Opens at a failure that brings the share of failures in the window to `share` or above.
    pub const fn failure_rate(share: Ratio, window: Window) -> Self {
        Self(Rule::FailureRate(share, window))
    }

    /// Opens at a slow call that brings the share of calls that took `slow` or longer to `share`
    /// or above, whatever they came to.
    ///
    /// A probe that is slow has failed.
    pub const fn slow_rate(slow: Duration, share: Ratio, window: Window) -> Self {
        Self(Rule::SlowRate(slow, share, window))
    }

    /// Opens when the outcomes look more like a broken than like a healthy dependency.
    pub const fn cusum(cusum: Cusum) -> Self {
        Self(Rule::Cusum(cusum))
    }

    /// The default for what fails often: [`Cusum::FLAKY`].
    pub const fn flaky() -> Self {
        Self::cusum(Cusum::FLAKY)
    }

    /// What has been seen so far: nothing.
    pub(super) fn evidence(&self) -> Evidence {
        let rate = |why, slow, share: Ratio, window: Window| {
            Evidence::Rate(Rate {
                why,
                slow,
                share: share.get(),
                fewest: window.fewest(),
                tally: window.tally(),
            })
        };
        match self.0 {
            Rule::Consecutive(limit) => Evidence::Streak { limit: limit.get(), length: 0 },
            Rule::FailureRate(share, window) => rate(Why::FailureRate, None, share, window),
            Rule::SlowRate(slow, share, window) => {
                let slow = u64::try_from(slow.as_nanos()).unwrap_or(u64::MAX);
                rate(Why::SlowRate, Some(slow), share, window)
            }
            Rule::Cusum(cusum) => Evidence::Score { cusum, score: 0 },
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |ratio: Ratio| 100.0 * ratio.get();
        match &self.0 {
            Rule::Consecutive(limit) => write!(f, "at {limit} failures in a row"),
            Rule::FailureRate(share, window) => {
                write!(f, "at {} % failures in {window}", percent(*share))
            }
            Rule::SlowRate(slow, share, window) => {
                write!(f, "at {} % slower than {slow:?} in {window}", percent(*share))
            }
            Rule::Cusum(cusum) => {
                let (healthy, broken) = cusum.rates();
                write!(
                    f,
                    "when {} % failures fit better than {} %",
                    percent(broken),
                    percent(healthy)
                )
            }
        }
    }
}

impl Default for Trigger {
    fn default() -> Self {
        Self::cusum(Cusum::STEADY)
    }
}

/// What an outcome says of the health of the dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    Bad,
    /// It is well, but asks for fewer calls.
    Throttled,
}

/// What has been seen of a dependency while the circuit was closed.
#[derive(Debug)]
pub(super) enum Evidence {
    Streak { limit: u32, length: u32 },
    Rate(Rate),
    Score { cusum: Cusum, score: u32 },
}

#[derive(Debug)]
pub(super) struct Rate {
    why: Why,
    /// From how many nanoseconds on a call is bad; if none, failures are.
    slow: Option<u64>,
    share: f64,
    fewest: u64,
    tally: Tally,
}

impl Evidence {
    /// Takes note of an outcome at `now`; tells why if it opens the circuit.
    ///
    /// Only bad outcomes open: a success never does.
    pub(super) fn record(&mut self, now: u64, health: Health) -> Option<Why> {
        let bad = health != Health::Good;
        match self {
            Self::Streak { limit, length } => {
                *length = match health {
                    Health::Good => 0,
                    Health::Bad => length.saturating_add(1),
                    Health::Throttled => *length,
                };
                (*length >= *limit).then_some(Why::Streak)
            }
            Self::Rate(Rate { why, share, fewest, tally, .. }) => {
                tally.push(now, bad);
                let enough = bad && tally.calls() >= *fewest;
                (enough && tally.bad() as f64 / tally.calls() as f64 >= *share).then_some(*why)
            }
            Self::Score { cusum, score } => {
                *score = cusum.next(*score, bad);
                cusum.is_broken(*score).then_some(Why::Evidence)
            }
        }
    }

    /// Takes note of successes that came in while it was [quiet](Self::is_quiet).
    pub(super) fn credit(&mut self, successes: u64) {
        match self {
            Self::Rate(rate) => rate.tally.credit(successes),
            // They came in while there was nothing for them to undo.
            Self::Streak { .. } | Self::Score { .. } => {}
        }
    }

    /// Whether successes can be credited later just as well: there is nothing for them to undo.
    pub(super) fn is_quiet(&self) -> bool {
        match self {
            Self::Streak { length, .. } => *length == 0,
            Self::Rate(rate) => rate.tally.bad() == 0,
            Self::Score { score, .. } => *score == 0,
        }
    }

    /// Until when successes may be credited later; `None` if for ever.
    pub(super) const fn rolls_at(&self) -> Option<u64> {
        match self {
            Self::Rate(rate) => rate.tally.rolls_at(),
            Self::Streak { .. } | Self::Score { .. } => None,
        }
    }

    /// From how many nanoseconds on a call is bad whatever it came to, if there is such a bound.
    pub(super) const fn slow(&self) -> Option<u64> {
        match self {
            Self::Rate(rate) => rate.slow,
            Self::Streak { .. } | Self::Score { .. } => None,
        }
    }

    /// All and the bad outcomes that a rate is told of.
    #[cfg(test)]
    pub(super) fn tally(&self) -> (u64, u64) {
        match self {
            Self::Rate(Rate { tally, .. }) => (tally.calls(), tally.bad()),
            Self::Streak { .. } | Self::Score { .. } => (0, 0),
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        match self {
            Self::Streak { length, .. } => *length = 0,
            Self::Rate(rate) => rate.tally.clear(),
            Self::Score { score, .. } => *score = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    /// The call, counted from 1, at which the outcomes open the circuit.
    fn opens_at(trigger: Trigger, outcomes: impl IntoIterator<Item = Health>) -> Option<usize> {
        let mut evidence = trigger.evidence();
        outcomes.into_iter().position(|health| evidence.record(0, health).is_some()).map(|n| n + 1)
    }

    use Health::{Bad, Good, Throttled};

    #[test]
    fn a_streak_is_ended_by_a_success_and_not_by_throttling() {
        let five = Trigger::consecutive(number(5));
        assert_eq!(opens_at(five, [Bad, Bad, Bad, Bad, Good, Bad, Bad, Bad, Bad]), None);
        assert_eq!(opens_at(five, [Bad, Bad, Throttled, Bad, Throttled, Bad, Bad]), Some(7));
        assert_eq!(opens_at(five, [Throttled; 50]), None);
    }

    #[test]
    fn a_rate_waits_for_enough_calls() {
        let half = Trigger::failure_rate(Ratio::percent(50), Window::calls(number(10)));
        assert_eq!(opens_at(half, [Bad; 9]), Some(5));
        assert_eq!(opens_at(half, [Bad, Bad, Bad, Bad, Good, Good, Bad]), Some(7));
        assert_eq!(opens_at(half, [Good, Good, Good, Throttled, Throttled, Throttled]), Some(6));
        // Seven of a hundred are seven percent, also in floats.
        let seven = Trigger::failure_rate(Ratio::percent(7), Window::calls(number(100)));
        assert_eq!(opens_at(seven, [[Good; 93].as_slice(), &[Bad; 7]].concat()), Some(100));
    }

    #[test]
    fn an_outage_is_found_by_the_presets() {
        assert_eq!(opens_at(Trigger::default(), [Bad; 9]), Some(6));
        assert_eq!(opens_at(Trigger::flaky(), [Throttled; 9]), Some(8));
    }

    #[test]
    fn successes_quieten() {
        let ten = Window::calls(number(10));
        let second = Duration::from_secs(1);
        for trigger in [
            Trigger::consecutive(number(5)),
            Trigger::failure_rate(Ratio::percent(50), ten),
            Trigger::failure_rate(Ratio::percent(50), Window::time(second)),
            Trigger::slow_rate(second, Ratio::percent(50), ten),
            Trigger::default(),
        ] {
            let mut evidence = trigger.evidence();
            assert!(evidence.is_quiet());
            assert_eq!(evidence.record(0, Bad), None);
            assert!(!evidence.is_quiet());
            for _ in 0..10 {
                assert_eq!(evidence.record(1_000_000_000, Good), None);
            }
            assert!(evidence.is_quiet(), "{trigger:?}");
            assert_eq!(evidence.record(1_000_000_000, Bad), None);
            evidence.clear();
            assert!(evidence.is_quiet(), "{trigger:?}");
        }
    }

    #[test]
    fn quiet_successes_still_weigh_in_a_rate() {
        let half = Trigger::failure_rate(Ratio::percent(50), Window::calls(number(20)));
        let mut evidence = half.evidence();
        evidence.credit(1_000);
        for n in 1..10 {
            assert_eq!(evidence.record(0, Bad), None, "{n} of 20");
        }
        assert_eq!(evidence.record(0, Bad), Some(Why::FailureRate));
    }
}
