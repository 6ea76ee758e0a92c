//! Processes that end at any point, and stores that go away.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::{
    flaky::{Flaky, Lost},
    *,
};

/// Polls a future so often at most.
struct AtMost<F>(usize, Pin<Box<F>>);

impl<F: Future> Future for AtMost<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
        self.0 = left;
        match self.1.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Ends a process after each poll in turn, and has another one go on.
async fn sweep(effects: Effects, look: impl Fn(usize, &[Status], &Tool, Result<u64, ProbeError>)) {
    for polls in 0.. {
        let (store, tool) = (MemoryStore::new(), Tool::scripted([Act::Answer { after: SECOND }]));
        let first = {
            let (store, tool) = (Flaky::new(store.clone()), tool.clone());
            async move { once(store, effects, &tool).await }
        };
        let acknowledged = AtMost(polls, Box::pin(first)).await;
        tool.handle.assert_idle();
        let (left, calls) = (statuses(&store).await, tool.calls());
        tokio::time::sleep(60 * SECOND).await;
        let second = once(store.clone(), effects, &tool).await;
        if let Some(first) = &acknowledged {
            assert_eq!((first, &second), (&Ok(5), &Ok(5)), "what was acknowledged is kept");
            assert_eq!(tool.calls(), calls);
        }
        assert_eq!(store.verify(&order()).await.map(|audit| audit.findings), Ok(vec![]));
        look(polls, &left, &tool, second);
        if acknowledged.is_some() {
            assert!(polls > 4, "there are points to end at");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_in_doubt_is_done_at_most_once() {
    sweep(FAIL, |polls, left, tool, outcome| {
        assert!(tool.calls() <= 1, "{polls}");
        match left {
            [] | [Status::Intent, Status::Done] => assert_eq!(outcome, Ok(5), "{polls}"),
            // In doubt, even where the call had not yet begun: nobody can know.
            [Status::Intent] => assert_eq!(halt(outcome), in_doubt(1), "{polls}"),
            other => panic!("{polls}: {other:?}"),
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn others_are_done_in_the_end_under_one_key() {
    for effects in [Effects::ReadOnly, Effects::Idempotent, RETRY] {
        sweep(effects, |polls, _, tool, outcome| {
            assert_eq!(outcome, Ok(5), "{effects:?} {polls}");
            assert!((1..=2).contains(&tool.calls()));
            tool.key();
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_told_apart_by_what_was_done() {
    // (what is lost, whether the tool was called, what is then kept)
    let cases = [
        (vec![Some(Lost::Request)], 0, vec![]),
        (vec![Some(Lost::Answer)], 0, vec![Status::Intent]),
        (vec![None, Some(Lost::Request)], 1, vec![Status::Intent]),
        (vec![None, Some(Lost::Answer)], 1, vec![Status::Intent, Status::Done]),
    ];
    for (plan, calls, kept) in cases {
        let (store, tool) = (Flaky::new(MemoryStore::new()), Tool::new());
        store.plan(plan.clone());
        let outcome = halt(once(store.clone(), FAIL, &tool).await);
        assert_eq!(tool.calls(), calls, "{plan:?}");
        match outcome {
            Halt::Store(_) => assert_eq!(calls, 0),
            Halt::Unrecorded { .. } => assert_eq!(calls, 1),
            other => panic!("{other:?}"),
        }
        assert_eq!(statuses(&store).await, kept, "{plan:?}");
        tokio::time::sleep(60 * SECOND).await;
        let again = once(store, FAIL, &tool).await;
        if kept == [Status::Intent] {
            assert_eq!(halt(again), in_doubt(1));
        } else {
            assert_eq!(again, Ok(5));
        }
        assert!(tool.calls() <= 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_gets_lost_is_made_up_for() {
    let (store, tool) =
        (Flaky::new(MemoryStore::new()), Tool::scripted([Act::Answer { after: 25 * SECOND }]));
    let journal = Journal::new(store.clone()).ttl(9 * SECOND);
    store.plan([None, Some(Lost::Request), Some(Lost::Answer)]);
    let service = CheckpointLayer::new(journal, FAIL).layer(tool.service());
    let call = tokio::spawn(service.oneshot(charge(5)));
    tokio::time::sleep(20 * SECOND).await;
    let other = halt(once(store.memory.clone(), FAIL, &tool).await);
    assert!(matches!(other, Halt::Held { .. }), "{other:?}");
    assert_eq!(call.await.unwrap(), Ok(5));
}

#[tokio::test(start_paused = true)]
async fn what_the_service_said_outweighs_a_store_that_is_away() {
    let throttled = Verdict::throttled();
    let (store, tool) = (Flaky::new(MemoryStore::new()), Tool::scripted([Act::fail(throttled)]));
    store.plan([None, Some(Lost::Request)]);
    assert_eq!(once(store.clone(), FAIL, &tool).await, Err(ProbeError::Failed(throttled)));
    assert_eq!(statuses(&store).await, [Status::Intent], "it could not be withdrawn");
}
