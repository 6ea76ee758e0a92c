//! Graphs whose results are kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    Event, Fault, Kind, Rejection, Teller,
    checkpoint::{Effects, Halt, InDoubt, Step},
    store::{
        IdempotencyKey, Journal, Life, MemoryStore, Retention, Status, StepId, Store, StoreError,
        Version, WorkflowId,
    },
};
use buttress_flow::graph::{Draft, DurableGraph, END, FanOut, Flaw, Graph, Run, RunError};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::task::yield_now;
use tower::{BoxError, Service, ServiceExt, service_fn};

use super::{Path, listen, words};
use crate::support::poll_once;

const RETRY: Effects = Effects::SideEffect(InDoubt::Retry);
const FAIL: Effects = Effects::SideEffect(InDoubt::Fail);
const LEASE: Duration = Duration::from_secs(30);

/// The world: what was done in it, how often, and under which keys. Anything may be down.
#[derive(Clone, Default)]
struct World {
    calls: Arc<Mutex<BTreeMap<&'static str, u32>>>,
    keys: Arc<Mutex<BTreeMap<String, BTreeSet<IdempotencyKey>>>>,
    down: Arc<Mutex<BTreeSet<&'static str>>>,
    hangs: Arc<AtomicBool>,
}

impl World {
    fn node(
        &self,
        name: &'static str,
    ) -> impl Service<Step<Path>, Response = Path, Error = BoxError, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
    + use<> {
        let world = self.clone();
        service_fn(move |step: Step<Path>| {
            let world = world.clone();
            async move {
                yield_now().await;
                *world.calls.lock().unwrap().entry(name).or_default() += 1;
                let which = format!("{}#{}", step.step.name, step.step.occurrence);
                let keys = step.key.into_iter();
                world.keys.lock().unwrap().entry(which).or_default().extend(keys);
                yield_now().await;
                if world.hangs.load(Ordering::Relaxed) {
                    pending::<()>().await;
                }
                match world.down.lock().unwrap().contains(name) {
                    true => Err(format!("{name} is down").into()),
                    false => Ok([step.request, vec![name.to_owned()]].concat()),
                }
            }
        })
    }

    fn set_down(&self, names: &[&'static str]) {
        *self.down.lock().unwrap() = names.iter().copied().collect();
    }

    fn calls(&self, name: &str) -> u32 {
        self.calls.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

fn journal(store: &MemoryStore, owner: &'static str) -> Journal {
    Journal::new(store.clone()).owner(owner).ttl(LEASE)
}

fn id(workflow: &str) -> WorkflowId {
    WorkflowId::new("default", workflow)
}

fn halt(error: &BoxError) -> &Halt {
    let mut error: &(dyn std::error::Error + 'static) = &**error;
    loop {
        if let Some(Rejection::Halted { halt, .. }) = error.downcast_ref() {
            return halt;
        }
        error = error.source().expect("the store has said no");
    }
}

async fn steps(store: &MemoryStore, workflow: &str) -> Vec<String> {
    let history = store.history(&id(workflow), 0, 1_000).await.unwrap();
    let step = |version| match version {
        Version::Intact(record) if record.status == Status::Done => Some(record.step.to_string()),
        Version::Intact(_) => None,
        Version::Damaged(finding) => unreachable!("{finding:?}"),
    };
    history.into_iter().filter_map(step).collect()
}

/// Two of `a`, in a cycle with `b`, then a fan-out, then a graph within.
fn rich(world: &World) -> Graph<Path, BoxError> {
    rich_draft(world).build().unwrap()
}

fn rich_draft(world: &World) -> Draft<Path, BoxError> {
    let inner =
        Graph::new("inner").keyed_step("z", RETRY, world.node("z")).edge("z", END).build().unwrap();
    let fan = FanOut::new(|path: Path, branches: Vec<Path>| {
        path.into_iter().chain(branches.into_iter().filter_map(|mut path| path.pop())).collect()
    });
    Graph::new("rich")
        .keyed_step("a", RETRY, world.node("a"))
        .keyed_step("b", Effects::ReadOnly, world.node("b"))
        .fan_out(
            "f",
            fan.keyed_step("x", RETRY, world.node("x")).keyed_step(
                "y",
                Effects::Idempotent,
                world.node("y"),
            ),
        )
        .nest("n", inner)
        .edge("a", "b")
        .route("b", |path: &Path| path.len() < 4, [(true, "a"), (false, "f")])
        .edge("f", "n")
        .edge("n", END)
}

const RICH: [&str; 7] = ["a", "b", "a", "b", "x", "y", "z"];

#[tokio::test(start_paused = true)]
async fn every_visit_is_a_step_and_the_run_is_finished() {
    let (store, world) = (MemoryStore::new(), World::default());
    let graph = rich(&world).durable(journal(&store, "one")).unwrap();
    let path = graph.clone().oneshot(Run::new("w", Path::new())).await.unwrap();
    assert_eq!(words(&path), RICH);
    let mut done = steps(&store, "w").await;
    // Which branch is recorded first is nobody's business.
    done[5..7].sort();
    let expected = ["start", "a", "b", "a#2", "b#2", "f/x", "f/y", "f", "n/z", "n", "end"];
    assert_eq!(done, expected);
    assert_eq!(store.summary(&id("w")).await.unwrap().unwrap().life, Life::Finished);

    // Once more: all is known, and nobody is called.
    world.set_down(&["a", "b", "x", "y", "z"]);
    let other = rich(&world).durable(journal(&store, "two")).unwrap();
    assert_eq!(words(&other.clone().oneshot(Run::new("w", Path::new())).await.unwrap()), RICH);
    assert_eq!(words(&other.oneshot(Run::resume("w")).await.unwrap()), RICH);
    assert_eq!(["a", "b", "x", "y", "z"].map(|name| world.calls(name)), [2, 2, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn another_process_goes_on_after_the_last_node_that_was_done() {
    for broken in ["b", "x", "y", "z"] {
        let (store, world) = (MemoryStore::new(), World::default());
        world.set_down(&[broken]);
        let graph = rich(&world).durable(journal(&store, "one")).unwrap();
        let error = graph.oneshot(Run::new("w", Path::new())).await.unwrap_err();
        assert!(RunError::of(&*error).unwrap().path().ends_with(broken), "{error}");
        assert_eq!(store.summary(&id("w")).await.unwrap().unwrap().life, Life::Open);

        // The lease of the first is over, and so is everything that was done.
        tokio::time::advance(LEASE).await;
        let before = world.calls.lock().unwrap().clone();
        world.set_down(&[]);
        let graph = rich(&world).durable(journal(&store, "two")).unwrap();
        let path = graph.oneshot(Run::resume("w")).await.unwrap();
        assert_eq!(words(&path), RICH);
        for name in ["a", "b", "x", "y", "z"] {
            let again = world.calls(name) - before.get(name).copied().unwrap_or(0);
            let expected = match name {
                "a" if broken == "b" => 1,
                "b" if broken == "b" => 2,
                "x" | "y" | "z" if broken == "b" => 1,
                "z" => 1,
                name => u32::from(name == broken),
            };
            assert_eq!(again, expected, "{name} after {broken} was down");
        }
    }
}

/// Killed at every point at which it waits, and resumed: the end is the same, under the same keys.
#[tokio::test(start_paused = true)]
async fn killed_anywhere_it_ends_as_if_it_had_not_been() {
    for polls in 1.. {
        let (store, world) = (MemoryStore::new(), World::default());
        let graph = rich(&world).durable(journal(&store, "one")).unwrap();
        let mut first = Box::pin(graph.oneshot(Run::new("w", Path::new())));
        let mut done = false;
        for _ in 0..polls {
            if poll_once(first.as_mut()).await.is_ready() {
                done = true;
                break;
            }
        }
        drop(first);
        if done {
            assert!(polls > 10, "{polls}");
            break;
        }
        tokio::time::advance(LEASE).await;
        let graph = rich(&world).durable(journal(&store, "two")).unwrap();
        let path = graph.oneshot(Run::new("w", Path::new())).await.unwrap();
        assert_eq!(words(&path), RICH, "killed after {polls} polls");
        for (step, keys) in &*world.keys.lock().unwrap() {
            assert_eq!(keys.len(), 1, "{step} after {polls} polls");
        }
        let calls: u32 = ["a", "b", "x", "y", "z"].into_iter().map(|name| world.calls(name)).sum();
        // What was under way, one node or the two branches, is done again.
        assert!((7..=9).contains(&calls), "{calls} calls after {polls} polls");
    }
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

#[tokio::test(start_paused = true)]
async fn what_was_caught_is_kept_and_the_way_taken_with_it() {
    let (store, world) = (MemoryStore::new(), World::default());
    let graph = |owner| {
        Graph::new("g")
            .keyed_step("search", Effects::ReadOnly, world.node("search"))
            .catch("search", |path, _| [path, vec!["no luck".into()]].concat())
            .route(
                "search",
                |path: &Path| path.contains(&"search".into()),
                [(true, "write"), (false, "apologise")],
            )
            .keyed_step("write", Effects::ReadOnly, world.node("write"))
            .keyed_step("apologise", RETRY, world.node("apologise"))
            .edge("write", END)
            .edge("apologise", END)
            .build()
            .unwrap()
            .durable(journal(&store, owner))
            .unwrap()
    };
    world.set_down(&["search", "apologise"]);
    graph("one").oneshot(Run::new("w", Path::new())).await.unwrap_err();
    tokio::time::advance(LEASE).await;
    world.set_down(&[]);
    let path = graph("two").oneshot(Run::resume("w")).await.unwrap();
    assert_eq!(words(&path), ["no luck", "apologise"]);
    assert_eq!(world.calls("write"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_workflow_belongs_to_its_input() {
    let (store, world) = (MemoryStore::new(), World::default());
    let graph = || rich(&world).durable(journal(&store, "one")).unwrap();
    let error = graph().oneshot(Run::resume("w")).await.unwrap_err();
    let unknown = StoreError::NotFound { workflow: id("w"), version: None };
    assert_eq!(halt(&error), &Halt::Store(unknown));

    graph().submit("w", Path::new()).await.unwrap();
    graph().submit("w", Path::new()).await.unwrap();
    let other = graph().submit("w", vec!["other".into()]).await.unwrap_err();
    assert_eq!(other, Halt::Mismatch { step: StepId::new("start") });
    let error = graph().oneshot(Run::new("w", vec!["other".into()])).await.unwrap_err();
    assert_eq!(halt(&error), &other);

    graph().oneshot(Run::resume("w")).await.unwrap();
    let error = graph().oneshot(Run::new("w", vec!["other".into()])).await.unwrap_err();
    assert_eq!(halt(&error), &Halt::Mismatch { step: StepId::new("end") });
    assert_eq!(error.verdict().kind, Kind::Permanent);
}

#[tokio::test(start_paused = true)]
async fn whoever_claims_a_submitted_workflow_runs_it_under_the_lease() {
    let (store, world) = (MemoryStore::new(), World::default());
    let graph = rich(&world);
    graph.durable(store.clone()).unwrap().submit("w", Path::new()).await.unwrap();
    let lease = store.claim("default", &"worker".into(), LEASE).await.unwrap().unwrap();
    let held = graph.durable(Journal::new(store.clone()).held(lease.clone())).unwrap();
    held.oneshot(Run::resume(lease.workflow.workflow.clone())).await.unwrap();
    assert!(store.claim("default", &"other".into(), LEASE).await.unwrap().is_none());

    // One that was taken over is refused at its next step.
    graph.durable(store.clone()).unwrap().submit("v", Path::new()).await.unwrap();
    let late = store.claim("default", &"slow".into(), LEASE).await.unwrap().unwrap();
    tokio::time::advance(LEASE).await;
    store.claim("default", &"quick".into(), LEASE).await.unwrap().unwrap();
    let held = graph.durable(Journal::new(store.clone()).held(late)).unwrap();
    let error = held.oneshot(Run::resume("v")).await.unwrap_err();
    assert!(matches!(halt(&error), Halt::Store(StoreError::Fenced { .. })), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_workflow_runs_once_at_a_time_in_a_process() {
    let (store, world) = (MemoryStore::new(), World::default());
    let graph = rich(&world).durable(journal(&store, "one")).unwrap();
    let mut first = Box::pin(graph.clone().oneshot(Run::new("w", Path::new())));
    assert!(poll_once(first.as_mut()).await.is_pending());
    let error = graph.clone().oneshot(Run::new("w", Path::new())).await.unwrap_err();
    assert_eq!(halt(&error), &Halt::InFlight { step: StepId::new("end") });
    graph.clone().oneshot(Run::new("other", Path::new())).await.unwrap();
    first.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_processes_that_run_the_same_come_to_the_same() {
    let store = MemoryStore::new();
    let calls = Arc::new(AtomicU32::new(0));
    let graph = |owner| {
        let calls = calls.clone();
        // Each call has another answer.
        let node = service_fn(move |path: Path| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            async move {
                yield_now().await;
                Ok::<_, BoxError>([path, vec![call.to_string()]].concat())
            }
        });
        let graph = Graph::new("g")
            .step("a", Effects::Idempotent, node.clone())
            .step("b", Effects::Idempotent, node)
            .edge("a", "b")
            .edge("b", END);
        graph.build().unwrap().durable(journal(&store, owner)).unwrap()
    };
    let run = || Run::new("w", Path::new());
    let (one, other) = tokio::join!(graph("one").oneshot(run()), graph("two").oneshot(run()));
    let path = one.unwrap();
    assert_eq!((other.unwrap(), path.len(), calls.load(Ordering::Relaxed)), (path, 2, 4));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    values: Vec<f64>,
    #[serde(skip)]
    scratch: u32,
}

#[tokio::test(start_paused = true)]
async fn numbers_are_read_back_exactly() {
    let store = MemoryStore::new();
    let graph = |fails: bool| {
        let node = service_fn(async |mut state: Measured| {
            state.scratch = 7;
            // None of these is a short decimal number.
            state.values.extend((1..2_000).map(|n| (f64::from(n) / 7.0).exp().sqrt() / 3.0));
            Ok::<_, BoxError>(state)
        });
        let last = service_fn(move |state: Measured| async move {
            if fails { Err("no".into()) } else { Ok(state) }
        });
        let graph = Graph::new("g")
            .step("a", Effects::ReadOnly, node)
            // Begun before the crash, and again after it: with the same state.
            .step("b", RETRY, last)
            .edge("a", "b")
            .edge("b", END);
        graph.build().unwrap().durable(journal(&store, "one")).unwrap()
    };
    let input = Measured { values: vec![], scratch: 0 };
    graph(true).oneshot(Run::new("w", input.clone())).await.unwrap_err();
    let state = graph(false).oneshot(Run::new("w", input)).await.unwrap();
    assert_eq!((state.values.len(), state.scratch), (1_999, 0));
}

#[tokio::test(start_paused = true)]
async fn effects_must_be_declared_where_results_are_kept() {
    let plain = || service_fn(async |path: Path| Ok::<_, BoxError>(path));
    let inner = Graph::new("inner").node("x", plain()).edge("x", END).build().unwrap();
    let fan = FanOut::new(|path: Path, _| path);
    let graph = Graph::new("g")
        .node("a", plain())
        .fan_out("f", fan.node("b", plain()).step("c", Effects::ReadOnly, plain()))
        .nest("n", inner)
        .edge("a", "f")
        .edge("f", "n")
        .edge("n", END)
        .build()
        .unwrap();
    let error = graph.durable(MemoryStore::new()).unwrap_err();
    let undeclared = |node: &'static str| Flaw::Undeclared { node: node.into() };
    assert_eq!(error.flaws(), ["a", "f/b", "x"].map(undeclared));
    assert!(error.to_string().contains("add it with `step` instead of `node`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_another_version_of_the_state_wrote_is_not_misread() {
    let store = MemoryStore::new();
    let graph = |schema, fails: bool| {
        let last = service_fn(move |path: Path| async move {
            if fails { Err(BoxError::from("no")) } else { Ok(path) }
        });
        let graph = Graph::new("g").step("a", Effects::ReadOnly, last).edge("a", END);
        graph.schema(schema).build().unwrap().durable(store.clone()).unwrap()
    };
    graph(1, true).oneshot(Run::new("w", Path::new())).await.unwrap_err();
    for run in [Run::resume("w"), Run::new("w", Path::new())] {
        let error = graph(2, false).oneshot(run).await.unwrap_err();
        let Halt::Unreadable { found: (1, 1), wanted: (1, 2), .. } = halt(&error) else {
            panic!("{error}")
        };
    }
    graph(1, false).oneshot(Run::resume("w")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rotten_result_of_a_node_that_reads_is_made_again() {
    let (store, world) = (MemoryStore::new(), World::default());
    let graph = || {
        Graph::new("g")
            .keyed_step("a", Effects::ReadOnly, world.node("a"))
            .keyed_step("b", Effects::ReadOnly, world.node("b"))
            .edge("a", "b")
            .edge("b", END)
            .build()
            .unwrap()
            .durable(journal(&store, "one"))
            .unwrap()
    };
    world.set_down(&["b"]);
    graph().oneshot(Run::new("w", Path::new())).await.unwrap_err();
    world.set_down(&[]);
    let a = store.latest(&id("w"), Some(&"a".into())).await.unwrap().unwrap();
    assert!(store.tamper(&id("w"), a.record.version, |bytes| bytes[100] ^= 1));
    assert_eq!(words(&graph().oneshot(Run::resume("w")).await.unwrap()), ["a", "b"]);
    assert_eq!((world.calls("a"), world.calls("b")), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_long_run_is_replayed_though_old_versions_are_dropped() {
    let store = MemoryStore::with_retention(Retention {
        versions: 4.try_into().unwrap(),
        ..Retention::default()
    });
    let calls = Arc::new(AtomicU32::new(0));
    let graph = |breaks_at: u32| {
        let calls = calls.clone();
        let node = service_fn(move |n: u32| {
            calls.fetch_add(1, Ordering::Relaxed);
            async move { if n == breaks_at { Err(BoxError::from("no")) } else { Ok(n + 1) } }
        });
        let graph = Graph::new("g")
            .step("n", Effects::Idempotent, node)
            .route("n", |n: &u32| *n < 200, [(true, "n"), (false, END)])
            .most_visits(1_000);
        graph.build().unwrap().durable(journal(&store, "one")).unwrap()
    };
    graph(150).oneshot(Run::new("w", 0)).await.unwrap_err();
    assert_eq!(graph(999).oneshot(Run::new("w", 0)).await.unwrap(), 200);
    assert_eq!(calls.load(Ordering::Relaxed), 201);
}

#[tokio::test(start_paused = true)]
async fn what_is_replayed_is_told_as_such() {
    let (store, world) = (MemoryStore::new(), World::default());
    let graph = |listen| {
        Graph::new("g")
            .keyed_step("a", Effects::ReadOnly, world.node("a"))
            .keyed_step("b", RETRY, world.node("b"))
            .edge("a", "b")
            .edge("b", END)
            .follow(listen)
            .build()
            .unwrap()
            .durable(journal(&store, "one"))
            .unwrap()
    };
    world.set_down(&["b"]);
    graph(listen().1).oneshot(Run::new("w", Path::new())).await.unwrap_err();
    world.set_down(&[]);
    let (log, follow) = listen();
    graph(follow.clone()).oneshot(Run::resume("w")).await.unwrap();
    graph(follow).oneshot(Run::resume("w")).await.unwrap();
    let log: Vec<_> =
        log.lock().unwrap().iter().filter(|line| !line.contains("started")).cloned().collect();
    let expected = [
        "a 1 replayed",
        "b 1 entered",
        "b 1 left after 0ns",
        "ended after 0ns, 2 steps",
        "end 1 replayed",
    ];
    assert_eq!(log, expected);
}

#[tokio::test(start_paused = true)]
async fn a_graph_within_that_is_visited_twice_does_its_work_twice() {
    let (store, world) = (MemoryStore::new(), World::default());
    let inner = Graph::new("inner").keyed_step("z", RETRY, world.node("z")).edge("z", END);
    let graph = Graph::new("g")
        .nest("n", inner.build().unwrap())
        .route("n", |path: &Path| path.len() < 2, [(true, "n"), (false, END)])
        .build()
        .unwrap()
        .durable(journal(&store, "one"))
        .unwrap();
    assert_eq!(words(&graph.oneshot(Run::new("w", Path::new())).await.unwrap()), ["z", "z"]);
    assert_eq!(steps(&store, "w").await, ["start", "n/z", "n", "n#2/z", "n#2", "end"]);
    let keys: BTreeSet<_> = world.keys.lock().unwrap().values().flatten().copied().collect();
    assert_eq!(keys.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn checkpoints_tell_what_they_do_by_the_names_of_nodes() {
    let (store, world) = (MemoryStore::new(), World::default());
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let graph = rich_draft(&world)
        .observe(move |teller: Teller<'_>, event: &Event| {
            if let Event::Intended { attempt: 1, .. } = event {
                log.lock().unwrap().push(format!("{} {}", teller.pattern, teller.name));
            }
        })
        .build()
        .unwrap()
        .durable(journal(&store, "one"))
        .unwrap();
    graph.oneshot(Run::new("w", Path::new())).await.unwrap();
    let expected = ["checkpoint a", "checkpoint a", "checkpoint f/x", "checkpoint z"];
    assert_eq!(*told.lock().unwrap(), expected);
}

/// A node leads on to the next, or by what the path is like to any other; `ways` past the last are ends.
#[derive(Clone, Debug)]
struct Maze(Vec<(Effects, Vec<usize>)>);

const NAMES: [&str; 5] = ["n0", "n1", "n2", "n3", "n4"];
const MOST: u32 = 12;

impl Maze {
    fn choose(path: &Path, ways: usize) -> usize {
        path.iter().map(|name| name.bytes().map(usize::from).sum::<usize>()).sum::<usize>() % ways
    }

    fn graph(&self, world: &World) -> Graph<Path, BoxError> {
        let mut graph = Graph::new("maze").most_steps(MOST);
        for (place, (effects, ways)) in self.0.iter().enumerate() {
            let name = NAMES[place];
            let count = ways.len();
            let to = |way: &usize| if *way < self.0.len() { NAMES[*way] } else { END };
            let ways: Vec<_> = ways.iter().map(to).enumerate().collect();
            graph = graph.keyed_step(name, *effects, world.node(name)).route(
                name,
                move |path: &Path| Self::choose(path, count),
                ways,
            );
        }
        graph.build().unwrap()
    }

    /// Where a run leads, worked out by hand; `None` if it is too long.
    fn walk(&self) -> Option<Path> {
        let (mut path, mut place) = (Path::new(), 0);
        while let Some((_, ways)) = self.0.get(place) {
            if path.len() == MOST as usize {
                return None;
            }
            path.push(NAMES[place].to_owned());
            place = ways[Self::choose(&path, ways.len())];
        }
        Some(path)
    }
}

fn mazes() -> impl Strategy<Value = Maze> {
    let effects = prop_oneof![Just(RETRY), Just(Effects::ReadOnly), Just(Effects::Idempotent)];
    let node = (effects, prop::collection::vec(0..6_usize, 0..3));
    prop::collection::vec(node, 1..=5).prop_map(|mut nodes| {
        // So that all are reached, and the end is.
        for (place, (_, ways)) in nodes.iter_mut().enumerate() {
            ways.push(place + 1);
        }
        Maze(nodes)
    })
}

proptest! {
    #[test]
    fn however_often_it_is_killed_it_ends_where_it_would_have(
        maze in mazes(),
        kills in prop::collection::vec(1..20_usize, 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (store, world) = (MemoryStore::new(), World::default());
            for polls in &kills {
                let journal = Journal::new(store.clone()).ttl(LEASE);
                let graph = maze.graph(&world).durable(journal).unwrap();
                let mut run = Box::pin(graph.oneshot(Run::new("w", Path::new())));
                for _ in 0..*polls {
                    if poll_once(run.as_mut()).await.is_ready() {
                        break;
                    }
                }
                drop(run);
                tokio::time::advance(LEASE).await;
            }
            let graph = maze.graph(&world).durable(store.clone()).unwrap();
            let path = graph.oneshot(Run::new("w", Path::new())).await;
            match (path, maze.walk()) {
                (Ok(path), Some(expected)) => assert_eq!(path, expected),
                (Err(error), None) => {
                    let run = RunError::of(&*error);
                    assert!(matches!(run, Some(RunError::TooMany { .. })), "{error}");
                }
                (path, expected) => panic!("{path:?}, {expected:?} was expected"),
            }
            let keys = world.keys.lock().unwrap().clone();
            assert!(keys.values().all(|keys| keys.len() == 1), "{keys:?}");
            // Each was done once, but for those that were under way at a kill.
            let calls: u32 = NAMES.into_iter().map(|name| world.calls(name)).sum();
            assert!(calls as usize <= keys.len() + kills.len(), "{calls} calls");
            let audit = store.verify(&id("w")).await.unwrap();
            assert_eq!(audit.findings, []);
        });
    }
}
