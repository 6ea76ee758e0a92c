//! Steps that call themselves.

use std::{
    future::Future,
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll},
};

use tokio::time::timeout;

use super::*;

type Answer = Pin<Box<dyn Future<Output = Result<u64, ProbeError>> + Send>>;

/// What a step calls: set when all is put together.
#[derive(Clone, Default)]
struct Later(Arc<OnceLock<Box<dyn Fn(Step<u64>) -> Answer + Send + Sync>>>);

impl Later {
    fn set<S>(&self, service: S)
    where
        S: Service<Step<u64>, Response = u64, Error = ProbeError, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let call = move |step| -> Answer { Box::pin(service.clone().oneshot(step)) };
        assert!(self.0.set(Box::new(call)).is_ok());
    }

    fn call(&self, step: Step<u64>) -> Answer {
        self.0.get().expect("it is set")(step)
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_would_wait_for_itself_is_refused() {
    for effects in ALL {
        let (later, log) = (Later::default(), Log::default());
        let inner = {
            let later = later.clone();
            service_fn(move |step: Step<u64>| {
                later.call(Step::new("order-17", "charge", step.request))
            })
        };
        let layer = CheckpointLayer::new(MemoryStore::new(), effects).wait_in_flight();
        let service = layer.observe(log.clone()).layer(inner);
        later.set(service.clone());
        let refused = timeout(SECOND, service.oneshot(charge(5))).await.expect("it is not stuck");
        let refused = halt(refused);
        assert!(refused.to_string().contains("itself"), "{refused}");
        assert_eq!(refused.verdict().kind, buttress::Kind::Permanent);
        assert_eq!(refused.verdict().effect, buttress::Effect::None);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_would_wait_for_itself_by_way_of_another_is_refused() {
    let (later, journal) = (Later::default(), Journal::new(MemoryStore::new()));
    let outer = {
        let later = later.clone();
        service_fn(move |step: Step<u64>| {
            let later = later.clone();
            async move {
                // Only once it was pending.
                tokio::task::yield_now().await;
                later.call(Step::new("order-17", "other", step.request)).await
            }
        })
    };
    let layer = CheckpointLayer::new(journal, RETRY).wait_in_flight();
    let outer = layer.layer(outer);
    let back = {
        let outer = outer.clone();
        service_fn(move |step: Step<u64>| outer.clone().oneshot(charge(step.request)))
    };
    later.set(layer.layer(back));
    let refused = timeout(SECOND, outer.oneshot(charge(5))).await.expect("it is not stuck");
    assert!(halt(refused).to_string().contains("itself"));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_asked_about_a_doubt_of_itself_is_refused() {
    let (store, tool) = (MemoryStore::new(), Tool::scripted([Act::Hang]));
    let journal = Journal::new(store);
    let layer = CheckpointLayer::new(journal, FAIL).wait_in_flight();
    let service = layer.clone().layer(tool.service());
    timeout(SECOND, service.clone().oneshot(charge(5))).await.unwrap_err();
    let asking = layer.probe(move |_: &Step<u64>, _| {
        let service = service.clone();
        async move { service.oneshot(charge(5)).await.map(buttress::checkpoint::Landing::Landed) }
    });
    let asking = asking.layer(tool.service()).oneshot(charge(5));
    let refused = timeout(SECOND, asking).await.expect("it is not stuck");
    assert!(halt(refused).to_string().contains("itself"));
}

/// Polls both, and is done with the second.
struct Beside<A, B>(Pin<Box<A>>, Pin<Box<B>>);

impl<A: Future, B: Future> Future for Beside<A, B> {
    type Output = B::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<B::Output> {
        let _ = self.0.as_mut().poll(cx);
        self.1.as_mut().poll(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_beside_another_call_of_the_same_task_is_answered() {
    // Polled by one task, but not from within: no cycle.
    let tool = Tool::scripted([Act::Answer { after: SECOND }]);
    let layer = CheckpointLayer::new(MemoryStore::new(), FAIL).wait_in_flight();
    let service = layer.layer(tool.service());
    let first = Box::pin(service.clone().oneshot(charge(5)));
    let both = Beside(first, Box::pin(service.oneshot(charge(5))));
    assert_eq!(timeout(2 * SECOND, both).await, Ok(Ok(5)));
    assert_eq!(tool.calls(), 1);
}
