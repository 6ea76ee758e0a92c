//! Every pair of the table, and histories of events against the plain words of the protocol.

use proptest::prelude::*;

use super::{Decision::*, Event as E, State as S, *};

fn members(places: &[usize]) -> Members {
    places.iter().fold(Members::default(), |members, place| members.with(*place))
}

/// The states and events of the table, and what becomes of each pair for two participants.
#[test]
fn every_pair_is_as_in_the_table() {
    let none = Members::default();
    let telling = S::Telling { decision: Commit, heard: members(&[1]), contrary: none };
    let ending = S::Ending { decision: Commit, contrary: none };
    let states = [
        S::Idle,
        S::Opening,
        S::Preparing { prepared: members(&[1]) },
        S::Deciding,
        telling,
        ending,
        S::Ended { decision: Commit, contrary: none },
        S::Refused,
    ];
    let events = [
        E::Run,
        E::Recover,
        E::Opened { fresh: true },
        E::Opened { fresh: false },
        E::Voted(0, Vote::Yes),
        E::Voted(1, Vote::Yes),
        E::Voted(0, Vote::No),
        E::Decided(Commit),
        E::Acknowledged(0, Commit),
        E::Acknowledged(0, Abort),
        E::Closed,
    ];
    let rows = [
        (S::Idle, E::Run, S::Opening, Effect::Open),
        (S::Idle, E::Recover, S::Deciding, Effect::Log(Abort)),
        (S::Opening, events[2], S::Preparing { prepared: none }, Effect::Prepare),
        (states[2], E::Voted(0, Vote::Yes), S::Deciding, Effect::Log(Commit)),
        (states[2], E::Voted(0, Vote::No), S::Deciding, Effect::Log(Abort)),
        (
            S::Deciding,
            E::Decided(Commit),
            S::Telling { decision: Commit, heard: none, contrary: none },
            Effect::Tell(Commit),
        ),
        (telling, E::Acknowledged(0, Commit), ending, Effect::End),
        (
            telling,
            E::Acknowledged(0, Abort),
            S::Ending { decision: Commit, contrary: members(&[0]) },
            Effect::End,
        ),
    ];
    let quiet = [
        (S::Opening, E::Opened { fresh: false }, S::Refused),
        (ending, E::Closed, S::Ended { decision: Commit, contrary: none }),
    ];
    let protocol = Protocol::new(2);
    for state in states {
        for event in events {
            let row = rows.iter().find(|row| (row.0, row.1) == (state, event));
            let still = quiet.iter().find(|row| (row.0, row.1) == (state, event));
            let expected = match (row, still) {
                (Some(row), _) => (row.2, Some(row.3)),
                (None, Some(still)) => (still.2, None),
                (None, None) => (state, None),
            };
            assert_eq!(protocol.step(state, event), expected, "{state:?} × {event:?}");
        }
    }
}

#[test]
fn a_contrary_participant_shows_before_the_others_have_answered() {
    let none = Members::default();
    let telling = S::Telling { decision: Commit, heard: none, contrary: none };
    assert_eq!(telling.outcome(), Outcome::Committed);
    let (state, _) = Protocol::new(2).step(telling, E::Acknowledged(1, Abort));
    assert_eq!(state.outcome(), Outcome::Mixed(Commit));
    let (state, effect) = Protocol::new(2).step(state, E::Acknowledged(0, Commit));
    assert_eq!((state.outcome(), effect), (Outcome::Mixed(Commit), Some(Effect::End)));
}

#[test]
fn nobody_is_prepared_and_told_at_once() {
    let protocol = Protocol::new(0);
    let (state, effect) = protocol.step(S::Opening, E::Opened { fresh: true });
    assert_eq!((state, effect), (S::Deciding, Some(Effect::Log(Commit))));
    let (_, effect) = protocol.step(state, E::Decided(Commit));
    assert_eq!(effect, Some(Effect::End));
}

#[test]
fn sixty_four_are_counted_and_no_more() {
    let all = Members::first(MOST);
    assert_eq!(Members::first(70), all);
    assert!(all.has(63) && !all.has(64));
    assert_eq!(Members::default().with(64), Members::default());
    assert_eq!((0..MOST).fold(Members::default(), Members::with), all);
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let decision = || prop_oneof![Just(Commit), Just(Abort)];
    let event = prop_oneof![
        1 => Just(E::Run),
        1 => Just(E::Recover),
        2 => any::<bool>().prop_map(|fresh| E::Opened { fresh }),
        6 => (0..3_usize, prop_oneof![5 => Just(Vote::Yes), 1 => Just(Vote::No)])
            .prop_map(|(place, vote)| E::Voted(place, vote)),
        2 => decision().prop_map(E::Decided),
        6 => (0..3_usize, decision()).prop_map(|(place, done)| E::Acknowledged(place, done)),
        1 => Just(E::Closed),
    ];
    prop::collection::vec(event, 0..40)
}

proptest! {
    /// Whatever is heard in whatever order: by the plain words of the protocol.
    #[test]
    fn keeps_its_word(events in events()) {
        let protocol = Protocol::new(3);
        let mut state = S::Idle;
        let (mut yes, mut acknowledged) = ([false; 3], [false; 3]);
        let (mut asked, mut decided) = (false, None);
        for event in events {
            let before = state;
            let (next, effect) = protocol.step(state, event);
            state = next;
            match event {
                E::Voted(place, Vote::Yes) if asked && before != state => yes[place] = true,
                E::Decided(decision) if before == S::Deciding => decided = Some(decision),
                E::Acknowledged(place, _) if decided.is_some() => acknowledged[place] = true,
                _ => {}
            }
            match effect {
                Some(Effect::Prepare) => asked = true,
                Some(Effect::Log(Commit)) => prop_assert_eq!(yes, [true; 3]),
                Some(Effect::Tell(told)) => prop_assert_eq!(decided, Some(told)),
                Some(Effect::End) => prop_assert_eq!(acknowledged, [true; 3]),
                Some(Effect::Log(Abort) | Effect::Open) | None => {}
            }
            prop_assert_eq!(state.outcome() == Outcome::InDoubt, decided.is_none());
        }
    }
}
