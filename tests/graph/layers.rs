//! What nodes, and graphs, are wrapped in.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{BreakerLayer, RetryLayer};
use buttress_flow::graph::{BoxNode, END, Graph};
use tokio::time::Instant;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

use super::{Path, SECOND, broken, gather, node, words};

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
