//! Who is left alone, and comes back.

use std::time::Duration;

use super::{Note, Order, Roster, Stand, Tried};
use crate::Why;

impl Roster {
    /// Takes a replica out, if it can be spared.
    pub(super) fn eject(&mut self, place: usize, why: Why, now: u64, unit: impl FnOnce() -> f64) {
        let spared = self.can_be_spared(place);
        let Some(seat) = self.seats.get_mut(place) else { return };
        if spared {
            seat.ejections = seat.ejections.saturating_add(1);
            let wait = self.terms.ejection.delay(seat.ejections, seat.ejected_for, unit());
            seat.ejected_for = wait;
            let until = now.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
            seat.start_over();
            seat.stand = Stand::Ejected { until, why };
            self.notes.push(Note::Ejected { place, why, wait: Some(wait) });
        } else if seat.stand != Stand::Suspect {
            seat.stand = Stand::Suspect;
            self.notes.push(Note::Doubted);
        } else {
            return;
        }
        self.settle(now);
    }

    fn can_be_spared(&self, place: usize) -> bool {
        // A standby that is ejected is only the last to be called, and there is always another:
        // the active one.
        if matches!(self.terms.order, Order::Passive { .. }) {
            return true;
        }
        let ejected = self.seats.iter().filter(|seat| seat.is_ejected()).count();
        let most = (self.terms.most_ejected * self.seats.len() as f64).floor();
        let mut others = self.seats.iter().enumerate().filter(|(other, _)| *other != place);
        ((ejected + 1) as f64) <= most
            && others.any(|(_, seat)| seat.is_callable() && !seat.is_ejected())
    }

    /// An answer speaks for a replica that did not stand well.
    pub(super) fn redeem(&mut self, place: usize, now: u64) {
        let slow_start = self.terms.slow_start;
        let passive = self.active().is_some();
        let seat = &mut self.seats[place];
        match seat.stand {
            // That it answers was never in doubt.
            Stand::Ejected { why: Why::Latency, .. } => return,
            Stand::Ejected { .. } => {
                self.readmit(place, now);
                self.seats[place].on_trial = false;
            }
            Stand::Suspect => {
                seat.stand = Stand::Well;
                self.notes.push(Note::Doubted);
            }
            Stand::Ramping { since } if now.saturating_sub(since) >= slow_start => {
                seat.stand = Stand::Well;
                (seat.ejections, seat.ejected_for) = (0, Duration::ZERO);
            }
            // It may be the one that fail-back leads to.
            Stand::Ramping { .. } if passive => {}
            Stand::Ramping { .. } | Stand::Well => return,
        }
        self.settle(now);
    }

    /// Lets a replica come back.
    pub(super) fn readmit(&mut self, place: usize, now: u64) {
        let seat = &mut self.seats[place];
        seat.start_over();
        seat.stand = Stand::Ramping { since: now };
        seat.on_trial = true;
        self.notes.push(Note::Readmitted { place });
    }

    /// Whether a replica takes far longer than the others do.
    pub(super) fn is_slow(&self, place: usize) -> bool {
        let Order::Active(_) = self.terms.order else { return false };
        let Some(own) = self.seats[place].latency.told() else { return false };
        let by = self.terms.slower_by as f64;
        if own < by {
            return false;
        }
        let (mut told, mut count, mut peers) = ([0.0; Tried::MOST], 0, 0);
        let others =
            self.open(Tried::NONE).filter(|(other, seat)| *other != place && !seat.is_ejected());
        for (_, seat) in others {
            peers += 1;
            if let Some(latency) = seat.latency.told() {
                told[count] = latency;
                count += 1;
            }
        }
        let told = &mut told[..count];
        told.sort_unstable_by(f64::total_cmp);
        // Of an even number the upper one of the two in the middle: the milder judge. Too few of
        // them would judge for all.
        told.get(count / 2).is_some_and(|median| {
            2 * count > peers && own - median >= by && own > self.terms.slower * median
        })
    }
}
