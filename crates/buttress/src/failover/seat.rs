//! One replica as the roster sees it: what speaks for and against it.

use std::time::Duration;

use crate::Why;

/// How much the newest latency weighs against all earlier ones.
const NEWEST: f64 = 0.1;

/// The fewest answers of which a latency is told.
const FEWEST_ANSWERS: u32 = 10;

/// The share that a replica starts with when it comes back.
const FIRST_SHARE: f64 = 0.1;

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) weight: f64,
    pub(super) priority: u32,
    /// What was known before the last change of its stand belongs to an earlier generation.
    pub(super) generation: u64,
    pub(super) stand: Stand,
    pub(super) health: Health,
    pub(super) drained: bool,
    pub(super) in_flight: u32,
    /// How many of them belong to this generation.
    pub(super) sent: u32,
    /// Until when it asked to be left alone.
    pub(super) rests_until: u64,
    /// How often in a row it was ejected.
    pub(super) ejections: u32,
    /// How long the last time.
    pub(super) ejected_for: Duration,
    /// It has not answered since it came back.
    pub(super) on_trial: bool,
    pub(super) streak: u32,
    /// Of all failures in the roster, the number of its last one.
    pub(super) last_failure: u64,
    pub(super) recent: Recent,
    pub(super) latency: Latency,
    pub(super) answered: u64,
    pub(super) failed: u64,
}

/// What outcomes have made of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    Well,
    /// Looks ill, but so many are ejected already that it is needed.
    Suspect,
    Ejected {
        until: u64,
        why: Why,
    },
    /// Back since then, with a growing share.
    Ramping {
        since: u64,
    },
}

/// What a health check outside says of a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Health {
    /// Nothing: outcomes alone decide.
    #[default]
    Unknown,
    /// It is well: if it was ejected, it comes back at once.
    Healthy,
    /// It is ill: it gets no calls.
    Ill,
}

/// In which order replicas are chosen: the earlier ranks as long as there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Fit,
    /// It came back, and has not answered since.
    OnTrial,
    Resting,
    Suspect,
    Ejected,
}

impl Seat {
    pub(super) fn new(weight: u32, priority: u32) -> Self {
        Self {
            weight: f64::from(weight),
            priority,
            generation: 0,
            stand: Stand::Well,
            health: Health::Unknown,
            drained: false,
            in_flight: 0,
            sent: 0,
            rests_until: 0,
            ejections: 0,
            ejected_for: Duration::ZERO,
            on_trial: false,
            streak: 0,
            last_failure: 0,
            recent: Recent::default(),
            latency: Latency::default(),
            answered: 0,
            failed: 0,
        }
    }

    /// Whether nobody outside forbids to call it.
    pub(super) fn is_callable(&self) -> bool {
        !self.drained && self.health != Health::Ill
    }

    pub(super) const fn is_ejected(&self) -> bool {
        matches!(self.stand, Stand::Ejected { .. })
    }

    pub(super) fn looks_ill(&self) -> bool {
        self.health == Health::Ill || matches!(self.stand, Stand::Suspect | Stand::Ejected { .. })
    }

    pub(super) fn rank(&self, now: u64) -> Rank {
        match self.stand {
            Stand::Ejected { .. } => Rank::Ejected,
            Stand::Suspect => Rank::Suspect,
            Stand::Well | Stand::Ramping { .. } if now < self.rests_until => Rank::Resting,
            Stand::Ramping { .. } if self.on_trial => Rank::OnTrial,
            Stand::Well | Stand::Ramping { .. } => Rank::Fit,
        }
    }

    /// The share of its usual load that it takes.
    pub(super) fn share(&self, now: u64, slow_start: u64) -> f64 {
        match self.stand {
            Stand::Ramping { since } if slow_start > 0 => {
                let part = now.saturating_sub(since) as f64 / slow_start as f64;
                part.clamp(FIRST_SHARE, 1.0)
            }
            _ => 1.0,
        }
    }

    /// Whether time changes how it stands or what it takes.
    pub(super) fn is_restless(&self) -> bool {
        self.rests_until > 0 || matches!(self.stand, Stand::Ejected { .. } | Stand::Ramping { .. })
    }

    /// Forgets whoever was sent before.
    pub(super) fn renew(&mut self) {
        self.generation += 1;
        self.sent = 0;
    }

    /// Forgets what spoke for and against it, and whoever was sent before.
    pub(super) fn start_over(&mut self) {
        self.renew();
        self.streak = 0;
        self.recent = Recent::default();
        self.latency = Latency::default();
    }
}

/// How many failed of late: in the running stretch of time and in the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recent {
    since: u64,
    current: Tally,
    former: Tally,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    calls: u64,
    failures: u64,
}

impl Recent {
    /// A success counts for the running stretch, be its time over: it needs no clock.
    pub(super) fn answered(&mut self) {
        self.current.calls += 1;
    }

    pub(super) fn failed(&mut self, now: u64, stretch: u64) {
        let age = now.saturating_sub(self.since);
        if age >= stretch {
            let former = if age / 2 < stretch { self.current } else { Tally::default() };
            *self = Self { since: now, current: Tally::default(), former };
        }
        self.current.calls += 1;
        self.current.failures += 1;
    }

    /// The share of failures, once there are enough calls to tell.
    pub(super) fn rate(&self, fewest: u64) -> Option<f64> {
        let calls = self.current.calls + self.former.calls;
        let failures = self.current.failures + self.former.failures;
        (calls > 0 && calls >= fewest).then(|| failures as f64 / calls as f64)
    }
}

/// A moving mean of how long answers take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latency {
    nanos: f64,
    answers: u32,
}

impl Latency {
    pub(super) fn answered(&mut self, ran: u64) {
        self.answers = self.answers.saturating_add(1);
        // The first few are averaged evenly, lest the very first one weigh too much.
        let weight = NEWEST.max(1.0 / f64::from(self.answers));
        self.nanos += (ran as f64 - self.nanos) * weight;
    }

    pub(super) fn mean(&self) -> Option<Duration> {
        (self.answers > 0).then(|| Duration::from_nanos(self.nanos as u64))
    }

    /// In nanoseconds, once there are enough answers to tell.
    pub(super) fn told(&self) -> Option<f64> {
        (self.answers >= FEWEST_ANSWERS).then_some(self.nanos)
    }

    /// In nanoseconds, of those that never answered the longest there is.
    pub(super) const fn for_order(&self) -> u64 {
        if self.answers > 0 { self.nanos as u64 } else { u64::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_two_stretches_ago_are_forgotten() {
        let mut recent = Recent::default();
        for _ in 0..4 {
            recent.failed(5, 10);
        }
        recent.answered();
        assert_eq!(recent.rate(5), Some(0.8));
        assert_eq!(recent.rate(6), None);
        recent.failed(12, 10);
        assert_eq!(recent.rate(1), Some(5.0 / 6.0));
        recent.failed(22, 10);
        assert_eq!(recent.rate(1), Some(1.0), "the first stretch is gone");
        recent.failed(42, 10);
        assert_eq!(recent.rate(2), None, "and now all but one");
    }

    #[test]
    fn the_first_answers_weigh_alike() {
        let mut latency = Latency::default();
        assert_eq!((latency.mean(), latency.for_order()), (None, u64::MAX));
        for ran in [30, 10, 20] {
            latency.answered(ran);
        }
        assert_eq!(latency.mean(), Some(Duration::from_nanos(20)));
        assert_eq!(latency.told(), None);
        for _ in 0..200 {
            latency.answered(1_000);
        }
        assert!(latency.told().is_some_and(|mean| (mean - 1_000.0).abs() < 0.01));
    }

    #[test]
    fn a_share_grows_from_a_tenth_to_the_whole() {
        let mut seat = Seat::new(1, 0);
        assert_eq!(seat.share(0, 100), 1.0);
        seat.stand = Stand::Ramping { since: 1_000 };
        let shares: Vec<f64> =
            [900, 1_000, 1_050, 1_099, 5_000].iter().map(|now| seat.share(*now, 100)).collect();
        assert_eq!(shares, [0.1, 0.1, 0.5, 0.99, 1.0]);
        assert_eq!(seat.share(1_000, 0), 1.0, "no slow start");
    }
}
