//! What the roster does in cases that can be told in a few numbers.

use super::{
    reference::{ACTIVE, PASSIVE, SLOW_START, terms},
    roster::{Balance, Command, Order, Outcome, Roster, Terms, Tried},
};

/// How many of so many calls, one after the other at the same time, go to each replica.
fn spread(roster: &mut Roster, calls: u32, now: u64) -> Vec<u32> {
    let mut counts = vec![0; roster.seats().len()];
    for call in 0..calls {
        // Evenly spread, and far apart from one call to the next.
        let unit = (f64::from(call) * 0.618_033_988_749_895).fract();
        let ticket = roster.choose(Tried::default(), || now, || unit).expect("one may be called");
        counts[ticket.place] += 1;
        roster.record(ticket, Outcome::Nothing, || now, || 0.5);
    }
    counts
}

#[test]
fn load_follows_the_weights_and_the_slow_start() {
    for balance in [Balance::TwoChoices, Balance::LeastLoad] {
        let terms = terms(Order::Active(balance), 1, 0.5, 0.5);
        let mut roster = Roster::new(terms, [(1, 0), (1, 0), (2, 0)]);
        let counts = spread(&mut roster, 10_000, 0);
        assert!(counts[2].abs_diff(5_000) < 50, "{balance:?}: {counts:?}");
        assert!(counts[0].abs_diff(2_500) < 50, "{balance:?}: {counts:?}");
        roster.command(0, Command::Drain, 0);
        assert_eq!(spread(&mut roster, 100, 0)[0], 0);
        roster.command(0, Command::Restore, 1_000);
        let early = spread(&mut roster, 10_000, 1_000)[0];
        let later = spread(&mut roster, 10_000, 1_000 + SLOW_START / 2)[0];
        let at_last = spread(&mut roster, 10_000, 1_000 + SLOW_START)[0];
        // A tenth and a half of 1, beside 1 and 2.
        assert!(early.abs_diff(10_000 / 31) < 50, "{balance:?}: {early}");
        assert!(later.abs_diff(10_000 / 7) < 50, "{balance:?}: {later}");
        assert!(at_last.abs_diff(2_500) < 50, "{balance:?}: {at_last}");
    }
}

#[test]
fn whoever_has_less_to_do_is_chosen() {
    for balance in [Balance::TwoChoices, Balance::LeastLoad] {
        let terms = terms(Order::Active(balance), 1, 0.5, 0.5);
        let mut roster = Roster::new(terms, [(1, 0), (1, 0), (4, 0)]);
        let mut counts = [0; 3];
        for call in 0..60 {
            let unit = (f64::from(call) * 0.618_033_988_749_895).fract();
            counts[roster.choose(Tried::default(), || 0, || unit).unwrap().place] += 1;
        }
        // In proportion to the weights, as none of the calls ends.
        assert!((8..=12).contains(&counts[0]), "{balance:?}: {counts:?}");
        assert!((38..=42).contains(&counts[2]), "{balance:?}: {counts:?}");
    }
}

#[test]
fn a_replica_far_slower_than_the_others_is_ejected() {
    let slower = Terms { slower: 3.0, slower_by: 50, ..terms(ACTIVE, 9, 0.5, 0.5) };
    let ejected = |latencies: [u64; 3], terms: Terms| {
        let mut roster = Roster::new(terms, [(1, 0); 3]);
        for _ in 0..30 {
            for (place, ran) in latencies.into_iter().enumerate() {
                let mut tried = Tried::default();
                (0..3).filter(|other| *other != place).for_each(|other| tried.add(other));
                let ticket = roster.choose(tried, || 0, || 0.5).unwrap();
                roster.record(ticket, Outcome::Good { ran }, || 0, || 0.5);
            }
        }
        let seats = roster.seats().iter();
        seats.map(super::seat::Seat::is_ejected).collect::<Vec<_>>()
    };
    assert_eq!(ejected([100, 310, 100], slower), [false, true, false]);
    assert_eq!(ejected([100, 290, 100], slower), [false; 3], "not slow enough");
    assert_eq!(ejected([10, 55, 10], slower), [false; 3], "what is short may differ");
    assert_eq!(ejected([100, 310, 310], slower), [false; 3], "the middle one is slow");
    let passive = Terms { order: PASSIVE, ..slower };
    assert_eq!(ejected([100, 310, 100], passive), [false; 3]);
}

#[test]
fn a_share_of_failures_is_enough_once_there_are_calls_to_tell() {
    let rate = Terms { rate: 0.5, fewest_calls: 8, stretch: 1_000, ..terms(ACTIVE, 99, 0.5, 0.5) };
    let mut roster = Roster::new(rate, [(1, 0); 2]);
    let mut second = Tried::default();
    second.add(1);
    for call in 1..=8 {
        assert!(!roster.seats()[0].is_ejected(), "after {call} calls");
        let ticket = roster.choose(second, || call, || 0.5).unwrap();
        let outcome = if call % 2 == 0 { Outcome::Bad } else { Outcome::Good { ran: 0 } };
        roster.record(ticket, outcome, || call, || 0.5);
    }
    assert!(roster.seats()[0].is_ejected());
}

#[test]
fn a_standby_is_promoted_by_priority_then_latency_then_order() {
    let promoted = |priorities: [u32; 4], latencies: [Option<u64>; 4]| {
        let terms = terms(PASSIVE, 1, 0.5, 0.5);
        let mut roster = Roster::new(terms, priorities.map(|priority| (1, priority)));
        let mut record = |place: usize, outcome: Outcome| {
            let mut tried = Tried::default();
            (0..4).filter(|other| *other != place).for_each(|other| tried.add(other));
            let ticket = roster.choose(tried, || 0, || 0.5).unwrap();
            roster.record(ticket, outcome, || 0, || 0.5);
        };
        for (place, ran) in latencies.into_iter().enumerate() {
            if let Some(ran) = ran {
                record(place, Outcome::Good { ran });
            }
        }
        record(0, Outcome::Bad);
        roster.active().unwrap()
    };
    assert_eq!(promoted([0; 4], [None; 4]), 1);
    assert_eq!(promoted([0, 0, 0, 0], [None, None, Some(70), Some(60)]), 3);
    assert_eq!(promoted([0, 2, 1, 2], [None, Some(1), Some(70), None]), 2);
}
