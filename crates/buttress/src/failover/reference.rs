//! The roster against a naive one, and what must hold of it whatever happens.
//!
//! The naive one keeps the outcomes of each replica as a list, and looks at all of it every time.

mod naive;

use std::time::Duration;

use proptest::prelude::*;

use self::naive::{Model, Naive, stand};
use super::{
    roster::{Balance, Command, Fate, Note, Order, Outcome, Roster, Terms, Ticket, Tried},
    seat::{Health, Stand},
};
use crate::{Backoff, Jitter};

const BASE: u64 = 100;
const LONGEST: u64 = 400;
pub(super) const SLOW_START: u64 = 150;
const HOLD_DOWN: u64 = 250;
const LONGEST_REST: u64 = 80;

pub(super) fn terms(order: Order, failures: u32, most_ejected: f64, panic_above: f64) -> Terms {
    let nanos = Duration::from_nanos;
    Terms {
        order,
        failures,
        rate: f64::INFINITY,
        fewest_calls: 1,
        stretch: 1,
        slower: f64::INFINITY,
        slower_by: 1,
        ejection: Backoff::exponential(nanos(BASE), nanos(LONGEST)).jitter(Jitter::None),
        most_ejected,
        panic_above,
        slow_start: SLOW_START,
        longest_rest: LONGEST_REST,
    }
}

pub(super) const ACTIVE: Order = Order::Active(Balance::TwoChoices);
pub(super) const PASSIVE: Order = Order::Passive { hold_down: HOLD_DOWN, fail_back: false };

#[derive(Clone, Copy, Debug)]
enum Op {
    Wait(u64),
    /// A call, which tries another replica so often.
    Call {
        more: u8,
        unit: f64,
    },
    /// The end of one of the calls under way.
    End(usize, Outcome),
    Command(usize, Command),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let outcome = prop_oneof![
        4 => (0_u64..1_000).prop_map(|ran| Outcome::Good { ran }),
        8 => Just(Outcome::Bad),
        1 => (0_u64..200).prop_map(|asked| Outcome::Rest { asked }),
        1 => Just(Outcome::Nothing),
    ];
    let health = prop_oneof![Just(Health::Ill), Just(Health::Healthy), Just(Health::Unknown)];
    let command = prop_oneof![
        1 => Just(Command::Promote),
        1 => Just(Command::Drain),
        2 => Just(Command::Restore),
        3 => health.prop_map(Command::Health),
    ];
    let op = prop_oneof![
        4 => (0_u64..120).prop_map(Op::Wait),
        10 => (0_u8..3, 0.0_f64..1.0).prop_map(|(more, unit)| Op::Call { more, unit }),
        12 => (0_usize..8, outcome).prop_map(|(which, outcome)| Op::End(which, outcome)),
        1 => (0_usize..6, command).prop_map(|(place, command)| Op::Command(place, command)),
    ];
    prop::collection::vec(op, 0..80)
}

/// What a choice may not be, by the plain rules.
fn check_choice(model: &Model, tried: &[usize], idle: bool, chosen: Option<usize>, now: u64) {
    let open: Vec<usize> = (0..model.seats.len())
        .filter(|place| !tried.contains(place) && model.seats[*place].callable())
        .collect();
    let Some(chosen) = chosen else {
        assert!(open.is_empty(), "{open:?} are left");
        return;
    };
    assert!(open.contains(&chosen), "{chosen} is not among {open:?}");
    let first = tried.is_empty();
    if model.panicking() && first {
        return;
    }
    let fails_back = model.passive() == Some(true) && model.active != model.home;
    let due = first && fails_back && now >= model.held_until && open.contains(&model.home);
    if due && idle && model.rank(model.home, true, now) == 1 {
        assert_eq!(chosen, model.home, "a call finds out whether it is back");
        return;
    }
    let rank = |place| model.rank(place, first, now);
    assert!(open.iter().all(|other| rank(*other) >= rank(chosen)), "{chosen} of {open:?}");
    if model.passive().is_some() && open.contains(&model.active) {
        // When all are ill they are tried in turns.
        let as_good = rank(model.active) == rank(chosen) && rank(chosen) < 4;
        assert!(!as_good || chosen == model.active, "{chosen}, not {}", model.active);
    }
}

fn run(terms: Terms, members: usize, ops: Vec<Op>) {
    let mut roster = Roster::new(terms, (0..members).map(|_| (1, 0)));
    let seats = vec![Naive::default(); members];
    let mut model = Model { terms, seats, active: 0, home: 0, held_until: 0 };
    let most = (terms.most_ejected * members as f64).floor() as usize;
    let (mut now, mut running) = (0, Vec::<(Ticket, u64)>::new());
    let mut promoted = None;
    for op in ops {
        let mut commanded = false;
        match op {
            Op::Wait(time) => now += time,
            Op::Call { more, unit } => {
                let (mut tried, mut places) = (Tried::default(), Vec::new());
                for _ in 0..=more {
                    let ticket = roster.choose(tried, || now, || unit);
                    model.come_back(now);
                    let place = ticket.map(|ticket| ticket.place);
                    // Whether nobody is at home but those from before it changed its stand.
                    let there = |(ticket, age): &(Ticket, u64)| {
                        ticket.place == model.home && *age == model.seats[model.home].age
                    };
                    let idle = !running.iter().any(there);
                    check_choice(&model, &places, idle, place, now);
                    let Some(ticket) = ticket else { break };
                    tried.add(ticket.place);
                    places.push(ticket.place);
                    let seat = &mut model.seats[ticket.place];
                    seat.running += 1;
                    running.push((ticket, seat.age));
                }
            }
            Op::End(which, outcome) => {
                if running.is_empty() {
                    continue;
                }
                // Latency decides only between standbys: see there.
                let outcome = match outcome {
                    Outcome::Good { .. } if model.passive().is_some() => Outcome::Good { ran: 0 },
                    outcome => outcome,
                };
                let (ticket, age) = running.swap_remove(which % running.len());
                let seat = &mut model.seats[ticket.place];
                seat.running -= 1;
                let stale = seat.age != age;
                let fate = roster.record(ticket, outcome, || now, || 0.5);
                assert_eq!(fate, if stale { Fate::Stale } else { Fate::Counted });
                if !stale {
                    model.end(ticket.place, outcome, now);
                }
            }
            Op::Command(place, command) => {
                commanded = true;
                let obeyed = roster.command(place, command, now);
                assert_eq!(obeyed, model.command(place, command, now));
            }
        }
        for (place, (ours, theirs)) in roster.seats().iter().zip(&model.seats).enumerate() {
            assert_eq!(stand(ours.stand), theirs.stand(), "{place} after {op:?}");
            assert_eq!(ours.in_flight, theirs.running, "{place} after {op:?}");
            if let Stand::Ejected { until, .. } = ours.stand {
                assert_eq!(Some(until), theirs.ejected_until);
            }
        }
        let ejected = roster.seats().iter().filter(|seat| seat.is_ejected()).count();
        let notes = roster.take_notes();
        match model.passive() {
            None => {
                assert!(ejected <= most, "{ejected} are ejected, more than {most}");
                // Rest and waiting change nothing that panic depends on.
                assert_eq!(roster.is_panicking(), model.panicking(), "after {op:?}");
            }
            Some(_) => {
                assert_eq!(roster.active(), Some(model.active), "after {op:?}");
                let promotions =
                    notes.iter().filter(|note| matches!(note, Note::Promoted { .. })).count();
                if promotions > 0 {
                    let early = promoted.is_some_and(|last| now < last + HOLD_DOWN);
                    let drained = model.seats.iter().any(|seat| seat.drained);
                    assert!(commanded || drained || !early, "it flaps");
                    assert!(commanded || promotions == 1);
                    promoted = Some(now);
                }
            }
        }
    }
    for (ticket, _) in running {
        roster.record(ticket, Outcome::Nothing, || now, || 0.5);
    }
    assert!(roster.seats().iter().all(|seat| seat.in_flight == 0));
}

proptest! {
    #[test]
    fn active_active_agrees_with_the_naive_roster(
        members in 1_usize..6, failures in 1_u32..4, least_load: bool,
        most in prop::sample::select(vec![0.1, 0.34, 0.5, 0.75, 1.0]),
        panic in prop::sample::select(vec![0.2, 0.5, 1.0]), ops in ops(),
    ) {
        let balance = if least_load { Balance::LeastLoad } else { Balance::TwoChoices };
        run(terms(Order::Active(balance), failures, most, panic), members, ops);
    }

    #[test]
    fn active_passive_agrees_with_the_naive_roster(
        members in 1_usize..5, failures in 1_u32..4, fail_back: bool, ops in ops(),
    ) {
        let order = Order::Passive { hold_down: HOLD_DOWN, fail_back };
        run(terms(order, failures, 0.5, 0.5), members, ops);
    }

    #[test]
    fn a_share_never_falls_while_it_grows(first in 0_u64..400, then in 0_u64..400) {
        let mut roster = Roster::new(terms(ACTIVE, 1, 0.5, 0.5), [(1, 0), (1, 0)]);
        roster.command(1, Command::Drain, 0);
        roster.command(1, Command::Restore, 0);
        let share = |now| roster.seats()[1].share(now, SLOW_START);
        prop_assert!(share(first) <= share(first + then));
        prop_assert!((0.1..=1.0).contains(&share(first)));
    }
}
