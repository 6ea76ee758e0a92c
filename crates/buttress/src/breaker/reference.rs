//! A circuit that keeps all it was ever told, to compare with the one that does not.

use std::time::Duration;

use super::{
    Cusum, Probes, Trigger, Window,
    circuit::{Cause, Fate, Notes, Outcome, State, Terms},
};
use crate::{Backoff, Jitter, Ratio, Why};

pub(super) const SECOND: u64 = 1_000_000_000;

/// The trigger by name, so that the reference need not ask the trigger.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    Streak(u32),
    Calls { share: u8, calls: u32, least: u32 },
    Time { share: u8, seconds: u64, least: u32 },
    Slow { share: u8, seconds: u64, calls: u32 },
    Score,
}

pub(super) fn number(n: u32) -> std::num::NonZeroU32 {
    n.try_into().unwrap()
}

impl Rule {
    fn trigger(self) -> Trigger {
        match self {
            Rule::Streak(n) => Trigger::consecutive(number(n)),
            Rule::Calls { share, calls, least } => Trigger::failure_rate(
                Ratio::percent(share),
                Window::calls(number(calls)).min_calls(number(least)),
            ),
            Rule::Time { share, seconds, least } => Trigger::failure_rate(
                Ratio::percent(share),
                Window::time(Duration::from_secs(seconds)).min_calls(number(least)),
            ),
            Rule::Slow { share, seconds, calls } => Trigger::slow_rate(
                Duration::from_secs(seconds),
                Ratio::percent(share),
                Window::calls(number(calls)),
            ),
            Rule::Score => Trigger::cusum(Cusum::FLAKY),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) rule: Rule,
    pub(super) probes: Probes,
    pub(super) memory: u64,
    pub(super) patience: u64,
}

impl Settings {
    pub(super) fn terms(self) -> Terms {
        let second = Duration::from_secs(1);
        Terms {
            trigger: self.rule.trigger(),
            open_for: Backoff::exponential(5 * second, 30 * second).jitter(Jitter::Equal),
            probes: self.probes,
            memory: self.memory,
            patience: self.patience,
            max_retry_after: 60 * SECOND,
        }
    }
}

/// Every random number is this one.
pub(super) const UNIT: f64 = 0.25;

/// Half and a quarter of the other half of 5, 10, 20, 30, 30, .. seconds.
pub(super) fn open_time(opening: usize) -> u64 {
    [5, 10, 20, 30][opening.min(4) - 1] * SECOND / 8 * 5
}

pub(super) struct Probe {
    pub(super) since: u64,
    pub(super) leased: bool,
    /// `None` while it runs; then whether it was good, or given back.
    pub(super) end: Option<Option<bool>>,
}

/// What was seen since the state last changed.
pub(super) struct Reference {
    pub(super) settings: Settings,
    pub(super) state: State,
    pub(super) generation: u64,
    pub(super) until: u64,
    /// Outcomes while closed: when, and how they were read.
    pub(super) seen: Vec<(u64, Outcome, bool)>,
    pub(super) last: u64,
    pub(super) asked: Vec<u64>,
    pub(super) probes: Vec<Probe>,
    pub(super) openings: usize,
}

/// A pass of the reference: generation, and the number of the probe.
pub(super) type Token = (u64, Option<usize>);

impl Reference {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Closed,
            generation: 0,
            until: 0,
            seen: Vec::new(),
            last: 0,
            asked: Vec::new(),
            probes: Vec::new(),
            openings: 0,
        }
    }

    pub(super) fn enter(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
        self.seen.clear();
        self.probes.clear();
    }

    pub(super) fn open(&mut self, at: u64, why: Why, notes: &mut Notes) {
        self.openings += 1;
        let asked = self.asked.drain(..).max().unwrap_or(0);
        self.until = (at + open_time(self.openings)).max(asked);
        self.enter(State::Open);
        notes.opened = Some((Some(self.until - at), why));
    }

    pub(super) fn count(&self, end: Option<Option<bool>>) -> u8 {
        self.probes.iter().filter(|probe| probe.end == end).count() as u8
    }

    pub(super) fn tick(&mut self, now: u64) -> Notes {
        let mut notes = Notes::default();
        while self.state == State::HalfOpen {
            let patience = self.settings.patience;
            let running = self.probes.iter_mut().filter(|probe| probe.end.is_none());
            let Some(first) = running.min_by_key(|probe| probe.since) else { break };
            let at = first.since + patience;
            if at > now {
                break;
            }
            first.end = Some((!first.leased).then_some(false));
            self.decide(at, &mut notes);
        }
        notes
    }

    pub(super) fn decide(&mut self, at: u64, notes: &mut Notes) {
        let (needed, allowed) = (self.settings.probes.needed(), self.settings.probes.allowed());
        let (good, bad) = (self.count(Some(Some(true))), self.count(Some(Some(false))));
        if good >= needed {
            self.openings = 0;
            self.asked.clear();
            self.enter(State::Closed);
            notes.closed = Some(Why::Recovered);
        } else if bad + needed > allowed {
            self.open(at, Why::Probe, notes);
        }
    }

    pub(super) fn admit(&mut self, now: u64, lease: bool) -> (Result<Token, Option<u64>>, Notes) {
        let mut notes = self.tick(now);
        if self.state == State::Open && now >= self.until {
            self.enter(State::HalfOpen);
        }
        let token = match self.state {
            State::Closed | State::ForcedClosed => Ok((self.generation, None)),
            State::Open => Err(Some(self.until - now)),
            State::ForcedOpen => Err(None),
            State::HalfOpen => {
                let taken =
                    self.count(None) + self.count(Some(Some(true))) + self.count(Some(Some(false)));
                if taken < self.settings.probes.allowed() {
                    self.probes.push(Probe { since: now, leased: lease, end: None });
                    notes.probing = (!lease).then(|| self.count(None));
                    Ok((self.generation, Some(self.probes.len() - 1)))
                } else {
                    Err(None)
                }
            }
        };
        (token, notes)
    }

    pub(super) fn running(&mut self, token: Token) -> Option<&mut Probe> {
        let probe = token.1.filter(|_| token.0 == self.generation)?;
        self.probes.get_mut(probe).filter(|probe| probe.end.is_none())
    }

    pub(super) fn begin(&mut self, now: u64, token: Token) -> (bool, Notes) {
        let mut notes = self.tick(now);
        let Some(probe) = self.running(token) else { return (false, notes) };
        let was_leased = std::mem::replace(&mut probe.leased, false);
        probe.since = now;
        notes.probing = was_leased.then(|| self.count(None));
        (true, notes)
    }

    pub(super) fn record(
        &mut self,
        now: u64,
        token: Token,
        outcome: Outcome,
        ran: u64,
    ) -> (Fate, Notes) {
        let mut notes = self.tick(now);
        if token.0 != self.generation {
            return (Fate::Stale, notes);
        }
        let slow = match self.settings.rule {
            Rule::Slow { seconds, .. } => ran >= seconds * SECOND,
            _ => false,
        };
        match self.state {
            State::Closed if outcome != Outcome::Nothing => {
                if now.saturating_sub(ran).saturating_sub(self.last) > self.settings.memory
                    && !matches!(self.settings.rule, Rule::Time { .. })
                    && !self.is_quiet()
                {
                    self.seen.clear();
                }
                self.last = now;
                self.heed(now, outcome);
                self.seen.push((now, outcome, slow || outcome == Outcome::Overdue));
                if let Some(why) = self.verdict(now) {
                    self.open(now, why, &mut notes);
                }
            }
            State::HalfOpen => {
                let Some(probe) = self.running(token) else { return (Fate::Stale, notes) };
                probe.end = Some(match outcome {
                    Outcome::Nothing => None,
                    Outcome::Good => Some(!slow),
                    _ => Some(false),
                });
                self.heed(now, outcome);
                self.decide(now, &mut notes);
            }
            _ => {}
        }
        (Fate::Counted, notes)
    }

    pub(super) fn heed(&mut self, now: u64, outcome: Outcome) {
        if let Outcome::Throttled { asked } = outcome {
            self.asked.push(now + asked.min(60 * SECOND));
        }
    }

    pub(super) fn command(&mut self, now: u64, command: Cause) -> Notes {
        let mut notes = self.tick(now);
        let next = match command {
            Cause::ForceOpen => State::ForcedOpen,
            Cause::ForceClosed => State::ForcedClosed,
            _ => State::Closed,
        };
        if self.state == next && next != State::Closed {
            return notes;
        }
        if !next.passes() {
            notes.opened = Some((None, Why::Command));
        } else if !self.state.passes() {
            notes.closed = Some(Why::Command);
        }
        self.openings = 0;
        self.asked.clear();
        self.enter(next);
        notes
    }

    /// The bad and all outcomes that the rule looks at, as far as they are rates.
    pub(super) fn rate(&self, now: u64) -> (usize, usize) {
        let bad = |&&(_, outcome, slow): &&(u64, Outcome, bool)| match self.settings.rule {
            Rule::Slow { .. } => slow,
            _ => outcome != Outcome::Good,
        };
        let window: Vec<_> = match self.settings.rule {
            Rule::Calls { calls, .. } | Rule::Slow { calls, .. } => {
                let first = self.seen.len().saturating_sub(calls as usize);
                self.seen[first..].iter().collect()
            }
            Rule::Time { seconds, .. } => {
                let width = seconds * SECOND / 32;
                self.seen.iter().filter(|(at, ..)| at / width + 32 > now / width).collect()
            }
            _ => Vec::new(),
        };
        (window.iter().copied().filter(bad).count(), window.len())
    }

    pub(super) fn streak(&self) -> usize {
        let row = self.seen.iter().rev().take_while(|(_, outcome, _)| *outcome != Outcome::Good);
        row.filter(|(_, outcome, _)| !matches!(outcome, Outcome::Throttled { .. })).count()
    }

    pub(super) fn score(&self) -> i64 {
        self.seen.iter().fold(0, |score, (_, outcome, _)| match outcome {
            Outcome::Good => (score - 11).max(0),
            _ => score + 14,
        })
    }

    pub(super) fn is_quiet(&self) -> bool {
        match self.settings.rule {
            Rule::Streak(_) => self.streak() == 0,
            Rule::Score => self.score() == 0,
            _ => self.rate(self.last).0 == 0,
        }
    }

    pub(super) fn verdict(&self, now: u64) -> Option<Why> {
        let &(_, outcome, slow) = self.seen.last()?;
        let (bad, all) = self.rate(now);
        let reached =
            |share: u8, least: u32| all >= least as usize && bad * 100 >= usize::from(share) * all;
        match self.settings.rule {
            Rule::Streak(n) => (self.streak() >= n as usize).then_some(Why::Streak),
            Rule::Score => (self.score() >= 112).then_some(Why::Evidence),
            Rule::Calls { share, calls, least } => (outcome != Outcome::Good
                && reached(share, least.min(calls)))
            .then_some(Why::FailureRate),
            Rule::Time { share, least, .. } => {
                (outcome != Outcome::Good && reached(share, least)).then_some(Why::FailureRate)
            }
            Rule::Slow { share, calls, .. } => {
                (slow && reached(share, calls.min(5))).then_some(Why::SlowRate)
            }
        }
    }
}
