//! The plan of what goes wrong.

use std::time::Duration;

use crate::{
    FailKind, Fate, Rule, Shares, Takes,
    noise::Noise,
    rule::{Memos, Then},
};

/// What becomes of calls: a usual mix, and rules that override it.
///
/// The usual call fails, is slow or is fast, each with a share and uniform times. Rules are asked
/// in order; the first that matches and [decides](Then::End) does so. What becomes of a call is a
/// function of the seed, its number and, where a rule has a window, the time it was made at:
///
/// ```
/// use std::time::Duration;
/// use buttress_sim::{Calls, Fate, Faults, Rule, When};
///
/// let faults = Faults::unreliable().rule(Rule::new(When::Calls(Calls::between(3, 5)?), Fate::Hang));
/// assert_eq!(faults.fate(7, 3, Duration::ZERO), Fate::Hang);
/// assert_eq!(faults.fate(7, 9, Duration::ZERO), Faults::unreliable().fate(7, 9, Duration::ZERO));
/// # Ok::<(), buttress_sim::Impossible>(())
/// ```
///
/// A rule takes no randomness from the others: to add one changes nothing but the calls that it
/// matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    shares: Shares,
    fail_kind: FailKind,
    fail_after: Takes,
    slow_takes: Takes,
    fast_takes: Takes,
    rules: Vec<Rule>,
}

/// The lanes of randomness. Those of rule `i` start at `(i + 1) << 32`.
mod lane {
    pub(super) const WHICH: u64 = 0;
    pub(super) const TIME: u64 = 1;
    pub(super) const INSTANCE: u64 = 2;
    pub(super) const REFUSAL: u64 = 3;
    pub(super) const fn rule(index: u64) -> u64 {
        (index + 1) << 32
    }
    /// The conditions of a rule count up from its lane; this is far above them.
    pub(super) const THEN: u64 = 1 << 31;
}

impl Faults {
    /// A mix in which nothing takes any time.
    ///
    /// # Defaults
    /// Failures are [`FailKind::Connect`].
    pub const fn new(shares: Shares) -> Self {
        Self {
            shares,
            fail_kind: FailKind::Connect,
            fail_after: Takes::NOTHING,
            slow_takes: Takes::NOTHING,
            fast_takes: Takes::NOTHING,
            rules: Vec::new(),
        }
    }

    /// Nothing goes wrong, and every call is answered at once.
    pub const fn none() -> Self {
        Self::new(Shares::ALL_FAST)
    }

    /// The unreliable tool: 20 % fail at once, 10 % take 5 to 7 s, 70 % take 0.5 to 1 s.
    pub fn unreliable() -> Self {
        Self::new(Shares::known(0.2, 0.1))
            .slow_takes(Takes::millis(5_000, 7_000))
            .fast_takes(Takes::millis(500, 1_000))
    }

    /// The weak but reliable tool that others fall back to: 1 % fail, the rest take 0.2 to 0.4 s.
    pub fn weak() -> Self {
        Self::new(Shares::known(0.01, 0.0)).fast_takes(Takes::millis(200, 400))
    }

    /// Sets how the failing share fails.
    #[must_use]
    pub const fn fail_kind(mut self, kind: FailKind) -> Self {
        self.fail_kind = kind;
        self
    }

    /// Sets after which time the failing share fails.
    #[must_use]
    pub fn fail_after(mut self, after: impl Into<Takes>) -> Self {
        self.fail_after = after.into();
        self
    }

    /// Sets how long slow calls take.
    #[must_use]
    pub fn slow_takes(mut self, takes: impl Into<Takes>) -> Self {
        self.slow_takes = takes.into();
        self
    }

    /// Sets how long fast calls take.
    #[must_use]
    pub fn fast_takes(mut self, takes: impl Into<Takes>) -> Self {
        self.fast_takes = takes.into();
        self
    }

    /// Adds a rule, to be asked after those that are there.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// What becomes of a call, counted from 1, made at a time since the first.
    ///
    /// A pure function: no call knows of another. That a crash outlasts its call is up to who
    /// makes the calls; [`Tool`](crate::Tool) sees to it.
    ///
    /// Takes constant time, but `1 / (enter + leave)` steps for each [`Burst`](crate::Burst).
    pub fn fate(&self, seed: u64, call: u64, elapsed: Duration) -> Fate {
        self.decide(Noise::new(seed), call, elapsed, &mut Memos::default())
    }

    /// Decides, with what is remembered of the calls before.
    pub(crate) fn decide(
        &self,
        noise: Noise,
        call: u64,
        elapsed: Duration,
        memos: &mut Memos,
    ) -> Fate {
        let (mut late, mut slow) = (Duration::ZERO, 1.0);
        for (rule, index) in self.rules.iter().zip(0..) {
            let lane = lane::rule(index);
            if !rule.holds(noise, lane, call, elapsed, memos) {
                continue;
            }
            let unit = noise.unit(lane + lane::THEN, call);
            match rule.then() {
                Then::End(fate) => return fate.draw(unit).map(|time| held_up(time, slow, late)),
                Then::Delay(by) => late = late.saturating_add(by.draw(unit)),
                Then::Slowdown(by) => slow *= by.get(),
            }
        }
        self.usual(noise, call).map(|time| held_up(time, slow, late))
    }

    /// What becomes of a call that is refused.
    pub(crate) fn refusal(noise: Noise, call: u64, fate: Fate<Takes>) -> Fate {
        fate.draw(noise.unit(lane::REFUSAL, call))
    }

    /// The id of the instance that serves a call: below 2^53, so that JSON keeps it exactly.
    pub(crate) const fn instance(noise: Noise, call: u64) -> u64 {
        noise.word(lane::INSTANCE, call) >> 11
    }

    fn usual(&self, noise: Noise, call: u64) -> Fate {
        let which = noise.unit(lane::WHICH, call);
        let fate = if which < self.shares.fail() {
            Fate::Fail { kind: self.fail_kind, after: self.fail_after }
        } else if which < self.shares.fail() + self.shares.slow() {
            Fate::Pass { takes: self.slow_takes }
        } else {
            Fate::Pass { takes: self.fast_takes }
        };
        fate.draw(noise.unit(lane::TIME, call))
    }

    /// Whether the time of a call matters to anything.
    pub(crate) fn watches_the_clock(&self) -> bool {
        self.rules.iter().any(|rule| {
            rule.conditions().iter().any(|when| matches!(when, crate::When::During(_)))
                || matches!(rule.then(), Then::End(Fate::Crash { restart_after: Some(_) }))
        })
    }
}

/// A time made longer by a factor, and then by a delay; at most 584 years.
fn held_up(time: Duration, by: f64, late: Duration) -> Duration {
    let time =
        if by > 1.0 { Duration::from_nanos((time.as_nanos() as f64 * by) as u64) } else { time };
    time.saturating_add(late)
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use buttress::{Factor, Ratio};

    use super::*;
    use crate::{Burst, Calls, When, Window};

    const SAMPLES: u64 = 1_000_000;

    /// Asserts that a mean of samples with this standard deviation is what it should be, within
    /// five standard deviations of the mean.
    #[track_caller]
    fn assert_mean(what: &str, sum: f64, count: f64, mean: f64, deviation: f64) {
        let (found, bound) = (sum / count, 5.0 * deviation / count.sqrt());
        assert!((found - mean).abs() < bound, "{what}: {found}, not {mean} ± {bound}");
    }

    #[test]
    fn the_unreliable_tool_is_that_of_the_documents() {
        let faults = Faults::unreliable();
        let (mut failed, mut slow, mut fast) = (0.0, 0.0, 0.0);
        let (mut slow_seconds, mut fast_seconds) = (0.0, 0.0);
        for call in 1..=SAMPLES {
            match faults.fate(7, call, Duration::ZERO) {
                Fate::Fail { kind: FailKind::Connect, after: Duration::ZERO } => failed += 1.0,
                Fate::Pass { takes } if (5.0..7.0).contains(&takes.as_secs_f64()) => {
                    slow += 1.0;
                    slow_seconds += takes.as_secs_f64();
                }
                Fate::Pass { takes } if (0.5..1.0).contains(&takes.as_secs_f64()) => {
                    fast += 1.0;
                    fast_seconds += takes.as_secs_f64();
                }
                other => panic!("{other:?}"),
            }
        }
        let total = SAMPLES as f64;
        let share = |p: f64| (p * (1.0 - p)).sqrt();
        assert_mean("failed", failed, total, 0.2, share(0.2));
        assert_mean("slow", slow, total, 0.1, share(0.1));
        assert_mean("fast", fast, total, 0.7, share(0.7));
        // A uniform number has a standard deviation of its width / sqrt(12).
        assert_mean("slow seconds", slow_seconds, slow, 6.0, 2.0 / 12_f64.sqrt());
        assert_mean("fast seconds", fast_seconds, fast, 0.75, 0.5 / 12_f64.sqrt());
        // Of successes: mean (.1 · 6 + .7 · .75) / .8 = 1.40625,
        // mean square (.1 · (36 + 4/12) + .7 · (.5625 + .25/12)) / .8.
        let square: f64 =
            (0.1 * (36.0 + 4.0 / 12.0) + 0.7 * (0.5625 + 0.25 / 12.0)) / 0.8 - 1.40625 * 1.40625;
        let answered = slow + fast;
        assert_mean("seconds", slow_seconds + fast_seconds, answered, 1.40625, square.sqrt());
    }

    #[test]
    fn the_weak_tool_is_quick_and_fails_rarely() {
        let faults = Faults::weak();
        let (mut failed, mut seconds) = (0.0, 0.0);
        for call in 1..=SAMPLES {
            match faults.fate(7, call, Duration::ZERO) {
                Fate::Pass { takes } => {
                    assert!((0.2..0.4).contains(&takes.as_secs_f64()));
                    seconds += takes.as_secs_f64();
                }
                Fate::Fail { .. } => failed += 1.0,
                other => panic!("{other:?}"),
            }
        }
        assert_mean("failed", failed, SAMPLES as f64, 0.01, (0.01_f64 * 0.99).sqrt());
        assert_mean("seconds", seconds, SAMPLES as f64 - failed, 0.3, 0.2 / 12_f64.sqrt());
    }

    #[test]
    fn consecutive_calls_fail_independently() {
        let faults = Faults::unreliable();
        let failed = |call| !faults.fate(3, call, Duration::ZERO).is_answer();
        let pairs = (1..SAMPLES).filter(|call| failed(*call) && failed(call + 1)).count();
        assert_mean("pairs", pairs as f64, SAMPLES as f64, 0.04, 0.04_f64.sqrt());
    }

    #[test]
    fn the_first_rule_that_decides_wins() {
        let two = Duration::from_secs(2);
        let fives = When::Calls(Calls::every(NonZero::new(5).unwrap()));
        let tens = When::Calls(Calls::every(NonZero::new(10).unwrap()));
        let faults = Faults::none()
            .rule(Rule::delay(tens.clone(), two))
            .rule(Rule::new(tens, Fate::Corrupt { takes: Takes::exactly(two) }))
            .rule(Rule::new(fives, Fate::Hang));
        let fate = |call| faults.fate(7, call, Duration::ZERO);
        assert_eq!(fate(1), Fate::Pass { takes: Duration::ZERO });
        assert_eq!(fate(5), Fate::Hang);
        assert_eq!(fate(10), Fate::Corrupt { takes: 2 * two });
    }

    #[test]
    fn a_slowdown_makes_times_longer_but_not_delays() {
        let second = Duration::from_secs(1);
        let slow = |by| Rule::slowdown(When::Always, Factor::new(by).unwrap());
        let faults = Faults::none().fast_takes(second).rule(slow(4.0));
        let fate = |faults: &Faults| faults.fate(7, 1, Duration::ZERO).delay();
        assert_eq!(fate(&faults), Some(4 * second));
        let faults = faults.rule(Rule::delay(When::Always, second)).rule(slow(1.5));
        assert_eq!(fate(&faults), Some(7 * second));
        let never = faults.rule(slow(f64::MAX)).rule(slow(f64::MAX));
        assert!(fate(&never).unwrap() > 1_000_000_000 * second);
    }

    #[test]
    fn every_condition_of_a_rule_must_hold() {
        let window = Window::seconds(10.0, 20.0).unwrap();
        let half = Ratio::percent(50);
        let faults =
            Faults::none().rule(Rule::new(When::During(window), Fate::Hang).and(When::Share(half)));
        let hung = |second| {
            let at = Duration::from_secs(second);
            (1..=10_000).filter(|call| faults.fate(7, *call, at) == Fate::Hang).count()
        };
        assert_eq!(hung(9), 0);
        assert_mean("share", hung(10) as f64, 10_000.0, 0.5, 0.5);
        assert_eq!(hung(20), 0);
    }

    #[test]
    fn a_rule_changes_only_the_calls_it_matches() {
        let burst = Burst::new(Ratio::percent(5), Ratio::percent(20));
        let plain = Faults::unreliable();
        let bursty = Faults::unreliable().rule(Rule::new(When::Burst(burst), Fate::Hang));
        let mut hung = 0;
        for call in 1..=10_000 {
            match bursty.fate(7, call, Duration::ZERO) {
                Fate::Hang => hung += 1,
                fate => assert_eq!(fate, plain.fate(7, call, Duration::ZERO)),
            }
        }
        assert!((1_500..2_500).contains(&hung), "a fifth is expected: {hung}");
    }

    #[test]
    fn the_same_seed_gives_these_faults() {
        // Reports quote seeds: if this fails, every quoted number is void.
        let fates: Vec<Fate> =
            (1..=4).map(|call| Faults::unreliable().fate(7, call, Duration::ZERO)).collect();
        let takes = |nanos| Fate::Pass { takes: Duration::from_nanos(nanos) };
        let expected = [867_892_505, 964_355_344, 774_113_950, 771_032_286].map(takes);
        assert_eq!(fates, expected);
        let failed: Vec<u64> = (1..=40)
            .filter(|call| !Faults::unreliable().fate(7, *call, Duration::ZERO).is_answer())
            .collect();
        assert_eq!(failed, [10, 11, 17, 18, 20, 29, 34]);
    }
}
