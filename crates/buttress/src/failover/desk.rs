//! A roster, wired to the clock, to chance, to listeners and to those who look at it.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    handle::{Standing, State, View},
    roster::{Command, Fate, Note, Outcome, Roster, Terms, Ticket, Tried},
    seat::{Health, Seat, Stand},
};
use crate::{Event, Kind, Name, Random, Verdict, event::Voice};

/// What a desk is made of.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) terms: Terms,
    pub(super) slow_after: Duration,
    pub(super) random: Random,
    pub(super) voice: Voice,
}

/// A replica as it is announced: its name, weight and priority.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: Name,
    pub(super) weight: u32,
    pub(super) priority: u32,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Desk {
    roster: Mutex<Roster>,
    names: Vec<Name>,
    settings: Settings,
    /// Time zero: when the clock was first needed.
    epoch: OnceLock<Instant>,
    standing: watch::Sender<Standing>,
}

impl Desk {
    pub(super) fn new(settings: &Settings, members: &[Member]) -> Arc<Self> {
        let ranks = members.iter().map(|member| (member.weight, member.priority));
        let roster = Roster::new(settings.terms, ranks);
        let standing = standing(&roster);
        Arc::new(Self {
            roster: Mutex::new(roster),
            names: members.iter().take(Tried::MOST).map(|member| member.name.clone()).collect(),
            settings: settings.clone(),
            epoch: OnceLock::new(),
            standing: watch::Sender::new(standing),
        })
    }

    pub(super) const fn voice(&self) -> &Voice {
        &self.settings.voice
    }

    /// Chooses a replica for a call.
    pub(super) fn choose(&self, tried: Tried) -> Option<Ticket> {
        let unit = || self.settings.random.unit();
        self.act(|roster| roster.choose(tried, || self.now(), unit))
    }

    /// How many replicas are left that may be called.
    pub(super) fn left(&self, tried: Tried) -> usize {
        self.lock().left(tried)
    }

    /// When a replica may be back, if that is what is waited for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let back_at = self.lock().back_at()?;
        Some(Duration::from_nanos(back_at.saturating_sub(self.now())))
    }

    /// Takes note of what a call came to; `started` is when it was first pending, if it was.
    #[inline]
    pub(super) fn settle(&self, ticket: Ticket, verdict: Verdict, started: Option<Instant>) {
        let asked = nanos(verdict.retry_after.unwrap_or_default());
        let outcome = match verdict.kind {
            Kind::Success | Kind::Permanent => {
                Outcome::Good { ran: started.map_or(0, |started| nanos(started.elapsed())) }
            }
            Kind::Transient | Kind::Unknown => Outcome::Bad,
            Kind::Throttled | Kind::Rejected => Outcome::Rest { asked },
            Kind::Reroute => Outcome::Nothing,
        };
        if self.record(ticket, outcome) == Fate::Stale {
            self.settings.voice.tell(Event::Stale { verdict });
        }
    }

    /// Takes note of a replica that could not be made ready; `failed` unless it had no time to.
    pub(super) fn pass_over(&self, ticket: Ticket, failed: bool) {
        self.record(ticket, if failed { Outcome::Bad } else { Outcome::Nothing });
    }

    /// Takes note of a call that was dropped before its outcome was known.
    #[cold]
    pub(super) fn abandon(
        &self,
        ticket: Ticket,
        started: Option<Instant>,
        deadline: Option<Instant>,
    ) {
        let now = started.map(|_| Instant::now());
        let after = match (now, started) {
            (Some(now), Some(started)) => now.saturating_duration_since(started),
            _ => Duration::ZERO,
        };
        let passed = |now| deadline.is_some_and(|end| now >= end);
        let overdue = now.is_some_and(|now| after >= self.settings.slow_after || passed(now));
        let outcome = if overdue { Outcome::Bad } else { Outcome::Nothing };
        let failure = self.record(ticket, outcome) == Fate::Counted && overdue;
        self.settings.voice.tell(Event::Abandoned { after, failure });
    }

    /// Obeys a command about the first replica of this name; `false` if there is none, or the
    /// command makes no sense.
    pub(super) fn command(&self, name: &str, command: Command) -> bool {
        let Some(place) = self.names.iter().position(|other| other.as_str() == name) else {
            return false;
        };
        let now = self.now();
        self.act(|roster| roster.command(place, command, now))
    }

    pub(super) fn snapshot(&self) -> Vec<View> {
        let now = self.now();
        let roster = self.lock();
        let active = roster.active();
        let seats = roster.seats().iter().zip(&self.names).enumerate();
        seats
            .map(|(place, (seat, name))| View {
                name: name.clone(),
                state: state(seat, active.map(|active| active == place)),
                health: seat.health,
                in_flight: seat.in_flight,
                latency: seat.latency.mean(),
                ejected_for: match seat.stand {
                    Stand::Ejected { until, .. } => {
                        Some(Duration::from_nanos(until.saturating_sub(now)))
                    }
                    _ => None,
                },
                answered: seat.answered,
                failed: seat.failed,
            })
            .collect()
    }

    pub(super) fn active(&self) -> Option<Name> {
        let active = self.lock().active()?;
        self.names.get(active).cloned()
    }

    pub(super) fn standing(&self) -> Standing {
        standing(&self.lock())
    }

    pub(super) fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    fn record(&self, ticket: Ticket, outcome: Outcome) -> Fate {
        let unit = || self.settings.random.unit();
        self.act(|roster| roster.record(ticket, outcome, || self.now(), unit))
    }

    /// Does something to the roster, and tells of it once the lock is released.
    #[inline]
    fn act<T>(&self, step: impl FnOnce(&mut Roster) -> T) -> T {
        let (value, notes) = {
            let mut roster = self.lock();
            (step(&mut roster), roster.take_notes())
        };
        if !notes.is_empty() {
            self.tell(notes);
        }
        value
    }

    #[cold]
    fn tell(&self, notes: Vec<Note>) {
        // Read again under the channel's lock: of two threads that come here the later one must
        // not write the older state.
        self.standing.send_if_modified(|standing| {
            let now = self.standing();
            std::mem::replace(standing, now) != now
        });
        for note in notes {
            self.settings.voice.tell(match note {
                Note::Ejected { place, why, wait } => {
                    Event::Ejected { replica: number(place), why, wait }
                }
                Note::Readmitted { place } => Event::Readmitted { replica: number(place) },
                Note::Promoted { place, why } => Event::Promoted { replica: number(place), why },
                Note::Demoted { place, why } => Event::Demoted { replica: number(place), why },
                Note::Panicking { healthy, of } => Event::Panicking { healthy, of },
                Note::Calmed { healthy, of } => Event::Calmed { healthy, of },
                // Seen in the standing, and told once it comes to more.
                Note::Doubted => continue,
            });
        }
    }

    fn now(&self) -> u64 {
        let now = Instant::now();
        nanos(now.saturating_duration_since(*self.epoch.get_or_init(|| now)))
    }

    /// Nothing that can panic runs under the lock but arithmetic, so poison means nothing.
    fn lock(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn standing(roster: &Roster) -> Standing {
    let (healthy, of) = roster.healthy();
    Standing { active: roster.active().map(number), healthy, of, panicking: roster.is_panicking() }
}

fn state(seat: &Seat, active: Option<bool>) -> State {
    match seat.stand {
        _ if seat.drained => State::Drained,
        _ if seat.health == Health::Ill => State::Ill,
        Stand::Ejected { .. } => State::Ejected,
        Stand::Suspect => State::Suspect,
        _ if active == Some(false) => State::Standby,
        _ if active == Some(true) => State::Active,
        Stand::Ramping { .. } => State::Ramping,
        Stand::Well => State::Active,
    }
}

/// The number of a replica as it is told: from 1.
pub(super) fn number(place: usize) -> u32 {
    u32::try_from(place + 1).unwrap_or(u32::MAX)
}

/// The nanoseconds of a duration, at most those of 584 years.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
