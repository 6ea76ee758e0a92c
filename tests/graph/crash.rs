//! Runs that are killed, and only in part done again.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
    time::Duration,
};

use buttress::{
    Fault as _, Kind,
    checkpoint::{Effects, Halt},
    store::{Journal, Life, MemoryStore, StepId, Store, StoreError},
};
use buttress_flow::graph::{DurableGraph, END, FanOut, Graph, Run, RunError};
use tower::{BoxError, ServiceExt, service_fn};

use super::{Path, words, world::*};
use crate::{
    faulty::{Fault, Faulty},
    support::{poll_once, slow::SlowStore},
};

/// Killed at every point at which it waits, and resumed: the end is the same, under the same keys, and what was
/// recorded is not done again.
#[tokio::test(start_paused = true)]
async fn killed_anywhere_it_ends_as_if_it_had_not_been() {
    for polls in 1.. {
        let (store, world) = (SlowStore::new(), World::default());
        let joins = Arc::new(AtomicU32::new(0));
        let graph = |owner: &str| {
            let joins = joins.clone();
            let seen = FanOut::new(move |path: Path, branches: Vec<Path>| {
                joins.fetch_add(1, Ordering::Relaxed);
                assert_eq!(branches.len(), 3, "each branch once");
                path.into_iter()
                    .chain(branches.into_iter().filter_map(|mut path| path.pop()))
                    .collect()
            });
            let fan = seen
                .keyed_step("p", RETRY, world.node("p"))
                .keyed_step("q", Effects::ReadOnly, world.node("q"))
                .keyed_step("r", Effects::Idempotent, world.node("r"));
            let inner = rich(&world);
            let graph = Graph::new("outer")
                .nest("n", inner)
                .fan_out("g", fan)
                .edge("n", "g")
                .route("g", |path: &Path| path.len() > 12, [(true, END), (false, "g")])
                .build()
                .unwrap();
            let journal = Journal::new(store.clone()).owner(owner).ttl(LEASE);
            graph.durable(journal).unwrap()
        };
        let mut first = Box::pin(graph("one").oneshot(Run::new("w", Path::new())));
        let mut done = false;
        for _ in 0..polls {
            if poll_once(first.as_mut()).await.is_ready() {
                done = true;
                break;
            }
        }
        drop(first);
        let recorded = steps(&store.memory, "w").await;
        let (before, joined) = (world.calls.lock().unwrap().clone(), joins.load(Ordering::Relaxed));
        tokio::time::advance(LEASE).await;
        let path = graph("two").oneshot(Run::new("w", Path::new())).await.unwrap();
        let expected = [&RICH[..], &["p", "q", "r", "p", "q", "r"]].concat();
        assert_eq!(words(&path), expected, "killed after {polls} polls");
        for (step, keys) in &*world.keys.lock().unwrap() {
            assert_eq!(keys.len(), 1, "{step} after {polls} polls");
        }
        let after = world.calls.lock().unwrap().clone();
        for step in &recorded {
            assert_eq!(before.get(step), after.get(step), "{step} after {polls} polls");
        }
        let under_way = before.keys().filter(|step| !recorded.contains(step)).count() as u32;
        assert_eq!(after.values().sum::<u32>(), 13 + under_way, "after {polls} polls");
        let (first, second) = (recorded.contains(&"g".into()), recorded.contains(&"g#2".into()));
        let again = joins.load(Ordering::Relaxed) - joined;
        assert_eq!(again, 2 - u32::from(first) - u32::from(second), "after {polls} polls");
        if done {
            assert!(polls > 60, "{polls}");
            break;
        }
    }
}

/// At every point at which a run waits, for as long as one poll, the store fails; then it goes on, and is
/// run again if it has failed.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_any_point_costs_no_result() {
    for fault in [Fault::Down, Fault::AnswersLost] {
        let mut failures = 0;
        for polls in 0.. {
            let (memory, world) = (MemoryStore::new(), World::default());
            let store = Faulty::new(memory.clone());
            let journal = Journal::new(store.clone()).owner("one").ttl(LEASE);
            let graph = rich(&world).durable(journal).unwrap();
            let mut run = Box::pin(graph.clone().oneshot(Run::new("w", Path::new())));
            let mut outcome = Poll::Pending;
            for _ in 0..polls {
                if outcome.is_pending() {
                    outcome = poll_once(run.as_mut()).await;
                }
            }
            let done = outcome.is_ready();
            if !done {
                store.set(fault);
                outcome = poll_once(run.as_mut()).await;
                store.set(Fault::None);
            }
            let outcome = match outcome {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => run.await,
            };
            let recorded = steps(&memory, "w").await;
            let before = world.calls.lock().unwrap().clone();
            let path = match outcome {
                Ok(path) => path,
                Err(error) => {
                    failures += 1;
                    let verdict = error.verdict();
                    assert_eq!(verdict.kind, Kind::Transient, "{error} after {polls} polls");
                    graph.oneshot(Run::new("w", Path::new())).await.unwrap()
                }
            };
            assert_eq!(words(&path), RICH, "{fault:?} after {polls} polls");
            let after = world.calls.lock().unwrap().clone();
            for step in &recorded {
                assert_eq!(before.get(step), after.get(step), "{step}: {fault:?}, {polls} polls");
            }
            assert!(world.keys.lock().unwrap().values().all(|keys| keys.len() == 1));
            assert_eq!(memory.verify(&id("w")).await.unwrap().findings, []);
            if done {
                break;
            }
        }
        assert!(failures > 5, "{failures}");
    }
}

/// Paused at every point at which it waits, for longer than its lease lasts, while another does all of it.
#[tokio::test(start_paused = true)]
async fn one_that_was_overtaken_anywhere_changes_nothing() {
    let mut late = 0;
    for polls in 1.. {
        let (store, world) = (SlowStore::new(), World::default());
        let graph = |owner: &str| {
            let journal = Journal::new(store.clone()).owner(owner).ttl(LEASE);
            rich(&world).durable(journal).unwrap()
        };
        let mut first = Box::pin(graph("one").oneshot(Run::new("w", Path::new())));
        let mut done = false;
        for _ in 0..polls {
            if poll_once(first.as_mut()).await.is_ready() {
                done = true;
                break;
            }
        }
        if done {
            break;
        }
        tokio::time::advance(LEASE).await;
        let recorded = steps(&store.memory, "w").await;
        let before = world.calls.lock().unwrap().clone();
        let path = graph("two").oneshot(Run::new("w", Path::new())).await.unwrap();
        assert_eq!(words(&path), RICH, "{polls} polls");
        let history = store.memory.history(&id("w"), 0, 1_000).await.unwrap();
        match first.await {
            Ok(path) => assert_eq!(words(&path), RICH, "{polls} polls"),
            Err(error) => {
                late += 1;
                let (Halt::Store(error) | Halt::Unrecorded { error, .. }) = halt(&error) else {
                    unreachable!("{error} after {polls} polls")
                };
                assert!(matches!(error, StoreError::Fenced { .. }), "{error} after {polls} polls");
            }
        }
        assert_eq!(store.memory.history(&id("w"), 0, 1_000).await.unwrap(), history);
        assert_eq!(store.memory.summary(&id("w")).await.unwrap().unwrap().life, Life::Finished);
        let after = world.calls.lock().unwrap().clone();
        for step in &recorded {
            assert_eq!(before.get(step), after.get(step), "{step} after {polls} polls");
        }
        assert!(world.keys.lock().unwrap().values().all(|keys| keys.len() == 1));
    }
    assert!(late > 5, "{late}");
}

#[tokio::test(start_paused = true)]
async fn a_node_in_doubt_is_resolved_as_declared() {
    for (effects, calls) in [(RETRY, 2), (FAIL, 1), (Effects::Idempotent, 2)] {
        let (store, world) = (MemoryStore::new(), World::default());
        let graph = |owner| {
            Graph::new("g")
                .keyed_step("pay", effects, world.node("pay"))
                // That it is in doubt is not for the state to know.
                .catch("pay", |_, error| vec![format!("caught {error}")])
                .edge("pay", END)
                .build()
                .unwrap()
                .durable(journal(&store, owner))
                .unwrap()
        };
        world.hangs.store(true, Ordering::Relaxed);
        let first = graph("one").oneshot(Run::new("w", Path::new()));
        tokio::time::timeout(Duration::from_secs(1), first).await.unwrap_err();
        world.hangs.store(false, Ordering::Relaxed);
        tokio::time::advance(LEASE).await;

        let outcome = graph("two").oneshot(Run::new("w", Path::new())).await;
        assert_eq!(world.calls("pay"), calls, "{effects:?}");
        match effects {
            FAIL => {
                let error = outcome.unwrap_err();
                let in_doubt = Halt::InDoubt { step: StepId::new("pay"), attempt: 1 };
                assert_eq!(halt(&error), &in_doubt);
                assert_eq!(RunError::of(&*error).unwrap().path(), "pay");
                assert_eq!(error.verdict().kind, Kind::Permanent);
            }
            _ => assert_eq!(words(&outcome.unwrap()), ["pay"]),
        }
        assert_eq!(world.keys.lock().unwrap().values().map(BTreeSet::len).max(), Some(1));
    }
}

fn orchestrator(
    store: &MemoryStore,
    owner: &'static str,
    fan: FanOut<Path, BoxError>,
) -> DurableGraph<Path, BoxError> {
    let graph = Graph::new("g").fan_out("ask", fan).edge("ask", END).build().unwrap();
    graph.durable(journal(store, owner)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn only_the_failed_branch_runs_again() {
    let (store, world) = (MemoryStore::new(), World::default());
    let fan = || {
        FanOut::new(|_: Path, branches: Vec<Path>| branches.concat())
            .keyed_step("a", Effects::ReadOnly, world.node("a"))
            .keyed_step("b", RETRY, world.node("b"))
            .step(
                "slow",
                Effects::ReadOnly,
                service_fn(async |path: Path| {
                    tokio::time::sleep(Duration::from_secs(9)).await;
                    Ok([path, vec!["slow".into()]].concat())
                }),
            )
    };
    world.set_down(&["a"]);
    let error = orchestrator(&store, "one", fan()).oneshot(Run::new("w", Path::new())).await;
    assert_eq!(RunError::of(&*error.unwrap_err()).unwrap().path(), "ask/a");
    // The others were let finish, since their results are kept.
    let mut done = steps(&store, "w").await;
    done.sort();
    assert_eq!(done, ["ask/b", "ask/slow", "start"]);

    tokio::time::advance(LEASE).await;
    world.set_down(&["b"]);
    let path = orchestrator(&store, "two", fan()).oneshot(Run::resume("w")).await.unwrap();
    assert_eq!(words(&path), ["a", "b", "slow"]);
    assert_eq!((world.calls("a"), world.calls("b")), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_join_that_made_do_without_a_branch_is_kept_and_one_in_doubt_is_not_made_do_without() {
    let (store, world) = (MemoryStore::new(), World::default());
    let joins = Arc::new(AtomicU32::new(0));
    let fan = || {
        let joins = joins.clone();
        FanOut::settled(move |path: Path, outcomes: Vec<Result<Path, BoxError>>| {
            joins.fetch_add(1, Ordering::Relaxed);
            Ok(path.into_iter().chain(outcomes.into_iter().flatten().flatten()).collect())
        })
        .keyed_step("a", Effects::ReadOnly, world.node("a"))
        .keyed_step("pay", FAIL, world.node("pay"))
    };
    world.set_down(&["a"]);
    let graph = orchestrator(&store, "one", fan());
    assert_eq!(words(&graph.oneshot(Run::new("v", Path::new())).await.unwrap()), ["pay"]);
    world.set_down(&[]);
    let graph = orchestrator(&store, "two", fan());
    assert_eq!(words(&graph.oneshot(Run::resume("v")).await.unwrap()), ["pay"]);
    assert_eq!(joins.load(Ordering::Relaxed), 1);

    world.hangs.store(true, Ordering::Relaxed);
    let killed = orchestrator(&store, "one", fan()).oneshot(Run::new("w", Path::new()));
    tokio::time::timeout(Duration::from_secs(1), killed).await.unwrap_err();
    world.hangs.store(false, Ordering::Relaxed);
    tokio::time::advance(LEASE).await;
    let graph = orchestrator(&store, "two", fan());
    let error = graph.oneshot(Run::resume("w")).await.unwrap_err();
    assert!(matches!(halt(&error), Halt::InDoubt { .. }), "{error}");
    assert_eq!(RunError::of(&*error).unwrap().path(), "ask/pay");
    assert_eq!(joins.load(Ordering::Relaxed), 1);
}
