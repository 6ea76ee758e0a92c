//! Runs that go on with another input, another type of state, or another graph.

use buttress::{
    CheckpointLayer, Fault, Kind,
    checkpoint::{Effects, Halt, Step},
    store::{MemoryStore, StepId, Store, StoreError},
};
use buttress_flow::graph::{Draft, END, FanOut, Graph, Run, RunError};
use tower::{BoxError, Layer, ServiceExt, service_fn};

use super::{Path, words, world::*};

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

/// How a graph looks, from its charge to what comes then.
type Draw = fn(Draft<Path, BoxError>, &World) -> Draft<Path, BoxError>;

/// Runs a graph until `ship` is down, and another after it, for which all is up.
async fn changed(before: Draw, after: Draw) -> (Result<Path, BoxError>, World) {
    let (store, world) = (MemoryStore::new(), World::default());
    let graph = |draw: Draw| {
        let graph = draw(Graph::new("order"), &world).build().unwrap();
        graph.durable(journal(&store, "one")).unwrap()
    };
    world.set_down(&["ship"]);
    graph(before).oneshot(Run::new("w", Path::new())).await.unwrap_err();
    world.set_down(&[]);
    let outcome = graph(after).oneshot(Run::resume("w")).await;
    let again = graph(after).oneshot(Run::new("w", Path::new())).await;
    assert_eq!(outcome.is_ok(), again.is_ok());
    if outcome.is_err() {
        // Whoever has the graph that it was begun with can go on.
        graph(before).oneshot(Run::resume("w")).await.unwrap();
    }
    (outcome, world)
}

fn plain(draft: Draft<Path, BoxError>, world: &World) -> Draft<Path, BoxError> {
    draft
        .keyed_step("charge", RETRY, world.node("charge"))
        .keyed_step("ship", RETRY, world.node("ship"))
        .edge("charge", "ship")
        .edge("ship", END)
}

fn step_of(outcome: Result<Path, BoxError>) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.verdict().kind, Kind::Permanent, "{error}");
    let mut causes = std::iter::successors(Some(&*error as &dyn std::error::Error), |e| e.source());
    let changed = causes.find_map(|error| match error.downcast_ref() {
        Some(RunError::Changed { step, .. }) => Some(step.clone()),
        _ => None,
    });
    changed.expect("the graph has changed")
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_done_and_has_another_name_now_is_not_done_under_that() {
    let renamed: Draw = |draft, world| {
        draft
            .keyed_step("pay", RETRY, world.node("pay"))
            .keyed_step("ship", RETRY, world.node("ship"))
            .edge("pay", "ship")
            .edge("ship", END)
    };
    let (outcome, world) = changed(plain, renamed).await;
    assert_eq!(
        outcome.as_ref().unwrap_err().to_string(),
        "graph `order` has changed since the run began: `charge` was recorded, and is not on its \
         way any more"
    );
    assert_eq!(step_of(outcome), "charge");
    assert_eq!((world.calls("charge"), world.calls("pay")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fork_at_a_version_before_the_change_goes_on_with_it() {
    let (store, world) = (MemoryStore::new(), World::default());
    let graph = |name: &'static str| {
        let graph = Graph::new("order")
            .keyed_step("plan", RETRY, world.node("plan"))
            .keyed_step(name, RETRY, world.node(name))
            .keyed_step("ship", RETRY, world.node("ship"))
            .edge("plan", name)
            .edge(name, "ship")
            .edge("ship", END);
        graph.build().unwrap().durable(journal(&store, "one")).unwrap()
    };
    world.set_down(&["ship"]);
    graph("charge").oneshot(Run::new("w", Path::new())).await.unwrap_err();
    world.set_down(&[]);
    let plan = store.latest(&id("w"), Some(&"plan".into())).await.unwrap().unwrap();
    store.fork(&id("w"), plan.record.version, &id("v")).await.unwrap();
    assert_eq!(step_of(graph("pay").oneshot(Run::resume("w")).await), "charge");
    let path = graph("pay").oneshot(Run::resume("v")).await.unwrap();
    assert_eq!(words(&path), ["plan", "pay", "ship"]);
    assert_eq!(["plan", "charge", "pay"].map(|name| world.calls(name)), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_were_done_and_are_gone_or_come_later_are_told() {
    let gone: Draw = |draft, world| {
        draft
            .keyed_step("pack", RETRY, world.node("pack"))
            .keyed_step("ship", RETRY, world.node("ship"))
            .edge("pack", "ship")
            .edge("ship", END)
    };
    let (outcome, world) = changed(plain, gone).await;
    assert_eq!(step_of(outcome), "charge");
    assert_eq!(world.calls("pack"), 0);
    let later: Draw = |draft, world| {
        draft
            .keyed_step("pack", RETRY, world.node("pack"))
            .keyed_step("charge", RETRY, world.node("charge"))
            .keyed_step("ship", RETRY, world.node("ship"))
            .edge("pack", "charge")
            .edge("charge", "ship")
            .edge("ship", END)
    };
    let (outcome, world) = changed(plain, later).await;
    assert_eq!(step_of(outcome), "charge");
    assert_eq!(world.calls("pack"), 0);
    // The end comes too early.
    let early: Draw =
        |draft, world| draft.keyed_step("charge", RETRY, world.node("charge")).edge("charge", END);
    let (outcome, _) = changed(plain, early).await;
    assert_eq!(step_of(outcome), "ship");
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_beyond_where_the_run_was_is_taken_as_it_is_now() {
    let longer: Draw = |draft, world| {
        draft
            .keyed_step("charge", RETRY, world.node("charge"))
            .keyed_step("ship", RETRY, world.node("ship"))
            .keyed_step("thank", RETRY, world.node("thank"))
            .edge("charge", "ship")
            .edge("ship", "thank")
            .edge("thank", END)
    };
    let (outcome, world) = changed(plain, longer).await;
    assert_eq!(words(&outcome.unwrap()), ["charge", "ship", "thank"]);
    assert_eq!(world.calls("charge"), 1);
}

fn fan(
    draft: Draft<Path, BoxError>,
    world: &World,
    names: [&'static str; 2],
) -> Draft<Path, BoxError> {
    let all = FanOut::new(|_: Path, paths: Vec<Path>| paths.concat());
    let all =
        names.into_iter().fold(all, |fan, name| fan.keyed_step(name, RETRY, world.node(name)));
    let inner = Graph::new("inner").fan_out("f", all).edge("f", END).build().unwrap();
    draft.nest("n", inner).edge("n", END)
}

#[tokio::test(start_paused = true)]
async fn branches_of_graphs_within_are_held_to_the_same() {
    let before: Draw = |draft, world| fan(draft, world, ["charge", "ship"]);
    let after: Draw = |draft, world| fan(draft, world, ["pay", "ship"]);
    let (outcome, world) = changed(before, after).await;
    assert_eq!(RunError::of(&**outcome.as_ref().unwrap_err()).unwrap().path(), "n/f/charge");
    assert_eq!(step_of(outcome), "charge");
    assert_eq!((world.calls("charge"), world.calls("pay")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn steps_of_others_in_the_workflow_are_nobodys_business() {
    let (store, world) = (MemoryStore::new(), World::default());
    let journal = journal(&store, "one");
    let step = |name: &str| {
        let layer = CheckpointLayer::new(journal.clone(), RETRY);
        layer.layer(world.node("other")).oneshot(Step::new("w", name, Path::new()))
    };
    let graph = |draw: Draw| {
        draw(Graph::new("order"), &world).build().unwrap().durable(journal.clone()).unwrap()
    };
    step("before").await.unwrap();
    world.set_down(&["ship"]);
    graph(plain).oneshot(Run::new("w", Path::new())).await.unwrap_err();
    world.set_down(&[]);
    step("since").await.unwrap();
    let more: Draw = |draft, world| {
        draft
            .keyed_step("charge", RETRY, world.node("charge"))
            .keyed_step("pack", RETRY, world.node("pack"))
            .keyed_step("ship", RETRY, world.node("ship"))
            .edge("charge", "ship")
            .edge("ship", "pack")
            .edge("pack", END)
    };
    let path = graph(more).oneshot(Run::resume("w")).await.unwrap();
    assert_eq!(words(&path), ["charge", "ship", "pack"]);
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_is_answered_whatever_became_of_the_graph() {
    let (store, world) = (MemoryStore::new(), World::default());
    let graph = |draft: Draft<Path, BoxError>| {
        draft.build().unwrap().durable(journal(&store, "one")).unwrap()
    };
    graph(plain(Graph::new("order"), &world)).oneshot(Run::new("w", Path::new())).await.unwrap();
    let other = Graph::new("other").keyed_step("pay", RETRY, world.node("pay")).edge("pay", END);
    let path = graph(other).oneshot(Run::resume("w")).await.unwrap();
    assert_eq!(words(&path), ["charge", "ship"]);
    assert_eq!(world.calls("pay"), 0);
}
