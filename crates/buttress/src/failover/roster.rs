//! The roster: who is well, who is left alone, who is active.
//!
//! Times, outcomes and random numbers in, places and notes out.

mod choice;
mod ejection;
mod terms;

use std::time::Duration;

pub use self::terms::Balance;
pub(super) use self::terms::{Order, Terms};
use super::seat::{Health, Rank, Seat, Stand};
use crate::Why;

/// Replicas that were tried by one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tried(u64);

impl Tried {
    pub(super) const NONE: Self = Self(0);

    /// How many replicas a roster can have.
    pub(super) const MOST: usize = u64::BITS as usize;

    pub(super) const fn add(&mut self, place: usize) {
        self.0 |= 1 << (place % Self::MOST);
    }

    const fn has(self, place: usize) -> bool {
        self.0 & (1 << (place % Self::MOST)) != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// A replica was chosen for a call; it counts among those under way until the end is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) place: usize,
    generation: u64,
}

/// What a call came to, as far as the health of a replica is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered after so many nanoseconds.
    Good {
        ran: u64,
    },
    Bad,
    /// It asked to be left alone for so long.
    Rest {
        asked: u64,
    },
    /// Nothing was learned.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Counted,
    /// The replica changed its stand since the call began.
    Stale,
}

/// What is told of a change, after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    Ejected {
        place: usize,
        why: Why,
        wait: Option<Duration>,
    },
    Readmitted {
        place: usize,
    },
    Promoted {
        place: usize,
        why: Why,
    },
    Demoted {
        place: usize,
        why: Why,
    },
    Panicking {
        healthy: u32,
        of: u32,
    },
    Calmed {
        healthy: u32,
        of: u32,
    },
    /// A replica that is needed looks ill, or does no more; or one that gets no calls anyway does
    /// so for another reason.
    Doubted,
}

/// What is asked for from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Promote,
    Drain,
    Restore,
    Health(Health),
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Roster {
    terms: Terms,
    seats: Vec<Seat>,
    /// Where calls go first, if the order is passive.
    active: usize,
    /// Where fail-back leads.
    home: usize,
    /// No promotion but by command before then.
    held_until: u64,
    panicking: bool,
    /// How many failures there were.
    failures: u64,
    /// Whether time may change anything, so that the clock must be read to choose.
    restless: bool,
    notes: Vec<Note>,
}

impl Roster {
    /// A roster of replicas, each with its weight and priority.
    pub(super) fn new(terms: Terms, members: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let seats = members.into_iter().map(|(weight, priority)| Seat::new(weight, priority));
        Self {
            terms,
            seats: seats.take(Tried::MOST).collect(),
            active: 0,
            home: 0,
            held_until: 0,
            panicking: false,
            failures: 0,
            restless: false,
            notes: Vec::new(),
        }
    }

    pub(super) fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// The active replica, where the order is passive.
    pub(super) fn active(&self) -> Option<usize> {
        let passive = matches!(self.terms.order, Order::Passive { .. });
        (passive && !self.seats.is_empty()).then_some(self.active)
    }

    pub(super) const fn is_panicking(&self) -> bool {
        self.panicking
    }

    /// How many look well, and of how many that are not drained.
    pub(super) fn healthy(&self) -> (u32, u32) {
        let standing = self.seats.iter().filter(|seat| !seat.drained);
        standing
            .fold((0, 0), |(healthy, of), seat| (healthy + u32::from(!seat.looks_ill()), of + 1))
    }

    /// What there is to tell since it was last asked.
    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// When the first of the ejected comes back, if none other may be called.
    pub(super) fn back_at(&self) -> Option<u64> {
        let callable = self.seats.iter().filter(|seat| seat.is_callable());
        let ends = callable.map(|seat| match seat.stand {
            Stand::Ejected { until, .. } => Some(until),
            _ => None,
        });
        ends.collect::<Option<Vec<u64>>>()?.into_iter().min()
    }

    /// How many have not been tried and may be.
    pub(super) fn left(&self, tried: Tried) -> usize {
        self.open(tried).count()
    }

    /// Chooses a replica that was not tried; `unit` gives a random number, at least 0 and below 1.
    pub(super) fn choose(
        &mut self,
        tried: Tried,
        clock: impl FnOnce() -> u64,
        unit: impl FnOnce() -> f64,
    ) -> Option<Ticket> {
        let now = if self.restless { clock() } else { 0 };
        if self.restless {
            self.advance(now);
        }
        let place = match self.terms.order {
            Order::Active(balance) => self.balanced(balance, tried, now, unit)?,
            Order::Passive { .. } => self
                .probed(now)
                .filter(|_| tried.is_empty())
                .or_else(|| self.in_order(tried, now))?,
        };
        let seat = self.seats.get_mut(place)?;
        seat.in_flight += 1;
        seat.sent += 1;
        Some(Ticket { place, generation: seat.generation })
    }

    /// Takes note of what a call came to.
    pub(super) fn record(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        clock: impl FnOnce() -> u64,
        unit: impl FnOnce() -> f64,
    ) -> Fate {
        let place = ticket.place;
        let Some(seat) = self.seats.get_mut(place) else { return Fate::Stale };
        seat.in_flight = seat.in_flight.saturating_sub(1);
        match outcome {
            Outcome::Good { .. } => seat.answered += 1,
            Outcome::Bad => seat.failed += 1,
            Outcome::Rest { .. } | Outcome::Nothing => {}
        }
        if seat.generation != ticket.generation {
            return Fate::Stale;
        }
        seat.sent = seat.sent.saturating_sub(1);
        match outcome {
            Outcome::Nothing | Outcome::Rest { asked: 0 } => {}
            Outcome::Rest { asked } => {
                let until = clock().saturating_add(asked.min(self.terms.longest_rest));
                seat.rests_until = seat.rests_until.max(until);
                self.restless = true;
            }
            Outcome::Good { ran } => {
                seat.streak = 0;
                seat.on_trial = false;
                seat.recent.answered();
                seat.latency.answered(ran);
                let stand = seat.stand;
                if self.is_slow(place) {
                    if !self.seats[place].is_ejected() {
                        self.eject(place, Why::Latency, clock(), unit);
                    }
                } else if stand != Stand::Well {
                    self.redeem(place, clock());
                }
            }
            Outcome::Bad => {
                let now = clock();
                self.failures += 1;
                seat.last_failure = self.failures;
                seat.streak = seat.streak.saturating_add(1);
                seat.recent.failed(now, self.terms.stretch);
                let rate = seat.recent.rate(self.terms.fewest_calls);
                let why = if seat.on_trial {
                    Some(Why::Probe)
                } else if seat.streak >= self.terms.failures {
                    Some(Why::Streak)
                } else {
                    rate.filter(|rate| *rate >= self.terms.rate).map(|_| Why::FailureRate)
                };
                if let Some(why) = why.filter(|_| !seat.is_ejected()) {
                    self.eject(place, why, now, unit);
                }
            }
        }
        Fate::Counted
    }

    /// Obeys a command from outside; `false` if it makes no sense.
    pub(super) fn command(&mut self, place: usize, command: Command, now: u64) -> bool {
        let Some(active) = self.seats.get(place).map(|_| self.active()) else { return false };
        let seat = &mut self.seats[place];
        let callable = seat.is_callable();
        match command {
            Command::Promote => {
                let Some(active) = active.filter(|_| callable) else { return false };
                if seat.is_ejected() {
                    self.readmit(place, now);
                }
                self.home = place;
                if active != place {
                    self.promote(place, Why::Command, now);
                }
            }
            Command::Drain => seat.drained = true,
            Command::Restore => seat.drained = false,
            Command::Health(health) => {
                seat.health = health;
                if health == Health::Healthy && seat.is_ejected() {
                    self.readmit(place, now);
                }
            }
        }
        let why = if command == Command::Drain { Why::Command } else { Why::Health };
        match (callable, self.seats[place].is_callable()) {
            (true, false) => {
                self.seats[place].start_over();
                self.seats[place].stand = Stand::Well;
                self.notes.push(Note::Ejected { place, why, wait: None });
            }
            (false, true) => self.readmit(place, now),
            // What is drained does not count among those that look ill.
            (false, false) => self.notes.push(Note::Doubted),
            (true, true) => {}
        }
        self.advance(now);
        true
    }

    /// Whether another replica than the first is active, and not to remain so.
    fn fails_back(&self) -> bool {
        let Order::Passive { fail_back, .. } = self.terms.order else { return false };
        fail_back && self.active != self.home
    }

    /// Does what is due.
    fn advance(&mut self, now: u64) {
        for place in 0..self.seats.len() {
            let seat = &mut self.seats[place];
            if seat.rests_until <= now {
                seat.rests_until = 0;
            }
            match seat.stand {
                Stand::Ejected { until, .. } if until <= now && seat.is_callable() => {
                    self.readmit(place, now);
                }
                _ => {}
            }
        }
        self.settle(now);
    }

    /// Draws the consequences of a change.
    fn settle(&mut self, now: u64) {
        self.reconsider(now);
        let (healthy, of) = self.healthy();
        let panicking = matches!(self.terms.order, Order::Active(_))
            && f64::from(of - healthy) > self.terms.panic_above * f64::from(of);
        if panicking != std::mem::replace(&mut self.panicking, panicking) {
            self.notes.push(if panicking {
                Note::Panicking { healthy, of }
            } else {
                Note::Calmed { healthy, of }
            });
        }
        let displaced = self.active().is_some_and(|active| self.is_unfit(active));
        self.restless = displaced || self.fails_back() || self.seats.iter().any(Seat::is_restless);
    }

    /// Promotes another replica if the active one is ill, or a better one is back.
    fn reconsider(&mut self, now: u64) {
        let Order::Passive { .. } = self.terms.order else { return };
        let Some(active) = self.seats.get(self.active) else { return };
        if self.is_unfit(self.active) {
            let why = match active.stand {
                _ if active.drained => Why::Command,
                _ if active.health == Health::Ill => Why::Health,
                Stand::Ejected { why, .. } => why,
                _ => Why::Failure,
            };
            let due = active.drained || now >= self.held_until;
            let fit = |place: &usize| !self.is_unfit(*place);
            if let Some(best) = self.in_order(Tried::default(), now).filter(fit).filter(|_| due) {
                self.promote(best, why, now);
            }
        } else if self.fails_back()
            && now >= self.held_until
            && !self.is_unfit(self.home)
            && !self.seats[self.home].on_trial
        {
            self.promote(self.home, Why::Recovered, now);
        }
    }

    fn is_unfit(&self, place: usize) -> bool {
        self.seats.get(place).is_none_or(|seat| !seat.is_callable() || seat.is_ejected())
    }

    fn promote(&mut self, place: usize, why: Why, now: u64) {
        let Order::Passive { hold_down, .. } = self.terms.order else { return };
        let demoted = std::mem::replace(&mut self.active, place);
        self.held_until = now.saturating_add(hold_down);
        for changed in [demoted, place] {
            if let Some(seat) = self.seats.get_mut(changed) {
                seat.renew();
            }
        }
        self.notes.push(Note::Demoted { place: demoted, why });
        self.notes.push(Note::Promoted { place, why });
    }
}
