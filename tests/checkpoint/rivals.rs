//! Two at one step, one of them stopped past its lease at each point in turn.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::time::sleep;

use super::{flaky::Flaky, *};
use crate::support::poll_once;

/// A tool whose every answer is another.
fn counting(
    calls: &Arc<AtomicU64>,
) -> impl Service<Step<u64>, Response = u64, Error = ProbeError, Future: Send> + Clone + use<> {
    let calls = calls.clone();
    service_fn(move |_: Step<u64>| {
        let calls = calls.clone();
        async move {
            let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::task::yield_now().await;
            Ok::<_, ProbeError>(call)
        }
    })
}

fn call(
    store: &Flaky,
    effects: Effects,
    calls: &Arc<AtomicU64>,
) -> impl Future<Output = Result<u64, ProbeError>> + use<> {
    CheckpointLayer::new(store.clone(), effects).layer(counting(calls)).oneshot(charge(5))
}

#[tokio::test(start_paused = true)]
async fn whoever_is_stopped_at_any_point_and_followed_agrees_or_is_refused() {
    for first in ALL {
        for second in ALL.into_iter().filter(|second| second.intend() == first.intend()) {
            for polls in 0.. {
                let (store, calls) = (Flaky::new(MemoryStore::new()), Arc::default());
                let mut stopped = pin!(call(&store, first, &calls));
                let mut done = None;
                for _ in 0..polls {
                    if let std::task::Poll::Ready(outcome) = poll_once(stopped.as_mut()).await {
                        done = Some(outcome);
                        break;
                    }
                }
                let finished = done.is_some();
                sleep(60 * SECOND).await;
                let other = call(&store, second, &calls).await;
                sleep(60 * SECOND).await;
                let late = match done {
                    Some(outcome) => outcome,
                    None => stopped.await,
                };
                let case = format!("{first:?} then {second:?} at {polls}: {late:?} {other:?}");
                let answers: Vec<u64> = [&late, &other].into_iter().flatten().copied().collect();
                assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{case}");
                let done = |status: &&Status| **status == Status::Done;
                let statuses = statuses(&store).await;
                assert!(statuses.iter().filter(done).count() <= 1, "{case}: {statuses:?}");
                if first == FAIL && second == FAIL {
                    assert!(calls.load(Ordering::Relaxed) <= 1, "{case}");
                } else if first != FAIL && second != FAIL {
                    assert!(!answers.is_empty(), "{case}");
                }
                assert_eq!(store.verify(&order()).await.map(|audit| audit.findings), Ok(vec![]));
                if finished {
                    assert!(polls > 3, "there are points to stop at");
                    break;
                }
            }
        }
    }
}
