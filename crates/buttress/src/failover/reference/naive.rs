//! The roster that keeps the outcomes of each replica as a list, and looks at all of it every time.

use super::{BASE, HOLD_DOWN, LONGEST, LONGEST_REST, SLOW_START};
use crate::failover::{
    roster::{Command, Order, Outcome, Terms},
    seat::{Health, Stand},
};

/// A replica as the naive roster keeps it.
#[derive(Clone, Debug, Default)]
pub(super) struct Naive {
    /// Whether each outcome was good, since it last changed its stand.
    pub(super) history: Vec<bool>,
    /// How often it changed.
    pub(super) age: u64,
    pub(super) ejected_until: Option<u64>,
    pub(super) suspect: bool,
    pub(super) back_since: Option<u64>,
    pub(super) on_trial: bool,
    pub(super) ejections: u32,
    pub(super) rests_until: u64,
    pub(super) drained: bool,
    pub(super) health: Health,
    pub(super) running: u32,
}

impl Naive {
    pub(super) fn callable(&self) -> bool {
        !self.drained && self.health != Health::Ill
    }
    pub(super) fn fit(&self) -> bool {
        self.callable() && self.ejected_until.is_none()
    }
    pub(super) fn ill(&self) -> bool {
        self.health == Health::Ill || self.suspect || self.ejected_until.is_some()
    }
    pub(super) fn renew(&mut self) {
        self.history.clear();
        self.age += 1;
        (self.suspect, self.ejected_until, self.back_since) = (false, None, None);
    }
    pub(super) fn come_back(&mut self, now: u64) {
        self.renew();
        (self.back_since, self.on_trial) = (Some(now), true);
    }
    pub(super) fn stand(&self) -> &'static str {
        match self {
            Self { ejected_until: Some(_), .. } => "ejected",
            Self { suspect: true, .. } => "suspect",
            Self { back_since: Some(_), .. } => "ramping",
            _ => "well",
        }
    }
}

pub(super) fn stand(stand: Stand) -> &'static str {
    match stand {
        Stand::Well => "well",
        Stand::Suspect => "suspect",
        Stand::Ejected { .. } => "ejected",
        Stand::Ramping { .. } => "ramping",
    }
}

pub(super) struct Model {
    pub(super) terms: Terms,
    pub(super) seats: Vec<Naive>,
    pub(super) active: usize,
    pub(super) home: usize,
    pub(super) held_until: u64,
}

impl Model {
    pub(super) fn passive(&self) -> Option<bool> {
        match self.terms.order {
            Order::Passive { fail_back, .. } => Some(fail_back),
            Order::Active(_) => None,
        }
    }

    /// In which order replicas are chosen.
    pub(super) fn rank(&self, place: usize, first: bool, now: u64) -> u32 {
        let first = first && self.passive().is_none();
        let seat = &self.seats[place];
        let at_home = self.passive().is_some() && place == self.active;
        match seat.stand() {
            "ejected" => 4,
            "suspect" if first => 0,
            "suspect" => 3,
            _ if seat.rests_until > now => 2,
            "ramping" if seat.on_trial && !first && !at_home => 1,
            _ => 0,
        }
    }

    pub(super) fn panicking(&self) -> bool {
        let here: Vec<_> = self.seats.iter().filter(|seat| !seat.drained).collect();
        let ill = here.iter().filter(|seat| seat.ill()).count();
        self.passive().is_none() && ill as f64 > self.terms.panic_above * here.len() as f64
    }

    pub(super) fn come_back(&mut self, now: u64) {
        for seat in &mut self.seats {
            if seat.callable() && seat.ejected_until.is_some_and(|until| until <= now) {
                seat.come_back(now);
            }
        }
        self.reconsider(now);
    }

    pub(super) fn reconsider(&mut self, now: u64) {
        let Some(fail_back) = self.passive() else { return };
        let active = &self.seats[self.active];
        if !active.fit() {
            let fit = (0..self.seats.len()).filter(|place| self.seats[*place].fit());
            // Whoever answered took no time at all: that is faster than what was never seen.
            let best = fit.min_by_key(|place| {
                let seat = &self.seats[*place];
                (self.rank(*place, false, now), !seat.history.contains(&true), *place)
            });
            if let Some(best) = best.filter(|_| active.drained || now >= self.held_until) {
                self.promote(best, now);
            }
        } else if fail_back
            && self.active != self.home
            && now >= self.held_until
            && self.seats[self.home].fit()
            && !self.seats[self.home].on_trial
        {
            self.promote(self.home, now);
        }
    }

    pub(super) fn promote(&mut self, place: usize, now: u64) {
        for changed in [self.active, place] {
            self.seats[changed].age += 1;
        }
        self.active = place;
        self.held_until = now + HOLD_DOWN;
    }

    pub(super) fn end(&mut self, place: usize, outcome: Outcome, now: u64) {
        let passive = self.passive().is_some();
        let seat = &mut self.seats[place];
        match outcome {
            Outcome::Nothing => return,
            Outcome::Rest { asked } => {
                if asked > 0 {
                    seat.rests_until = seat.rests_until.max(now + asked.min(LONGEST_REST));
                }
                return;
            }
            Outcome::Good { .. } => {
                seat.history.push(true);
                seat.on_trial = false;
                if seat.ejected_until.is_some() {
                    seat.come_back(now);
                    seat.on_trial = false;
                } else if seat.suspect {
                    seat.suspect = false;
                    seat.back_since = None;
                } else if seat.back_since.is_some_and(|since| now - since >= SLOW_START) {
                    seat.back_since = None;
                    seat.ejections = 0;
                } else if seat.back_since.is_none() || !passive {
                    return;
                }
            }
            Outcome::Bad => {
                seat.history.push(false);
                let row = seat.history.iter().rev().take_while(|good| !**good);
                let row = row.count() as u32;
                if seat.ejected_until.is_some() || !(seat.on_trial || row >= self.terms.failures) {
                    return;
                }
                if self.spare(place) {
                    let seat = &mut self.seats[place];
                    seat.renew();
                    seat.ejections += 1;
                    let wait = (BASE << (seat.ejections - 1).min(20)).min(LONGEST);
                    seat.ejected_until = Some(now + wait);
                } else if !self.seats[place].suspect {
                    self.seats[place].suspect = true;
                } else {
                    return;
                }
            }
        }
        self.reconsider(now);
    }

    pub(super) fn spare(&self, place: usize) -> bool {
        let ejected = self.seats.iter().filter(|seat| seat.ejected_until.is_some()).count();
        let most = (self.terms.most_ejected * self.seats.len() as f64).floor() as usize;
        let others = (0..self.seats.len()).filter(|other| *other != place);
        self.passive().is_some()
            || ejected < most && others.map(|other| &self.seats[other]).any(Naive::fit)
    }

    pub(super) fn command(&mut self, place: usize, command: Command, now: u64) -> bool {
        let active = self.active;
        let Some(seat) = self.seats.get_mut(place) else { return false };
        let before = seat.callable();
        match command {
            Command::Promote => {
                if !before || matches!(self.terms.order, Order::Active(_)) {
                    return false;
                }
                if seat.ejected_until.is_some() {
                    seat.come_back(now);
                }
                self.home = place;
                if place != active {
                    self.promote(place, now);
                }
            }
            Command::Drain => seat.drained = true,
            Command::Restore => seat.drained = false,
            Command::Health(health) => {
                seat.health = health;
                if health == Health::Healthy && seat.ejected_until.is_some() {
                    seat.come_back(now);
                }
            }
        }
        let seat = &mut self.seats[place];
        match (before, seat.callable()) {
            (true, false) => seat.renew(),
            (false, true) => seat.come_back(now),
            _ => {}
        }
        self.come_back(now);
        true
    }
}
