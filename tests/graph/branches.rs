//! Fan-outs.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{Backoff, RetryLayer};
use buttress_flow::graph::{END, FanOut, Graph};
use tokio::time::{Instant, sleep};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

use super::{Path, SECOND, broken, gather, node, progress::Running, run_error, words};

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
