//! The circuit against one that keeps everything, its table of states, and its threads.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    Probes, Trigger, Window,
    circuit::{Admission, Cause, Circuit, Fate, Notes, Outcome, Pass, State, Terms},
    reference::{Reference, Rule, SECOND, Settings, Token, UNIT, number},
    shared::{Mode, Shared},
    switch::nanos,
};
use crate::{Backoff, Jitter, Ratio, Why};

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
