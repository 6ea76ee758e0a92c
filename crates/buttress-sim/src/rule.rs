//! When something else than the usual becomes of a call.

use std::{num::NonZero, time::Duration};

use buttress::{Factor, Ratio};

use crate::{Fate, Impossible, Takes, noise::Noise, takes};

/// When something happens, and what.
///
/// ```
/// use buttress::Ratio;
/// use buttress_sim::{Burst, FailKind, Fate, Rule, Takes, When};
///
/// // Every now and then a hundred calls in a row of which nine in ten fail.
/// let burst = Burst::new(Ratio::new(0.001)?, Ratio::percent(1));
/// let broken = Fate::Fail { kind: FailKind::Reset, after: Takes::NOTHING };
/// let rule = Rule::new(When::Burst(burst), broken).and(When::Share(Ratio::percent(90)));
/// assert_eq!(rule.conditions().len(), 2);
/// # Ok::<(), buttress::OutOfRange>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    when: Vec<When>,
    then: Then,
}

/// What a rule does to a call that it matches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Then {
    /// Decides the fate of the call; later rules are not asked.
    End(Fate<Takes>),
    /// Adds time to whatever else becomes of the call; later rules are asked.
    Delay(Takes),
    /// Makes whatever else becomes of the call take so many times as long, but for delays, which
    /// are added as they are; later rules are asked.
    Slowdown(Factor),
}

/// The condition of a rule.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum When {
    /// Every call.
    Always,
    /// Each call with this probability, independently of the others.
    Share(Ratio),
    /// The calls of bursts.
    Burst(Burst),
    /// The calls made in a window of time.
    During(Window),
    /// The calls with certain numbers.
    Calls(Calls),
}

impl Rule {
    /// Decides the fate of calls.
    pub fn new(when: When, fate: Fate<Takes>) -> Self {
        Self { when: vec![when], then: Then::End(fate) }
    }

    /// Slows calls down: adds time to whatever else becomes of them.
    pub fn delay(when: When, by: impl Into<Takes>) -> Self {
        Self { when: vec![when], then: Then::Delay(by.into()) }
    }

    /// Slows calls down: makes whatever else becomes of them take longer by a factor.
    pub fn slowdown(when: When, by: Factor) -> Self {
        Self { when: vec![when], then: Then::Slowdown(by) }
    }

    /// Narrows the rule to calls that meet a further condition too.
    #[must_use]
    pub fn and(mut self, when: When) -> Self {
        self.when.push(when);
        self
    }

    /// The conditions, all of which must be met.
    pub fn conditions(&self) -> &[When] {
        &self.when
    }

    /// What the rule does.
    pub const fn then(&self) -> Then {
        self.then
    }

    /// Whether the rule holds for a call. Condition `i` draws from lane `lane + i`.
    pub(crate) fn holds(
        &self,
        noise: Noise,
        lane: u64,
        call: u64,
        elapsed: Duration,
        memos: &mut Memos,
    ) -> bool {
        self.when.iter().zip(lane..).all(|(when, lane)| match when {
            When::Always => true,
            When::Share(share) => noise.unit(lane, call) < share.get(),
            When::Burst(burst) => burst.is_on(|n| noise.unit(lane, n), call, memos.of(lane)),
            When::During(window) => window.contains(elapsed),
            When::Calls(calls) => calls.contains(call),
        })
    }
}

/// Bursts of trouble: a chain of two states that moves with each call (Gilbert, *Capacity of a
/// Burst-Noise Channel*, 1960).
///
/// Off before the first call. A burst is `1 / leave` calls long on average, the calm between two
/// `1 / enter`; a share of `enter / (enter + leave)` of all calls is in bursts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    enter: f64,
    stay: f64,
}

/// What a call does to the chain.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    On,
    Off,
    Keep,
    Flip,
}

impl Burst {
    /// Bursts that start and end with these probabilities per call.
    pub const fn new(enter: Ratio, leave: Ratio) -> Self {
        Self { enter: enter.get(), stay: 1.0 - leave.get() }
    }

    /// One random number moves both states, in a way that most often sends both to the same:
    /// whatever was before is then of no account, which is what makes a state at any position
    /// computable without the whole past (coupling, as in Propp and Wilson, 1996).
    fn step(self, unit: f64) -> Step {
        if unit < self.enter.min(self.stay) {
            Step::On
        } else if unit >= self.enter.max(self.stay) {
            Step::Off
        } else if self.enter <= self.stay {
            Step::Keep
        } else {
            Step::Flip
        }
    }

    /// Whether a call, counted from 1, is in a burst. Walks back to the last call that settled
    /// the state, or to the one that is remembered: one step when calls come in order.
    fn is_on(self, unit: impl Fn(u64) -> f64, call: u64, memo: &mut Memo) -> bool {
        let mut flipped = false;
        let mut at = call;
        let settled = loop {
            if at == 0 {
                break false;
            }
            if at == memo.call {
                break memo.on;
            }
            match self.step(unit(at)) {
                Step::On => break true,
                Step::Off => break false,
                Step::Keep => {}
                Step::Flip => flipped = !flipped,
            }
            at -= 1;
        };
        let on = settled != flipped;
        *memo = Memo { call, on };
        on
    }
}

/// The state of a chain at one call; call 0 remembers nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memo {
    call: u64,
    on: bool,
}

/// What is remembered of each chain, by its lane. Only a shortcut: no answer depends on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memos(Vec<(u64, Memo)>);

impl Memos {
    fn of(&mut self, lane: u64) -> &mut Memo {
        let at = self.0.iter().position(|(of, _)| *of == lane).unwrap_or_else(|| {
            self.0.push((lane, Memo::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

/// A window of time, counted from the first call; its end is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    from: Duration,
    to: Duration,
}

impl Window {
    /// From one time to another. [`Duration::MAX`] as the end means for ever.
    ///
    /// # Errors
    /// Refuses an end that is not after the start.
    pub fn between(from: Duration, to: Duration) -> Result<Self, Impossible> {
        if from < to { Ok(Self { from, to }) } else { Err(Impossible::Window { from, to }) }
    }

    /// The same in seconds.
    ///
    /// # Errors
    /// Refuses an end that is not after the start, and what is negative, infinite or not a number.
    pub fn seconds(from: f64, to: f64) -> Result<Self, Impossible> {
        Self::between(takes::checked(from)?, takes::checked(to)?)
    }

    fn contains(self, elapsed: Duration) -> bool {
        (self.from..self.to).contains(&elapsed)
    }
}

/// Calls by number, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls(Numbers);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Numbers {
    Between(u64, u64),
    Every(NonZero<u64>),
    /// In ascending order.
    Listed(Vec<u64>),
}

impl Calls {
    /// The calls from one number to another, both included.
    ///
    /// # Errors
    /// Refuses call 0, and a last call before the first.
    pub const fn between(first: u64, last: u64) -> Result<Self, Impossible> {
        if first >= 1 && first <= last {
            Ok(Self(Numbers::Between(first, last)))
        } else {
            Err(Impossible::Calls { first, last })
        }
    }

    /// Every `step`th call.
    pub const fn every(step: NonZero<u64>) -> Self {
        Self(Numbers::Every(step))
    }

    /// The calls with these numbers.
    ///
    /// # Errors
    /// Refuses an empty list, and call 0.
    pub fn listed(calls: impl IntoIterator<Item = u64>) -> Result<Self, Impossible> {
        let mut calls: Vec<u64> = calls.into_iter().collect();
        calls.sort_unstable();
        match calls.first() {
            None | Some(0) => Err(Impossible::List),
            Some(_) => Ok(Self(Numbers::Listed(calls))),
        }
    }

    fn contains(&self, call: u64) -> bool {
        match &self.0 {
            Numbers::Between(first, last) => (*first..=*last).contains(&call),
            Numbers::Every(step) => call.is_multiple_of(step.get()),
            Numbers::Listed(calls) => calls.binary_search(&call).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn burst(enter: f64, leave: f64) -> Burst {
        Burst::new(Ratio::new(enter).unwrap(), Ratio::new(leave).unwrap())
    }

    proptest! {
        #[test]
        fn walking_back_agrees_with_walking_forth(
            seed in any::<u64>(), enter in 0.001_f64..=1.0, leave in 0.001_f64..=1.0,
            jumps in prop::collection::vec(0_u64..200, 1..50),
        ) {
            let (burst, noise) = (burst(enter, leave), Noise::new(seed));
            let unit = |n| noise.unit(5, n);
            let mut forth = vec![false];
            for call in 1..200 {
                let on = forth[call - 1];
                let moves = unit(call as u64) < if on { burst.stay } else { burst.enter };
                forth.push(moves);
            }
            let mut memo = Memo::default();
            for call in jumps {
                prop_assert_eq!(burst.is_on(unit, call, &mut memo), forth[call as usize], "{}", call);
            }
        }
    }

    #[test]
    fn bursts_have_their_length_and_share() {
        const CALLS: u64 = 1_000_000;
        for (enter, leave) in [(0.01, 0.1), (0.002, 0.02), (0.9, 0.7)] {
            let (burst, noise) = (burst(enter, leave), Noise::new(11));
            let mut memo = Memo::default();
            let states: Vec<bool> = (1..=CALLS)
                .map(|call| burst.is_on(|n| noise.unit(5, n), call, &mut memo))
                .collect();
            let on = states.iter().filter(|on| **on).count() as f64;
            let starts = states.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
            let share = enter / (enter + leave);
            // A chain with correlation r from call to call has the variance of a sample that is
            // (1 - r) / (1 + r) times as large; five standard deviations.
            let r: f64 = 1.0 - enter - leave;
            let bound = 5.0 * (share * (1.0 - share) / CALLS as f64 * (1.0 + r) / (1.0 - r)).sqrt();
            assert!((on / CALLS as f64 - share).abs() < bound, "{enter} {leave} {on}");
            // Lengths are geometric: mean 1 / leave, variance (1 - leave) / leave².
            let bound = 5.0 * (1.0 - leave).sqrt() / leave / starts.sqrt();
            assert!((on / starts - 1.0 / leave).abs() < bound, "{enter} {leave} {starts}");
        }
    }

    #[test]
    fn a_chain_that_always_moves_alternates() {
        let burst = burst(1.0, 1.0);
        let states: Vec<bool> =
            (1..=4).map(|call| burst.is_on(|_| 0.5, call, &mut Memo::default())).collect();
        assert_eq!(states, [true, false, true, false]);
    }

    #[test]
    fn windows_and_numbers_are_checked() {
        let (one, two) = (Duration::from_secs(1), Duration::from_secs(2));
        assert!(Window::between(one, one).is_err());
        assert!(Window::seconds(f64::NAN, 1.0).is_err());
        let window = Window::between(one, two).unwrap();
        assert!(window.contains(one) && !window.contains(two) && !window.contains(Duration::ZERO));
        assert!(Calls::between(0, 3).is_err() && Calls::between(3, 2).is_err());
        assert!(Calls::listed([]).is_err() && Calls::listed([3, 0]).is_err());
        let numbers = |calls: Calls| (1..10).filter(|n| calls.contains(*n)).collect::<Vec<u64>>();
        assert_eq!(numbers(Calls::between(2, 4).unwrap()), [2, 3, 4]);
        assert_eq!(numbers(Calls::every(NonZero::new(4).unwrap())), [4, 8]);
        assert_eq!(numbers(Calls::listed([7, 1]).unwrap()), [1, 7]);
    }
}
