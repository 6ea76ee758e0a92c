//! User code that panics.

use std::{
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::atomic::{AtomicU32, Ordering},
    task::{Context, Poll},
};

use tokio::time::timeout;

use super::*;

/// Panics the `at`-th time that somebody asks it to.
#[derive(Clone)]
struct Bomb(Arc<AtomicU32>);

impl Bomb {
    fn new(at: u32) -> Self {
        Self(Arc::new(AtomicU32::new(at)))
    }

    fn tick(&self) {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(1), Ordering::Relaxed);
        assert!(left != 1, "planned");
    }

    fn armed(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

struct Touchy(u64, Bomb);

impl Keyed for Touchy {
    fn step(&self) -> Result<StepOf, Unkeyed> {
        self.1.tick();
        Ok(StepOf::new("order-17", "charge"))
    }

    fn fingerprint(&self) -> Result<Digest, Unkeyed> {
        self.1.tick();
        Ok(Digest::of(&self.0.to_le_bytes()))
    }

    fn place(&mut self, _: IdempotencyKey) {
        self.1.tick();
    }
}

impl Codec<u64> for Bomb {
    fn number(&self) -> u8 {
        self.tick();
        200
    }

    fn encode(&self, value: &u64) -> Result<Vec<u8>, BoxError> {
        self.tick();
        Ok(value.to_le_bytes().to_vec())
    }

    fn decode(&self, bytes: &[u8]) -> Result<u64, BoxError> {
        self.tick();
        Ok(u64::from_le_bytes(bytes.try_into()?))
    }
}

impl Observe for Bomb {
    fn event(&self, _: Teller<'_>, _: &Event) {
        self.tick();
    }
}

/// Polls a future, and says if it panicked.
async fn caught<F: Future>(future: F) -> Result<F::Output, ()> {
    let mut future = Some(Box::pin(future));
    poll_fn(move |cx| {
        let poll = std::panic::catch_unwind(AssertUnwindSafe(|| {
            future.as_mut().expect("not done").as_mut().poll(cx)
        }));
        match poll {
            Ok(poll) => poll.map(Ok),
            Err(_) => {
                future = None;
                Poll::Ready(Err(()))
            }
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_panic_anywhere_leaves_nothing_behind() {
    for effects in ALL {
        for at in 1.. {
            let (store, bomb) = (MemoryStore::new(), Bomb::new(at));
            let journal = Journal::new(store.clone());
            let ticking = {
                let bomb = bomb.clone();
                service_fn(move |request: Touchy| {
                    bomb.tick();
                    let bomb = bomb.clone();
                    async move {
                        bomb.tick();
                        tokio::time::sleep(SECOND).await;
                        bomb.tick();
                        Ok::<_, ProbeError>(request.0)
                    }
                })
            };
            let judging = bomb.clone();
            let layer = CheckpointLayer::new(journal, effects)
                .codec(bomb.clone())
                .observe(bomb.clone())
                .classify(move |outcome: Result<&u64, &ProbeError>| {
                    judging.tick();
                    outcome.map_or(Verdict::unknown(), |_| Verdict::success())
                });
            let service = layer.layer(ticking);
            let call = |cents| {
                let (service, bomb) = (service.clone(), bomb.clone());
                caught(async move { service.oneshot(Touchy(cents, bomb)).await })
            };
            let first = call(5).await;
            let exploded = !bomb.armed();
            assert_eq!(first.is_err(), exploded, "{effects:?} {at}");
            bomb.0.store(0, Ordering::Relaxed);
            match call(5).await.expect("it does not panic again") {
                Ok(5) => {}
                // It panicked between intent and outcome.
                outcome => assert_eq!(halt(outcome), in_doubt(1), "{effects:?} {at}"),
            }
            if !exploded {
                assert!(at > 8, "there is much that may panic");
                break;
            }
        }
    }
}

/// Panics, and if it is polled again is never done.
#[derive(Clone, Default)]
struct Broken(bool);

impl Future for Broken {
    type Output = Result<u64, ProbeError>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(std::mem::replace(&mut self.0, true), "planned");
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_detached_step_that_panicked_does_not_go_on() {
    for effects in ALL {
        let broken = service_fn(|_: Step<u64>| Broken::default());
        let layer = CheckpointLayer::new(MemoryStore::new(), effects).detach_on_drop();
        let service = layer.layer(broken);
        caught(service.clone().oneshot(charge(5))).await.unwrap_err();
        tokio::task::yield_now().await;
        let again = timeout(SECOND, caught(service.oneshot(charge(5)))).await.unwrap();
        if let Ok(outcome) = again {
            assert_eq!(halt(outcome), in_doubt(1), "{effects:?}");
        }
    }
}
