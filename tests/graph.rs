//! Workflow graphs: what a caller sees, without a store.

mod branches;
mod change;
mod crash;
mod durable;
mod layers;
mod maze;
mod process;
mod progress;
mod world;

use std::{io, time::Duration};

use buttress::{
    CallError, Effect, Fault, Kind, Rejection, Verdict, checkpoint::Effects, store::MemoryStore,
};
use buttress_flow::graph::{END, FanOut, Flaw, Graph, Run, RunError, Split, Turn};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Service, ServiceExt, service_fn};

use crate::support::poll_once;

const SECOND: Duration = Duration::from_secs(1);

/// Where a run has been.
type Path = Vec<String>;

/// A node that adds its name after a while.
fn node(
    name: &'static str,
    takes: Duration,
) -> impl Service<Path, Response = Path, Error = BoxError, Future: Send> + Clone + Send + Sync + 'static
{
    service_fn(move |mut path: Path| async move {
        if !takes.is_zero() {
            sleep(takes).await;
        }
        path.push(name.to_owned());
        Ok(path)
    })
}

fn broken(
    message: &'static str,
) -> impl Service<Path, Response = Path, Error = BoxError, Future: Send> + Clone + Send + Sync + 'static
{
    service_fn(move |_: Path| std::future::ready(Err::<Path, _>(BoxError::from(message))))
}

fn run_error(error: &BoxError) -> &RunError {
    RunError::of(&**error).expect("it says which node failed")
}

fn words(path: &Path) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

#[tokio::test(start_paused = true)]
async fn edges_lead_from_node_to_node_by_what_the_state_is_like() {
    let graph = Graph::new("g")
        .node("b", node("b", Duration::ZERO))
        .node("a", node("a", SECOND))
        .node("c", node("c", Duration::ZERO))
        .start("a")
        .edge("a", "b")
        .route("b", |path: &Path| path.len(), [(2, "a"), (4, "c"), (9, END)])
        .edge("c", END)
        .build()
        .unwrap();
    let start = Instant::now();
    let path = graph.oneshot(Path::new()).await.unwrap();
    assert_eq!(words(&path), ["a", "b", "a", "b", "c"]);
    assert_eq!(start.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn cycles_end_at_their_bounds() {
    let cycle = || {
        Graph::new("g")
            .node("a", node("a", Duration::ZERO))
            .node("b", node("b", Duration::ZERO))
            .edge("a", "b")
            .route("b", |_: &Path| "on", [("on", "a"), ("never", END)])
    };
    let error = cycle().most_visits(3).build().unwrap().oneshot(Path::new()).await.unwrap_err();
    let RunError::TooOften { node, most: 3, .. } = run_error(&error) else { panic!("{error}") };
    assert_eq!(node.as_str(), "a");
    assert_eq!(error.verdict().kind, Kind::Permanent);
    let error = cycle().most_steps(4).build().unwrap().oneshot(Path::new()).await.unwrap_err();
    assert!(matches!(run_error(&error), RunError::TooMany { most: 4, .. }), "{error}");
    // There is a bound by default.
    let error = cycle().build().unwrap().oneshot(Path::new()).await.unwrap_err();
    assert!(matches!(run_error(&error), RunError::TooOften { most: 25, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_label_without_an_edge_is_an_error() {
    let graph = Graph::new("g")
        .node("a", node("a", Duration::ZERO))
        .route("a", |_: &Path| "left", [("right", END)])
        .build()
        .unwrap();
    let error = graph.oneshot(Path::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "no edge out of node `a` of graph `g` is labelled `left`");
}

#[test]
fn what_does_not_fit_together_is_told_at_once() {
    let flaws = |graph: Result<Graph<Path, BoxError>, _>| -> Vec<Flaw> {
        let error: buttress_flow::graph::GraphError = graph.unwrap_err();
        error.flaws().to_vec()
    };
    assert_eq!(flaws(Graph::new("g").build()), [Flaw::Empty]);
    let unknown = |name: &'static str| Flaw::Unknown { name: name.into() };
    let graph = Graph::new("g")
        .node("a", broken(""))
        .edge("a", "b")
        .edge("c", END)
        .catch("d", |path, _| path)
        .start("e");
    assert_eq!(flaws(graph.build()), ["c", "d", "b", "e"].map(unknown));
    let graph = Graph::new("g")
        .node("a", broken(""))
        .node("a", broken(""))
        .edge("a", END)
        .fan_out("f", FanOut::new(|path, _| path))
        .edge("f", END);
    let expected = [Flaw::Duplicate { name: "a".into() }, Flaw::NoBranches { node: "f".into() }];
    assert_eq!(flaws(graph.build()), expected);
}

#[tokio::test(start_paused = true)]
async fn an_error_says_which_node_failed_and_what_that_means() {
    let refused = service_fn(async |_: Path| {
        Err::<Path, BoxError>(io::Error::from(io::ErrorKind::ConnectionRefused).into())
    });
    let graph = Graph::new("g")
        .node("a", node("a", Duration::ZERO))
        .node("b", refused)
        .edge("a", "b")
        .edge("b", END)
        .build()
        .unwrap();
    let error = graph.oneshot(Path::new()).await.unwrap_err();
    let run = run_error(&error);
    assert_eq!(
        (run.path().as_str(), run.to_string().as_str()),
        ("b", "node `b` of graph `g` failed: connection refused")
    );
    assert!(run.cause::<io::Error>().is_some());
    // Nothing was sent to `b`; but to run the graph again is to run `a` again.
    assert_eq!(error.verdict(), Verdict::transient().with_effect(Effect::Maybe));

    let single = Graph::new("g").node("b", refused).edge("b", END).build().unwrap();
    let error = single.oneshot(Path::new()).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::transient().with_effect(Effect::None));
}

#[tokio::test(start_paused = true)]
async fn errors_of_many_kinds_carry_it() {
    #[derive(Debug)]
    enum Own {
        Busy,
        Rejected(Rejection),
    }
    impl std::fmt::Display for Own {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{self:?}")
        }
    }
    impl std::error::Error for Own {}
    impl From<Rejection> for Own {
        fn from(rejection: Rejection) -> Self {
            Self::Rejected(rejection)
        }
    }
    impl Fault for Own {
        fn verdict(&self) -> Verdict {
            match self {
                Self::Busy => Verdict::throttled(),
                Self::Rejected(rejection) => rejection.verdict(),
            }
        }
    }
    let busy = service_fn(async |_: ()| Err::<(), _>(Own::Busy));
    let graph = Graph::new("g").node("a", busy).edge("a", END).build().unwrap();
    let Err(Own::Rejected(rejection)) = graph.oneshot(()).await else { panic!("it is refused") };
    assert_eq!(rejection.verdict(), Verdict::throttled());
    let run = RunError::of(&rejection).unwrap();
    assert!(matches!(run.cause(), Some(Own::Busy)));

    // A graph needs no `From` of its own: whatever carries a layer's refusal will do.
    let reset = service_fn(async |_: ()| {
        Err::<(), _>(CallError::Service(io::Error::from(io::ErrorKind::ConnectionReset)))
    });
    let graph = Graph::new("g").node("a", reset).edge("a", END).build().unwrap();
    let error = graph.oneshot(()).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::transient());
    assert_eq!(RunError::of(&error).unwrap().path(), "a");
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Search {
    tries: u32,
    answer: Option<u32>,
    error: Option<String>,
    story: Vec<&'static str>,
}

fn search(succeeds_at: u32) -> Graph<Search, BoxError> {
    let tool = service_fn(move |state: Search| async move {
        match state.tries + 1 {
            tries if tries == succeeds_at => Ok(Search { answer: Some(tries), tries, ..state }),
            _ => Err(BoxError::from("no luck")),
        }
    });
    let tell = |word: &'static str| {
        service_fn(move |mut state: Search| async move {
            state.story.push(word);
            Ok::<_, BoxError>(state)
        })
    };
    Graph::new("search")
        .node("search", tool)
        .catch("search", |state: Search, error| Search {
            tries: state.tries + 1,
            error: Some(error.to_string()),
            ..state
        })
        .split(
            "search",
            |state: &Search| match state {
                Search { answer: Some(_), .. } => Turn::Success,
                Search { tries: 0..3, .. } => Turn::Retry,
                _ => Turn::Fail,
            },
            Split { success: "write", retry: "search", fail: "apologise" },
        )
        .node("write", tell("written"))
        .node("apologise", tell("sorry"))
        .edge("write", END)
        .edge("apologise", END)
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn success_retry_and_fail_each_go_their_own_way() {
    let state = search(2).oneshot(Search::default()).await.unwrap();
    assert_eq!((state.tries, &*state.story), (2, &["written"][..]));
    let state = search(9).oneshot(Search::default()).await.unwrap();
    assert_eq!((state.tries, &*state.story), (3, &["sorry"][..]));
    assert_eq!(state.error.as_deref(), Some("no luck"));
}

fn gather() -> FanOut<Path, BoxError> {
    FanOut::new(|path: Path, branches: Vec<Path>| {
        let added = branches.into_iter().map(|branch| branch.concat());
        path.into_iter().chain(added).collect()
    })
}

#[tokio::test(start_paused = true)]
async fn graphs_are_nodes_of_graphs() {
    let inner = || {
        Graph::new("inner")
            .node("x", node("x", Duration::ZERO))
            .node("y", broken("y is down"))
            .route("x", |path: &Path| path.len() > 2, [(true, "y"), (false, END)])
            .edge("y", END)
            .build()
            .unwrap()
    };
    let outer = Graph::new("outer")
        .nest("sub", inner())
        .node("plain", inner())
        .edge("sub", "plain")
        .edge("plain", END)
        .build()
        .unwrap();
    let path = outer.clone().oneshot(Path::new()).await.unwrap();
    assert_eq!(words(&path), ["x", "x"]);
    let error = outer.clone().oneshot(vec!["w".into(); 2]).await.unwrap_err();
    assert_eq!(run_error(&error).path(), "sub/y");
    let error = outer.oneshot(vec!["w".into()]).await.unwrap_err();
    assert_eq!(run_error(&error).path(), "plain/y");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_never_waits_lets_others_run() {
    let graph = Graph::new("g")
        .node("a", service_fn(async |n: u32| Ok::<_, BoxError>(n + 1)))
        .route("a", |n: &u32| *n < 1_000, [(true, "a"), (false, END)])
        .most_visits(u32::MAX)
        .build()
        .unwrap();
    let mut call = Box::pin(graph.oneshot(0));
    assert!(poll_once(call.as_mut()).await.is_pending());
    assert_eq!(call.await.unwrap(), 1_000);
}

#[tokio::test]
async fn a_graph_runs_on_any_thread() {
    fn shared<T: Clone + Send + Sync + std::fmt::Debug>(value: T) -> T {
        value
    }
    let graph = shared(search(2));
    let state = tokio::spawn(graph.clone().oneshot(Search::default())).await.unwrap().unwrap();
    assert_eq!(state.answer, Some(2));
    // In a block too, though its error is a boxed one: see `spawn`.
    let run = tokio::spawn(async move { graph.oneshot(Search::default()).await });
    assert_eq!(run.await.unwrap().unwrap().answer, Some(2));
    let step = service_fn(async |n: u32| Ok::<_, BoxError>(n + 1));
    let graph = Graph::new("g").step("a", Effects::Idempotent, step).edge("a", END);
    let graph = graph.build().unwrap().durable(MemoryStore::new()).unwrap();
    let run = tokio::spawn(async move { graph.oneshot(Run::new("w", 1)).await });
    assert_eq!(run.await.unwrap().unwrap(), 2);
}
