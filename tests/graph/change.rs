//! Runs that go on with another input, another type of state, or another graph.

use buttress::{
    CheckpointLayer, Fault, Kind,
    checkpoint::{Effects, Halt, Step},
    store::{MemoryStore, StepId, Store, StoreError},
};
use buttress_flow::graph::{END, FanOut, Graph, Run, RunError};
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

/// Nodes one after another.
fn chain(world: &World, names: &[&'static str]) -> Graph<Path, BoxError> {
    let graph = Graph::new("order");
    let graph =
        names.iter().fold(graph, |graph, name| graph.keyed_step(*name, RETRY, world.node(name)));
    let next = names.iter().skip(1).chain(&[END]);
    names.iter().zip(next).fold(graph, |graph, (name, to)| graph.edge(*name, *to)).build().unwrap()
}

/// Runs a graph until `ship` is down, and another after it, for which all is up.
async fn changed(
    before: impl Fn(&World) -> Graph<Path, BoxError>,
    after: impl Fn(&World) -> Graph<Path, BoxError>,
) -> (Result<Path, BoxError>, World) {
    let (store, world) = (MemoryStore::new(), World::default());
    let kept = |graph: Graph<Path, BoxError>| graph.durable(journal(&store, "one")).unwrap();
    world.set_down(&["ship"]);
    kept(before(&world)).oneshot(Run::new("w", Path::new())).await.unwrap_err();
    world.set_down(&[]);
    let outcome = kept(after(&world)).oneshot(Run::resume("w")).await;
    let again = kept(after(&world)).oneshot(Run::new("w", Path::new())).await;
    assert_eq!(outcome.is_ok(), again.is_ok());
    if outcome.is_err() {
        // Whoever has the graph that it was begun with can go on.
        kept(before(&world)).oneshot(Run::resume("w")).await.unwrap();
    }
    (outcome, world)
}

/// The same of nodes one after another, which were a charge and a shipment.
async fn changed_to(names: &[&'static str]) -> (Result<Path, BoxError>, World) {
    changed(|world| chain(world, &["charge", "ship"]), |world| chain(world, names)).await
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
    let (outcome, world) = changed_to(&["pay", "ship"]).await;
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
        chain(&world, &["plan", name, "ship"]).durable(journal(&store, "one")).unwrap()
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
    for (names, gone) in [
        (&["pack", "ship"][..], "charge"),
        (&["pack", "charge", "ship"], "charge"),
        // The end comes too early.
        (&["charge"], "ship"),
    ] {
        let (outcome, world) = changed_to(names).await;
        assert_eq!(step_of(outcome), gone, "{names:?}");
        assert_eq!(world.calls("pack"), 0, "{names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_beyond_where_the_run_was_is_taken_as_it_is_now() {
    let (outcome, world) = changed_to(&["charge", "ship", "thank"]).await;
    assert_eq!(words(&outcome.unwrap()), ["charge", "ship", "thank"]);
    assert_eq!(world.calls("charge"), 1);
}

#[tokio::test(start_paused = true)]
async fn branches_of_graphs_within_are_held_to_the_same() {
    let graph = |world: &World, names: [&'static str; 2]| {
        let all = FanOut::new(|_: Path, paths: Vec<Path>| paths.concat());
        let branch = |fan: FanOut<_, _>, name| fan.keyed_step(name, RETRY, world.node(name));
        let all = names.into_iter().fold(all, branch);
        let inner = Graph::new("inner").fan_out("f", all).edge("f", END).build().unwrap();
        Graph::new("order").nest("n", inner).edge("n", END).build().unwrap()
    };
    let before = |world: &World| graph(world, ["charge", "ship"]);
    let (outcome, world) = changed(before, |world| graph(world, ["pay", "ship"])).await;
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
    let graph = |names: &[&'static str]| chain(&world, names).durable(journal.clone()).unwrap();
    step("before").await.unwrap();
    world.set_down(&["ship"]);
    graph(&["charge", "ship"]).oneshot(Run::new("w", Path::new())).await.unwrap_err();
    world.set_down(&[]);
    step("since").await.unwrap();
    let path = graph(&["charge", "ship", "pack"]).oneshot(Run::resume("w")).await.unwrap();
    assert_eq!(words(&path), ["charge", "ship", "pack"]);
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_is_answered_whatever_became_of_the_graph() {
    let (store, world) = (MemoryStore::new(), World::default());
    let graph =
        |names: &[&'static str]| chain(&world, names).durable(journal(&store, "one")).unwrap();
    graph(&["charge", "ship"]).oneshot(Run::new("w", Path::new())).await.unwrap();
    let path = graph(&["pay"]).oneshot(Run::resume("w")).await.unwrap();
    assert_eq!(words(&path), ["charge", "ship"]);
    assert_eq!(world.calls("pay"), 0);
}
