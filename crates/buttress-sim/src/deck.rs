//! Deals the fates: numbers the calls, and remembers what outlasts one.

use std::time::Duration;

use crate::{Fate, Faults, Takes, noise::Noise, rule::Memos};

/// What is decided about a call when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dealt {
    /// Counted from 1.
    pub(crate) number: u64,
    pub(crate) instance: u64,
    pub(crate) fate: Fate,
}

/// The one place that calls get their numbers from.
///
/// Number, time and fate of a call belong together, and a crash must reach exactly the calls with
/// higher numbers: hence one value behind one short lock rather than an atomic counter.
#[derive(Debug)]
pub(crate) struct Deck {
    faults: Faults,
    noise: Noise,
    watches_the_clock: bool,
    last: u64,
    down: Option<Down>,
    memos: Memos,
}

/// The tool has crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Down {
    UntilRestart,
    Until(Duration),
}

impl Deck {
    pub(crate) fn new(faults: Faults, seed: u64) -> Self {
        let watches_the_clock = faults.watches_the_clock();
        let (noise, memos) = (Noise::new(seed), Memos::default());
        Self { faults, noise, watches_the_clock, last: 0, down: None, memos }
    }

    /// Whether [`deal`](Self::deal) looks at the time it is given.
    pub(crate) const fn watches_the_clock(&self) -> bool {
        self.watches_the_clock
    }

    /// Deals to the next call, made at a time since the first.
    pub(crate) fn deal(&mut self, elapsed: Duration) -> Dealt {
        self.deal_or(elapsed, None)
    }

    /// Deals to a call that is refused for want of room, unless the tool is down.
    pub(crate) fn refuse(&mut self, elapsed: Duration, refusal: Fate<Takes>) -> Dealt {
        self.deal_or(elapsed, Some(refusal))
    }

    fn deal_or(&mut self, elapsed: Duration, refusal: Option<Fate<Takes>>) -> Dealt {
        self.last += 1;
        let number = self.last;
        if let Some(Down::Until(end)) = self.down
            && end <= elapsed
        {
            self.down = None;
        }
        let fate = match (self.down, refusal) {
            (Some(Down::UntilRestart), _) => Fate::Crash { restart_after: None },
            (Some(Down::Until(end)), _) => {
                Fate::Crash { restart_after: Some(end.saturating_sub(elapsed)) }
            }
            (None, Some(refusal)) => Faults::refusal(self.noise, number, refusal),
            (None, None) => self.faults.decide(self.noise, number, elapsed, &mut self.memos),
        };
        if let (None, Fate::Crash { restart_after }) = (self.down, fate) {
            self.down = Some(match restart_after {
                Some(wait) => Down::Until(elapsed.saturating_add(wait)),
                None => Down::UntilRestart,
            });
        }
        Dealt { number, instance: Faults::instance(self.noise, number), fate }
    }

    /// Ends a crash.
    pub(crate) const fn restart(&mut self) {
        self.down = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Calls, Rule, When};

    fn crash_at(call: u64, restart_after: Option<Duration>) -> Deck {
        let when = When::Calls(Calls::between(call, call).unwrap());
        Deck::new(Faults::none().rule(Rule::new(when, Fate::Crash { restart_after })), 7)
    }

    fn crashed(deck: &mut Deck, second: u64) -> bool {
        matches!(deck.deal(Duration::from_secs(second)).fate, Fate::Crash { .. })
    }

    #[test]
    fn a_crash_lasts_until_the_restart() {
        let mut deck = crash_at(2, None);
        assert!(!deck.watches_the_clock());
        let before = [crashed(&mut deck, 0), crashed(&mut deck, 0), crashed(&mut deck, 9_999)];
        deck.restart();
        assert_eq!((before, crashed(&mut deck, 9_999)), ([false, true, true], false));
    }

    #[test]
    fn a_crash_may_end_by_itself() {
        let mut deck = crash_at(1, Some(Duration::from_secs(5)));
        assert!(deck.watches_the_clock());
        assert!(crashed(&mut deck, 10));
        let left = Some(Duration::from_secs(1));
        assert_eq!(deck.deal(Duration::from_secs(14)).fate, Fate::Crash { restart_after: left });
        assert!(!crashed(&mut deck, 15));
    }

    #[test]
    fn instances_are_told_apart() {
        let mut deck = Deck::new(Faults::none(), 7);
        let mut instances: Vec<u64> =
            (0..10_000).map(|_| deck.deal(Duration::ZERO).instance).collect();
        assert!(instances.iter().all(|id| *id < 1 << 53));
        instances.sort_unstable();
        instances.dedup();
        assert_eq!(instances.len(), 10_000);
    }
}
