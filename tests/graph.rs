//! Workflow graphs: what a caller sees, without a store.

mod durable;

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    Backoff, BreakerLayer, CallError, Effect, Fault, Kind, Rejection, RetryLayer, TimeoutLayer,
    Verdict,
};
use buttress_flow::graph::{
    BoxNode, END, FanOut, Flaw, Graph, News, Progress, RunError, Split, Turn,
};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

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

#[tokio::test(start_paused = true)]
async fn a_retry_around_a_graph_runs_it_again() {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = calls.clone();
    let flaky = service_fn(move |path: Path| {
        let call = counter.fetch_add(1, Ordering::Relaxed);
        async move {
            match call {
                0 | 1 => Err(BoxError::from(io::Error::from(io::ErrorKind::ConnectionReset))),
                _ => Ok(path),
            }
        }
    });
    let graph = Graph::new("g").node("a", flaky).edge("a", END).build().unwrap();
    let service = ServiceBuilder::new().layer(RetryLayer::new()).service(graph);
    service.oneshot(Path::new()).await.unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 3);
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

fn fan(fan: FanOut<Path, BoxError>) -> Graph<Path, BoxError> {
    Graph::new("g").fan_out("ask", fan).edge("ask", END).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn branches_run_at_once_and_are_joined_in_their_order() {
    let branches = gather().node("slow", node("1", 3 * SECOND)).node("quick", node("2", SECOND));
    let start = Instant::now();
    let path = fan(branches).oneshot(vec!["0".into()]).await.unwrap();
    assert_eq!(words(&path), ["0", "01", "02"]);
    assert_eq!(start.elapsed(), 3 * SECOND);
}

/// Counts what runs.
#[derive(Clone, Default)]
struct Running(Arc<AtomicU32>);

impl Running {
    fn enter(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }

    fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn hang(
        &self,
    ) -> impl Service<Path, Response = Path, Error = BoxError, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
    + use<> {
        let counter = self.0.clone();
        service_fn(move |path: Path| {
            let running = Leave(Running(counter.clone()).enter());
            async move {
                sleep(1_000_000 * SECOND).await;
                drop(running);
                Ok(path)
            }
        })
    }
}

struct Leave(Running);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_kept_a_failed_branch_drops_the_others() {
    let running = Running::default();
    let late = ServiceBuilder::new()
        .map_future(|future| async move {
            sleep(SECOND).await;
            future.await
        })
        .service(broken("it broke"));
    let branches = gather().node("hangs", running.hang()).node("fails", late);
    let mut call = Box::pin(fan(branches).oneshot(Path::new()));
    let error = call.as_mut().await.unwrap_err();
    // The future itself is still there: only what it held is gone.
    assert_eq!(running.count(), 0);
    assert_eq!(run_error(&error).path(), "ask/fails");
    assert_eq!(
        error.to_string(),
        "node `ask` of graph `g` failed: branch `fails` failed: it broke"
    );
}

#[tokio::test(start_paused = true)]
async fn a_join_of_outcomes_makes_do_with_what_there_is() {
    let settled = || {
        FanOut::settled(|path: Path, outcomes: Vec<Result<Path, BoxError>>| {
            let mut path = path;
            for outcome in outcomes {
                match outcome {
                    Ok(branch) => path.extend(branch),
                    Err(error) => path.push(error.to_string()),
                }
            }
            if path.len() < 3 { Err("too few".into()) } else { Ok(path) }
        })
    };
    let branches = settled()
        .node("a", broken("no a"))
        .node("b", node("b", SECOND))
        .node("c", node("c", Duration::ZERO));
    let path = fan(branches).oneshot(Path::new()).await.unwrap();
    assert_eq!(words(&path), ["no a", "b", "c"]);
    let branches = settled().node("b", node("b", SECOND));
    let error = fan(branches).oneshot(Path::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "node `ask` of graph `g` failed: too few");
}

#[tokio::test(start_paused = true)]
async fn each_branch_is_retried_by_itself() {
    let calls: [Arc<AtomicU32>; 2] = Default::default();
    let flaky = |calls: &Arc<AtomicU32>, failures: u32| {
        let calls = calls.clone();
        service_fn(move |path: Path| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            async move {
                match call < failures {
                    true => Err(BoxError::from(io::Error::from(io::ErrorKind::TimedOut))),
                    false => Ok(path),
                }
            }
        })
    };
    let branches = gather().node("a", flaky(&calls[0], 2)).node("b", flaky(&calls[1], 0));
    let graph = Graph::new("g")
        .fan_out("ask", branches)
        .edge("ask", END)
        .wrap(RetryLayer::new().backoff(Backoff::constant(SECOND)))
        .build()
        .unwrap();
    graph.oneshot(Path::new()).await.unwrap();
    assert_eq!(calls.map(|calls| calls.load(Ordering::Relaxed)), [3, 1]);
}

#[tokio::test(start_paused = true)]
async fn one_layer_around_all_is_shared_and_one_for_each_is_not() {
    let failing = || broken("no");
    let graph = |shared: bool| {
        let graph = Graph::new("g")
            .node("a", failing())
            .catch("a", |path, _| path)
            .node("b", node("b", Duration::ZERO))
            .route("a", Path::len, [(0, "a"), (9, "b")])
            .edge("b", END);
        match shared {
            true => graph.wrap(BreakerLayer::default().classify(buttress::AllTransient)),
            false => graph.wrap_each(|node| {
                BreakerLayer::default().classify(buttress::AllTransient).name(node.clone())
            }),
        }
    };
    for shared in [true, false] {
        let graph = graph(shared).most_visits(40).build().unwrap();
        // Its 40 visits fail, and open the circuit of `a`.
        graph.clone().oneshot(Path::new()).await.unwrap_err();
        let b = graph.oneshot(vec![String::new(); 9]).await;
        assert_eq!(b.is_err(), shared, "{b:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn layers_given_later_go_around_those_given_before_and_catch_around_all() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let tell = |word: &'static str| {
        let log = log.clone();
        tower::layer::layer_fn(move |inner: BoxNode<Path, BoxError>| {
            let log = log.clone();
            inner.map_result(move |outcome| {
                log.lock().unwrap().push(word);
                outcome
            })
        })
    };
    let folded = log.clone();
    let graph = Graph::new("g")
        .wrap(tell("inner"))
        .node("a", broken("no"))
        .edge("a", END)
        .wrap(tell("outer"))
        .catch("a", move |path, _| {
            folded.lock().unwrap().push("caught");
            path
        })
        .build()
        .unwrap();
    graph.oneshot(Path::new()).await.unwrap();
    assert_eq!(*log.lock().unwrap(), ["inner", "outer", "caught"]);
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

/// What happened, as one line each.
fn listen() -> (Arc<Mutex<Vec<String>>>, impl Fn(&Progress<'_>) + Send + Sync + Clone) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = log.clone();
    let listen = move |progress: &Progress<'_>| {
        let Progress { node, visit, news, .. } = progress;
        let what = match news {
            News::Started => "started".into(),
            News::Entered => "entered".into(),
            News::Left { after } => format!("left after {after:?}"),
            News::Replayed => "replayed".into(),
            News::Failed { after, verdict } => {
                format!("failed after {after:?}: {}", verdict.kind.as_str())
            }
            News::Caught { .. } => "caught".into(),
            News::Abandoned { after } => format!("abandoned after {after:?}"),
            News::Chose { label, to } => format!("chose {label}: {to}"),
            News::Ended { after, steps } => format!("ended after {after:?}, {steps} steps"),
            News::Stopped { after, steps } => format!("stopped after {after:?}, {steps} steps"),
            other => format!("{other:?}"),
        };
        let at = if node.is_empty() { String::new() } else { format!("{node} {visit} ") };
        lines.lock().unwrap().push(format!("{at}{what}"));
    };
    (log, listen)
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_once() {
    let (log, listen) = listen();
    let inner = Graph::new("inner").node("x", node("x", SECOND)).edge("x", END).build().unwrap();
    let graph = Graph::new("g")
        .fan_out(
            "ask",
            FanOut::settled(|mut path: Path, _| {
                path.push("asked".into());
                Ok(path)
            })
            .node("a", broken("no"))
            .node("b", node("b", SECOND)),
        )
        .route("ask", |path: &Path| path.len() > 1, [(true, "sub"), (false, "ask")])
        .nest("sub", inner)
        .edge("sub", "last")
        .node("last", broken("no"))
        .catch("last", |path, _| path)
        .edge("last", END)
        .follow(listen)
        .build()
        .unwrap();
    graph.oneshot(Path::new()).await.unwrap();
    let expected = [
        "started",
        "ask 1 entered",
        "ask/a 1 entered",
        "ask/a 1 failed after 0ns: unknown",
        "ask/b 1 entered",
        "ask/b 1 left after 1s",
        "ask 1 left after 1s",
        "ask 1 chose false: ask",
        "ask 2 entered",
        "ask/a 2 entered",
        "ask/a 2 failed after 0ns: unknown",
        "ask/b 2 entered",
        "ask/b 2 left after 1s",
        "ask 2 left after 1s",
        "ask 2 chose true: sub",
        "sub 1 entered",
        "sub/x 1 entered",
        "sub/x 1 left after 1s",
        "sub 1 left after 1s",
        "last 1 entered",
        "last 1 caught",
        "last 1 left after 0ns",
        "ended after 3s, 4 steps",
    ];
    assert_eq!(*log.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_leaves_nothing_running_and_says_where_it_was() {
    let (log, listen) = listen();
    let running = Running::default();
    let graph = Graph::new("g")
        .node("a", node("a", SECOND))
        .fan_out("ask", gather().node("x", running.hang()).node("y", running.hang()))
        .edge("a", "ask")
        .edge("ask", END)
        .follow(listen)
        .build()
        .unwrap();
    // Never polled: nothing happens.
    drop(graph.clone().oneshot(Path::new()));
    assert!(log.lock().unwrap().is_empty());
    let service = ServiceBuilder::new().layer(TimeoutLayer::new(3 * SECOND)).service(graph);
    service.oneshot(Path::new()).await.unwrap_err();
    assert_eq!(running.count(), 0);
    let log = log.lock().unwrap();
    for line in
        ["ask/x 1 abandoned after 2s", "ask/y 1 abandoned after 2s", "ask 1 abandoned after 2s"]
    {
        assert!(log.iter().any(|told| told == line), "{line} in {log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_at_any_poll_it_holds_nothing() {
    let running = Running::default();
    let steps = {
        let running = running.clone();
        service_fn(move |path: Path| {
            let running = Leave(running.enter());
            async move {
                tokio::task::yield_now().await;
                drop(running);
                Ok::<_, BoxError>([path, vec!["s".into()]].concat())
            }
        })
    };
    let graph = Graph::new("g")
        .node("a", steps.clone())
        .fan_out("f", gather().node("x", steps.clone()).node("y", steps.clone()))
        .nest("n", Graph::new("inner").node("z", steps).edge("z", END).build().unwrap())
        .edge("a", "f")
        .edge("f", "n")
        .route("n", |path: &Path| path.len() < 9, [(true, "a"), (false, END)])
        .build()
        .unwrap();
    for polls in 0.. {
        let mut call = Box::pin(graph.clone().oneshot(Path::new()));
        let mut done = false;
        for _ in 0..polls {
            done = poll_once(call.as_mut()).await.is_ready();
        }
        drop(call);
        assert_eq!(running.count(), 0, "after {polls} polls");
        if done {
            assert!(polls > 6, "{polls}");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_become_ready_when_their_turn_comes() {
    // One permit for all: a node that kept it would leave none for the next.
    let limited = ServiceBuilder::new().concurrency_limit(1).service(node("a", SECOND));
    let graph = Graph::new("g")
        .node("a", limited.clone())
        .node("b", limited.clone())
        .fan_out("f", gather().node("x", limited.clone()).node("y", limited))
        .edge("a", "b")
        .edge("b", "f")
        .edge("f", END)
        .build()
        .unwrap();
    let start = Instant::now();
    tokio::time::timeout(10 * SECOND, graph.oneshot(Path::new())).await.unwrap().unwrap();
    // The branches too had to take turns.
    assert_eq!(start.elapsed(), 4 * SECOND);
}

#[derive(Clone)]
struct Unready;

impl Service<Path> for Unready {
    type Response = Path;
    type Error = BoxError;
    type Future = std::future::Pending<Result<Path, BoxError>>;
    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Err("never ready".into()))
    }
    fn call(&mut self, _: Path) -> Self::Future {
        unreachable!("it was not ready")
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_never_ready_has_failed() {
    let graph = || Graph::new("g").node("a", Unready).edge("a", END);
    let error = graph().build().unwrap().oneshot(Path::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "node `a` of graph `g` failed: never ready");
    let graph = graph().catch("a", |_, error| vec![error.to_string()]).build().unwrap();
    assert_eq!(words(&graph.oneshot(Path::new()).await.unwrap()), ["never ready"]);
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
    let state = tokio::spawn(graph.oneshot(Search::default())).await.unwrap().unwrap();
    assert_eq!(state.answer, Some(2));
}
