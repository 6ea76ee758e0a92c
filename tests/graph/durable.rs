//! Graphs whose results are kept.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    Event, Teller,
    checkpoint::{Effects, Halt},
    store::{Journal, Life, MemoryStore, Retention, StepId, Store, StoreError, WorkflowId},
};
use buttress_flow::{
    graph::{END, FanOut, Flaw, Graph, Run, RunError},
    worker::{Task, WorkError, Worker, submit, wait},
};
use serde::{Deserialize, Serialize};
use tokio::task::yield_now;
use tower::{BoxError, ServiceExt, service_fn};

use super::{Path, progress::listen, words, world::*};
use crate::support::poll_once;

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
        let names = ["a", "b", "x", "y", "z"];
        let before = names.map(|name| world.calls(name));
        world.set_down(&[]);
        let graph = rich(&world).durable(journal(&store, "two")).unwrap();
        let path = graph.oneshot(Run::resume("w")).await.unwrap();
        assert_eq!(words(&path), RICH);
        for (name, before) in names.into_iter().zip(before) {
            let again = world.calls(name) - before;
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

/// Submitted as the input of a task, or of the graph itself.
#[tokio::test(start_paused = true)]
async fn the_handler_of_a_worker_runs_it_and_the_worker_ends_it() {
    let (store, world) = (MemoryStore::new(), World::default());
    let journal = Journal::new(store.clone()).ttl(LEASE);
    let graph = rich(&world);
    submit(&journal, "task", &Path::new()).await.unwrap();
    graph.durable(journal.clone()).unwrap().submit("graph", Path::new()).await.unwrap();
    world.set_down(&["y"]);
    let handler = |task: Task| {
        let (graph, world) = (graph.clone(), world.clone());
        async move {
            if task.attempt() > 1 {
                world.set_down(&[]);
            }
            let graph = graph.durable(task.journal().clone())?;
            let id = task.id().to_owned();
            let run = match task.input() {
                Ok(input) => Run::new(id, input),
                Err(WorkError::NoInput { .. }) => Run::resume(id),
                Err(error) => return Err(error.into()),
            };
            graph.oneshot(run).await
        }
    };
    let worker = Worker::new(journal.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let results = async {
        for id in ["task", "graph"] {
            let result = wait::<Path>(&journal, id, Duration::from_secs(1));
            let result = tokio::time::timeout(10 * LEASE, result).await.unwrap().unwrap();
            assert_eq!(words(&result), RICH, "{id}");
            assert_eq!(
                store.summary(&WorkflowId::new("default", id)).await.unwrap().unwrap().life,
                Life::Finished
            );
        }
        stop.send(()).unwrap();
    };
    tokio::join!(worker.run(handler, async move { drop(stopped.await) }), results);
    assert_eq!(["a", "b", "x", "z"].map(|name| world.calls(name)), [4, 4, 2, 2]);
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
