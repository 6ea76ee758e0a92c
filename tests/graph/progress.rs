//! What is told of a run, and what is left of one that is dropped.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use buttress::TimeoutLayer;
use buttress_flow::graph::{END, FanOut, Graph, News, Progress};
use tokio::time::sleep;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

use super::{Path, SECOND, broken, gather, node};
use crate::support::poll_once;

/// What happened, as one line each.
pub(super) fn listen() -> (Arc<Mutex<Vec<String>>>, impl Fn(&Progress<'_>) + Send + Sync + Clone) {
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

/// Counts what runs.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<AtomicU32>);

impl Running {
    fn enter(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }

    pub(super) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn hang(
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
