//! A circuit that keeps all it was ever told, to compare with the one that does not.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    Cusum, Probes, Trigger, Window,
    circuit::{Admission, Cause, Circuit, Fate, Notes, Outcome, Pass, State, Terms},
    shared::{Mode, Shared},
    switch::nanos,
};
use crate::{Backoff, Jitter, Ratio, Why};

const SECOND: u64 = 1_000_000_000;

/// The trigger by name, so that the reference need not ask the trigger.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Streak(u32),
    Calls { share: u8, calls: u32, least: u32 },
    Time { share: u8, seconds: u64, least: u32 },
    Slow { share: u8, seconds: u64, calls: u32 },
    Score,
}

fn number(n: u32) -> std::num::NonZeroU32 {
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
struct Settings {
    rule: Rule,
    probes: Probes,
    memory: u64,
    patience: u64,
}

impl Settings {
    fn terms(self) -> Terms {
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
const UNIT: f64 = 0.25;

/// Half and a quarter of the other half of 5, 10, 20, 30, 30, .. seconds.
fn open_time(opening: usize) -> u64 {
    [5, 10, 20, 30][opening.min(4) - 1] * SECOND / 8 * 5
}

struct Probe {
    since: u64,
    leased: bool,
    /// `None` while it runs; then whether it was good, or given back.
    end: Option<Option<bool>>,
}

/// What was seen since the state last changed.
struct Reference {
    settings: Settings,
    state: State,
    generation: u64,
    until: u64,
    /// Outcomes while closed: when, and how they were read.
    seen: Vec<(u64, Outcome, bool)>,
    last: u64,
    asked: Vec<u64>,
    probes: Vec<Probe>,
    openings: usize,
}

/// A pass of the reference: generation, and the number of the probe.
type Token = (u64, Option<usize>);

impl Reference {
    fn new(settings: Settings) -> Self {
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

    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
        self.seen.clear();
        self.probes.clear();
    }

    fn open(&mut self, at: u64, why: Why, notes: &mut Notes) {
        self.openings += 1;
        let asked = self.asked.drain(..).max().unwrap_or(0);
        self.until = (at + open_time(self.openings)).max(asked);
        self.enter(State::Open);
        notes.opened = Some((Some(self.until - at), why));
    }

    fn count(&self, end: Option<Option<bool>>) -> u8 {
        self.probes.iter().filter(|probe| probe.end == end).count() as u8
    }

    fn tick(&mut self, now: u64) -> Notes {
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

    fn decide(&mut self, at: u64, notes: &mut Notes) {
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

    fn admit(&mut self, now: u64, lease: bool) -> (Result<Token, Option<u64>>, Notes) {
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

    fn running(&mut self, token: Token) -> Option<&mut Probe> {
        let probe = token.1.filter(|_| token.0 == self.generation)?;
        self.probes.get_mut(probe).filter(|probe| probe.end.is_none())
    }

    fn begin(&mut self, now: u64, token: Token) -> (bool, Notes) {
        let mut notes = self.tick(now);
        let Some(probe) = self.running(token) else { return (false, notes) };
        let was_leased = std::mem::replace(&mut probe.leased, false);
        probe.since = now;
        notes.probing = was_leased.then(|| self.count(None));
        (true, notes)
    }

    fn record(&mut self, now: u64, token: Token, outcome: Outcome, ran: u64) -> (Fate, Notes) {
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

    fn heed(&mut self, now: u64, outcome: Outcome) {
        if let Outcome::Throttled { asked } = outcome {
            self.asked.push(now + asked.min(60 * SECOND));
        }
    }

    fn command(&mut self, now: u64, command: Cause) -> Notes {
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
    fn rate(&self, now: u64) -> (usize, usize) {
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

    fn streak(&self) -> usize {
        let row = self.seen.iter().rev().take_while(|(_, outcome, _)| *outcome != Outcome::Good);
        row.filter(|(_, outcome, _)| !matches!(outcome, Outcome::Throttled { .. })).count()
    }

    fn score(&self) -> i64 {
        self.seen.iter().fold(0, |score, (_, outcome, _)| match outcome {
            Outcome::Good => (score - 11).max(0),
            _ => score + 14,
        })
    }

    fn is_quiet(&self) -> bool {
        match self.settings.rule {
            Rule::Streak(_) => self.streak() == 0,
            Rule::Score => self.score() == 0,
            _ => self.rate(self.last).0 == 0,
        }
    }

    fn verdict(&self, now: u64) -> Option<Why> {
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

#[derive(Clone, Copy, Debug)]
enum Op {
    Wait(u64),
    Admit {
        lease: bool,
    },
    /// On one of the passes given so far, counted from the latest.
    Begin(usize),
    Record {
        back: usize,
        outcome: Outcome,
        ran: u64,
    },
    Command(Cause),
}

fn settings() -> impl Strategy<Value = Settings> {
    let share = 10_u8..=100;
    let rule = prop_oneof![
        (1_u32..6).prop_map(Rule::Streak),
        (share.clone(), 1_u32..20, 1_u32..8).prop_map(|(share, calls, least)| Rule::Calls {
            share,
            calls,
            least
        }),
        (share.clone(), 1_u64..60, 1_u32..8).prop_map(|(share, seconds, least)| Rule::Time {
            share,
            seconds,
            least
        }),
        (share, 1_u64..5, 1_u32..20).prop_map(|(share, seconds, calls)| Rule::Slow {
            share,
            seconds,
            calls
        }),
        Just(Rule::Score),
    ];
    let probes = (1_u8..5, 1_u8..5).prop_map(|(needed, allowed)| Probes::new(needed, allowed));
    (rule, probes, 1_u64..100, 1_u64..20).prop_map(|(rule, probes, memory, patience)| Settings {
        rule,
        probes,
        memory: memory * SECOND,
        patience: patience * SECOND,
    })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let outcome = prop_oneof![
        5 => Just(Outcome::Good),
        8 => Just(Outcome::Bad),
        2 => (0_u64..100).prop_map(|s| Outcome::Throttled { asked: s * SECOND }),
        1 => Just(Outcome::Overdue),
        2 => Just(Outcome::Nothing),
    ];
    let wait = prop_oneof![0_u64..1_000, 0_u64..40_000, 0_u64..200_000];
    let op = prop_oneof![
        3 => wait.prop_map(|millis| Op::Wait(millis * SECOND / 1_000)),
        8 => prop::bool::weighted(0.2).prop_map(|lease| Op::Admit { lease }),
        1 => (0_usize..6).prop_map(Op::Begin),
        8 => (0_usize..8, outcome, 0_u64..6).prop_map(|(back, outcome, seconds)| {
            Op::Record { back, outcome, ran: seconds * SECOND }
        }),
        1 => prop_oneof![
            1 => Just(Cause::ForceOpen), 1 => Just(Cause::ForceClosed), 4 => Just(Cause::Reset)
        ].prop_map(Op::Command),
    ];
    prop::collection::vec(op, 0..60)
}

/// What is compared: a pass by nothing but its being one.
fn admission(admission: Admission) -> Result<Pass, Option<u64>> {
    match admission {
        Admission::Pass(pass) => Ok(pass),
        Admission::Reject { wait } => Err(wait),
    }
}

fn untold(notes: Notes) -> Notes {
    Notes { turned: false, ..notes }
}

/// The circuit behind its gate, used as the service uses it.
struct Gated(Shared);

impl Gated {
    fn admit(&self, now: u64, lease: bool) -> (Result<Pass, Option<u64>>, Notes) {
        if let Some(pass) = self.0.pass() {
            return (Ok(pass), Notes::default());
        }
        let (admitted, notes) = self.0.admit(now, lease, &|| UNIT);
        (admission(admitted), untold(notes))
    }

    fn record(
        &self,
        now: u64,
        pass: Pass,
        outcome: Outcome,
        ran: u64,
        slow: bool,
    ) -> (Fate, Notes) {
        if outcome == Outcome::Good && !slow && self.0.succeed(pass, Some(now)) {
            return (Fate::Counted, Notes::default());
        }
        let (fate, notes) = self.0.record(now, pass, outcome, ran, &|| UNIT);
        (fate, untold(notes))
    }

    fn state(&self) -> State {
        match self.0.gate().mode() {
            Mode::Closed => State::Closed,
            Mode::ForcedClosed => State::ForcedClosed,
            Mode::Open => State::Open,
            Mode::ForcedOpen => State::ForcedOpen,
            Mode::Probing | Mode::Full => State::HalfOpen,
        }
    }
}

proptest! {
    #[test]
    fn the_circuit_agrees_with_one_that_keeps_everything(settings in settings(), ops in ops()) {
        let mut circuit = Circuit::new(settings.terms());
        let gated = Gated(Shared::new(settings.terms()));
        let mut reference = Reference::new(settings);
        let mut passes: Vec<(Pass, Pass, Token)> = Vec::new();
        let mut now = 0;
        let unit = &|| UNIT;
        for op in ops {
            let nth = |back: usize| passes.len().checked_sub(back + 1).map(|at| passes[at]);
            match op {
                Op::Wait(time) => now += time,
                Op::Admit { lease } => {
                    let (ours, notes) = circuit.admit(now, lease, unit);
                    let ours = admission(ours);
                    let (guarded, guarded_notes) = gated.admit(now, lease);
                    let (theirs, their_notes) = reference.admit(now, lease);
                    prop_assert_eq!(ours.map(drop), theirs.map(drop));
                    prop_assert_eq!(guarded.map(drop), theirs.map(drop));
                    prop_assert_eq!(notes, their_notes);
                    prop_assert_eq!(guarded_notes, their_notes);
                    if let (Ok(ours), Ok(guarded), Ok(theirs)) = (ours, guarded, theirs) {
                        passes.push((ours, guarded, theirs));
                    }
                }
                Op::Begin(back) => {
                    let Some((ours, guarded, theirs)) = nth(back) else { continue };
                    let (valid, their_notes) = reference.begin(now, theirs);
                    prop_assert_eq!(circuit.begin(now, ours, unit), (valid, their_notes));
                    let (gated_valid, notes) = gated.0.begin(now, guarded, unit);
                    prop_assert_eq!((gated_valid, untold(notes)), (valid, their_notes));
                }
                Op::Record { back, outcome, ran } => {
                    let Some((ours, guarded, theirs)) = nth(back) else { continue };
                    let ran = ran.min(now);
                    let slow = matches!(
                        settings.rule, Rule::Slow { seconds, .. } if ran >= seconds * SECOND
                    );
                    let expected = reference.record(now, theirs, outcome, ran);
                    prop_assert_eq!(circuit.record(now, ours, outcome, ran, unit), expected);
                    prop_assert_eq!(gated.record(now, guarded, outcome, ran, slow), expected);
                }
                Op::Command(command) => {
                    let notes = reference.command(now, command);
                    prop_assert_eq!(circuit.command(now, command, unit), notes);
                    prop_assert_eq!(untold(gated.0.command(now, command, unit)), notes);
                }
            }
            prop_assert_eq!(circuit.state(), reference.state);
            prop_assert_eq!(gated.state(), reference.state);
            let decided = reference.probes.iter().filter(|probe| probe.end != Some(None)).count();
            prop_assert!(decided <= usize::from(settings.probes.allowed()));
        }
    }
}

#[test]
fn every_state_knows_every_cause() {
    use {Cause::*, State::*};
    let states = [Closed, Open, HalfOpen, ForcedOpen, ForcedClosed];
    let causes = [Trip(Why::Evidence), Due, Recover, ForceOpen, ForceClosed, Reset];
    let table: Vec<String> = states
        .iter()
        .flat_map(|state| causes.iter().map(move |cause| (state, cause)))
        .filter_map(|(state, cause)| {
            Some(format!("{state:?} {cause:?} {:?}", state.after(*cause)?))
        })
        .collect();
    assert_eq!(
        table,
        [
            "Closed Trip(Evidence) Open",
            "Closed ForceOpen ForcedOpen",
            "Closed ForceClosed ForcedClosed",
            "Closed Reset Closed",
            "Open Due HalfOpen",
            "Open ForceOpen ForcedOpen",
            "Open ForceClosed ForcedClosed",
            "Open Reset Closed",
            "HalfOpen Trip(Evidence) Open",
            "HalfOpen Recover Closed",
            "HalfOpen ForceOpen ForcedOpen",
            "HalfOpen ForceClosed ForcedClosed",
            "HalfOpen Reset Closed",
            "ForcedOpen ForceClosed ForcedClosed",
            "ForcedOpen Reset Closed",
            "ForcedClosed ForceOpen ForcedOpen",
            "ForcedClosed Reset Closed",
        ]
    );
}

fn plain(trigger: Trigger) -> Terms {
    Terms {
        trigger,
        open_for: Backoff::constant(Duration::from_secs(5)).jitter(Jitter::None),
        probes: Probes::default(),
        memory: nanos(Duration::from_secs(600)),
        patience: 60 * SECOND,
        max_retry_after: 60 * SECOND,
    }
}

#[test]
fn threads_never_have_more_probes_than_are_allowed() {
    let shared = Shared::new(plain(Trigger::consecutive(number(1))));
    let pass = shared.pass().unwrap();
    shared.record(0, pass, Outcome::Bad, 0, &|| UNIT);
    for round in 1..200 {
        let now = round * 10 * SECOND;
        let admitted = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..4)
                            .filter_map(|_| admission(shared.admit(now, false, &|| UNIT).0).ok())
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(admitted.len(), 3);
        for pass in admitted {
            shared.record(now, pass, Outcome::Bad, 0, &|| UNIT);
        }
        assert_eq!(shared.gate().mode(), Mode::Open);
    }
}

#[test]
fn no_success_of_many_threads_is_lost() {
    let hundred = Window::calls(number(1_000));
    let shared = Shared::new(plain(Trigger::failure_rate(Ratio::ONE, hundred)));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let shared = &shared;
            scope.spawn(move || {
                for n in 0..100 {
                    let pass = shared.pass().unwrap();
                    let good = (n + thread) % 10 != 0;
                    if !(good && shared.succeed(pass, None)) {
                        let outcome = if good { Outcome::Good } else { Outcome::Bad };
                        shared.record(0, pass, outcome, 0, &|| UNIT);
                    }
                }
            });
        }
    });
    assert_eq!(shared.tally(), (400, 40));
}
