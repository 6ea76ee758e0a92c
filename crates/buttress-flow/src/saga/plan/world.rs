//! A plan that is followed in a naive world, in which effects are counted and processes die.

use proptest::prelude::*;

use super::{Kind::*, *};

/// What the services do each time they are asked, in turn.
#[derive(Clone, Copy, Debug)]
enum Luck {
    Works,
    Fails,
    /// The call was made, and nobody heard of it again. Asked once more, it turns out that it worked.
    Vanishes,
    /// The process dies before what came of it is known.
    Crashes,
}

/// What is durable: the naive world in which effects are counted.
#[derive(Default)]
struct Ledger {
    done: Vec<bool>,
    failed: Vec<bool>,
    begun: Vec<bool>,
    undone: Vec<u32>,
    turned: Option<usize>,
}

fn kinds() -> impl Strategy<Value = Vec<Kind>> {
    let back = prop::collection::vec(prop_oneof![3 => Just(Undoable), 1 => Just(Harmless)], 0..5);
    (back, any::<bool>(), 0..3_usize).prop_map(|(mut kinds, pivot, forward)| {
        kinds.extend(pivot.then_some(Pivot));
        kinds.extend(vec![Retriable; forward]);
        kinds
    })
}

proptest! {
    /// Every effect is there when the saga is completed, is undone exactly once when it is
    /// compensated, and is told of otherwise.
    #[test]
    fn every_effect_is_accounted_for(
        kinds in kinds(),
        luck in prop::collection::vec(prop_oneof![
            6 => Just(Luck::Works), 2 => Just(Luck::Fails), 1 => Just(Luck::Vanishes), 2 => Just(Luck::Crashes),
        ], 0..60),
    ) {
        let count = kinds.len();
        let mut ledger = Ledger {
            done: vec![false; count], failed: vec![false; count], begun: vec![false; count],
            undone: vec![0; count], turned: None,
        };
        let mut luck = luck.into_iter();
        let mut plan = Plan::new(kinds.clone(), None);
        let mut ends = None;
        for _ in 0..400 {
            let next = plan.next();
            // Once luck has run out everything works.
            let luck = match next {
                Next::End(_) | Next::Stop(_) => Luck::Works,
                _ => luck.next().unwrap_or(Luck::Works),
            };
            let crashed = matches!(luck, Luck::Crashes);
            match next {
                Next::Act(step) => {
                    prop_assert!(ledger.turned.is_none_or(|turned| step < turned));
                    // Nothing new is begun unless all before it is done.
                    prop_assert!(ledger.done[..step].iter().all(|done| *done));
                    let news = if ledger.done[step] {
                        News::Done
                    } else if ledger.failed[step] {
                        News::Failed
                    } else {
                        prop_assert!(ledger.turned.is_none(), "nothing new after the turn");
                        match luck {
                            Luck::Works => { ledger.done[step] = true; News::Done }
                            // A retriable one is asked again next time.
                            Luck::Fails if kinds[step] == Retriable => News::Failed,
                            // After a doubt the same key is told what became of it.
                            Luck::Fails if ledger.begun[step] => { ledger.done[step] = true; News::Done }
                            Luck::Fails => { ledger.failed[step] = true; News::Failed }
                            Luck::Vanishes | Luck::Crashes => { ledger.begun[step] = true; News::InDoubt }
                        }
                    };
                    plan.hear(step, news);
                }
                Next::Turn(step) => {
                    prop_assert!(!ledger.done[step]);
                    ledger.turned = Some(step);
                    plan.hear(step, News::Turned);
                }
                Next::Undo(step) => {
                    prop_assert!(ledger.turned.is_some() && kinds[step] == Undoable);
                    // In reverse: all that was done later was undone before.
                    let mut later = (step + 1..count)
                        .filter(|later| ledger.done[*later] && kinds[*later] == Undoable);
                    prop_assert!(later.all(|later| ledger.undone[later] == 1));

                    let news = match luck {
                        _ if ledger.undone[step] == 1 => News::Undone,
                        Luck::Works => { ledger.undone[step] += 1; News::Undone }
                        Luck::Fails | Luck::Vanishes | Luck::Crashes => News::NotUndone,
                    };
                    plan.hear(step, news);
                }
                Next::End(outcome) => { ends = Some(outcome); break; }
                Next::Stop(outcome) => {
                    // Told of, and resumed later.
                    let standings: Vec<_> = plan.standings().collect();
                    let told = match outcome {
                        Outcome::InDoubt => standings.contains(&Standing::InDoubt),
                        _ => standings.contains(&Standing::Stuck)
                            || standings.contains(&Standing::CompensationStuck),
                    };
                    prop_assert!(told);
                    plan = Plan::new(kinds.clone(), ledger.turned);
                }
            }
            if crashed {
                plan = Plan::new(kinds.clone(), ledger.turned);
            }
        }
        match ends {
            Some(Outcome::Completed) => {
                prop_assert!(ledger.done.iter().all(|done| *done));
                prop_assert!(ledger.undone.iter().all(|undone| *undone == 0));
            }
            Some(Outcome::Compensated) => {
                for (step, kind) in kinds.iter().enumerate() {
                    let undo = ledger.done[step] && *kind == Undoable;
                    prop_assert_eq!(ledger.undone[step], u32::from(undo));
                    prop_assert!(!(ledger.done[step] && *kind == Pivot));
                }
            }
            other => prop_assert!(false, "it came to no end: {:?}", other),
        }
    }
}
