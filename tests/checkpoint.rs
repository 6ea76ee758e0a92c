//! Steps that are done once.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    CheckpointLayer, Event, Rejection, Teller, Verdict,
    checkpoint::{Effects, Halt, InDoubt, Step},
    store::{Journal, MemoryStore},
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);
const FAIL: Effects = Effects::SideEffect(InDoubt::Fail);
const RETRY: Effects = Effects::SideEffect(InDoubt::Retry);
const ALL: [Effects; 4] = [Effects::ReadOnly, Effects::Idempotent, FAIL, RETRY];

fn charge(cents: u32) -> Step<u32> {
    Step::new("order-17", "charge", cents)
}

/// The reason why a step was not done.
fn halt(error: &BoxError) -> &Halt {
    match error.downcast_ref() {
        Some(Rejection::Halted { halt, .. }) => halt,
        _ => panic!("not halted: {error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_not_done_again() {
    for effects in ALL {
        let (store, calls) = (MemoryStore::new(), Arc::new(AtomicU32::new(0)));
        let tool = {
            let calls = calls.clone();
            service_fn(move |step: Step<u32>| {
                let n = calls.fetch_add(1, Ordering::Relaxed);
                assert!(step.key.is_some());
                async move { Ok::<_, BoxError>(step.request + n) }
            })
        };
        let layer = CheckpointLayer::new(store.clone(), effects);
        for _ in 0..2 {
            assert_eq!(layer.layer(tool.clone()).oneshot(charge(5)).await.unwrap(), 5);
        }
        // Another process.
        let layer = CheckpointLayer::new(store, effects);
        assert_eq!(layer.layer(tool.clone()).oneshot(charge(5)).await.unwrap(), 5);
        assert_eq!(calls.load(Ordering::Relaxed), 1, "{effects:?}");
        let error = layer.layer(tool).oneshot(charge(6)).await.unwrap_err();
        assert_eq!(*halt(&error), Halt::Mismatch { step: "charge".into() });
    }
}
