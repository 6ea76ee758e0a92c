//! Steps that are being done, here or elsewhere.

use buttress::{Deadline, Rejection, TimeoutLayer, store::StoreError};
use tokio::time::{Instant, sleep, timeout};

use super::*;

fn slow() -> Tool {
    Tool::scripted([Act::Answer { after: SECOND }])
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_being_done_is_refused() {
    for effects in ALL {
        let (tool, log) = (slow(), Log::default());
        let layer = CheckpointLayer::new(MemoryStore::new(), effects);
        let service = layer.observe(log.clone()).name("pay").layer(tool.service());
        let first = tokio::spawn(service.clone().oneshot(charge(5)));
        sleep(SECOND / 2).await;
        let told = log.take().len();
        let second = service.clone().oneshot(charge(5)).await;
        assert_eq!(halt(second.clone()), Halt::InFlight { step: "charge".into() });
        assert!(
            matches!(&second, Err(ProbeError::Rejected(Rejection::Halted { name, .. })) if name.as_str() == "pay")
        );
        assert_eq!(log.take(), [Event::Rejected { retry_after: None }], "{told}");
        assert_eq!(first.await.unwrap(), Ok(5));
        assert_eq!(service.oneshot(charge(5)).await, Ok(5));
        assert_eq!(tool.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_being_done_is_waited_for() {
    for effects in ALL {
        let tool = slow();
        let layer = CheckpointLayer::new(MemoryStore::new(), effects).wait_in_flight();
        let service = layer.layer(tool.service());
        let calls: Vec<_> =
            (0..5).map(|_| tokio::spawn(service.clone().oneshot(charge(5)))).collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(5));
        }
        assert_eq!(tool.calls(), 1, "{effects:?}");
        tool.handle.assert_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_does_it_if_the_first_was_dropped() {
    let tool = Tool::scripted([Act::Hang]);
    let layer = CheckpointLayer::new(MemoryStore::new(), Effects::Idempotent).wait_in_flight();
    let service = layer.layer(tool.service());
    let first = tokio::spawn(service.clone().oneshot(charge(5)));
    sleep(SECOND).await;
    let second = tokio::spawn(service.oneshot(charge(5)));
    sleep(SECOND).await;
    first.abort();
    assert_eq!(second.await.unwrap(), Ok(5));
    assert_eq!(tool.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_answered_to_several_at_once() {
    let (store, tool) = (MemoryStore::new(), Tool::new());
    let journal = Journal::new(store);
    let service = CheckpointLayer::new(journal.clone(), FAIL).layer(tool.service());
    service.clone().oneshot(charge(5)).await.unwrap();
    // Another is just reading it.
    let place = journal.enter(&order(), &"charge".into()).unwrap();
    assert_eq!(service.clone().oneshot(charge(5)).await, Ok(5));
    let other = service.clone().oneshot(charge(6)).await;
    assert_eq!(halt(other), Halt::Mismatch { step: "charge".into() });
    drop(place);
    assert_eq!(service.oneshot(charge(5)).await, Ok(5));
}

#[tokio::test(start_paused = true)]
async fn a_workflow_held_elsewhere_is_refused_or_waited_for() {
    let (store, tool) = (MemoryStore::new(), Tool::scripted([Act::Answer { after: 5 * SECOND }]));
    let first = tokio::spawn({
        let (store, tool) = (store.clone(), tool.clone());
        async move { once(store, FAIL, &tool).await }
    });
    sleep(SECOND).await;
    let held = halt(once(store.clone(), FAIL, &tool).await);
    let Halt::Held { retry_after, .. } = held else { panic!("{held:?}") };
    assert_eq!(retry_after, 29 * SECOND);

    let layer = CheckpointLayer::new(store, FAIL).wait_in_flight();
    let service = layer.layer(tool.service());
    // Not longer than until the deadline.
    let limited = TimeoutLayer::new(SECOND).layer(service.clone());
    let began = Instant::now();
    let late = halt(limited.oneshot(charge(5)).await);
    assert!(matches!(late, Halt::Held { .. }), "{late:?}");
    assert!(began.elapsed() < SECOND, "it says so before the time is over");
    assert_eq!(service.oneshot(charge(5)).await, Ok(5));
    let end = began.elapsed();
    assert!(end > 3 * SECOND && end < 5 * SECOND, "soon after it is done: {end:?}");
    assert_eq!(first.await.unwrap(), Ok(5));
    assert_eq!(tool.calls(), 1);
    assert_eq!(Deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn a_long_call_keeps_its_lease() {
    let (store, tool) = (MemoryStore::new(), Tool::scripted([Act::Answer { after: 100 * SECOND }]));
    let journal = Journal::new(store.clone()).ttl(9 * SECOND);
    let service = CheckpointLayer::new(journal, RETRY).layer(tool.service());
    let call = tokio::spawn(service.oneshot(charge(5)));
    for _ in 0..9 {
        sleep(10 * SECOND).await;
        let other = halt(once(store.clone(), RETRY, &tool).await);
        let Halt::Held { retry_after, .. } = other else { panic!("{other:?}") };
        assert!(retry_after >= 6 * SECOND, "{retry_after:?}");
    }
    assert_eq!(call.await.unwrap(), Ok(5));
    assert_eq!(tool.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_without_length_is_no_busy_loop() {
    let (store, tool) = (MemoryStore::new(), slow());
    let journal = Journal::new(store).ttl(Duration::ZERO);
    let service = CheckpointLayer::new(journal, FAIL).layer(tool.service());
    let began = Instant::now();
    assert_eq!(service.oneshot(charge(5)).await, Ok(5));
    assert_eq!(began.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn one_who_was_followed_is_fenced() {
    let (store, tool, log) = (MemoryStore::new(), slow(), Log::default());
    let layer = CheckpointLayer::new(store.clone(), RETRY).observe(log.clone());
    let mut stalled = Box::pin(layer.layer(tool.service()).oneshot(charge(5)));
    timeout(SECOND / 2, &mut stalled).await.unwrap_err();
    log.take();
    // It is not polled, like a process that was stopped, and its lease runs out.
    sleep(31 * SECOND).await;
    let doubting = halt(once(store.clone(), FAIL, &tool).await);
    assert_eq!(doubting, in_doubt(1));
    assert_eq!(once(store.clone(), RETRY, &tool).await, Ok(5));
    // It wakes up, has its answer, and may not write it.
    let late = halt(stalled.await);
    assert!(matches!(late, Halt::Unrecorded { error: StoreError::Fenced { .. }, .. }), "{late:?}");
    assert!(log.take().iter().any(|event| matches!(event, Event::Fenced { .. })));
    assert_eq!(tool.calls(), 2);
    tool.key();
    let statuses = statuses(&store).await;
    assert_eq!(statuses, [Status::Intent, Status::Intent, Status::Done]);
}

#[tokio::test(start_paused = true)]
async fn one_who_is_fenced_during_its_call_goes_on_and_is_told_once() {
    let (store, log) = (MemoryStore::new(), Log::default());
    let tool = Tool::scripted([Act::Answer { after: 100 * SECOND }]);
    let layer = CheckpointLayer::new(store.clone(), RETRY).observe(log.clone());
    let mut call = Box::pin(layer.layer(tool.service()).oneshot(charge(5)));
    timeout(SECOND, &mut call).await.unwrap_err();
    sleep(31 * SECOND).await;
    once(store.clone(), RETRY, &tool).await.unwrap();
    log.take();
    timeout(60 * SECOND, &mut call).await.unwrap_err();
    let fenced = log.take();
    assert!(matches!(fenced[..], [Event::Fenced { .. }]), "{fenced:?}");
    assert!(matches!(halt(call.await), Halt::Unrecorded { .. }));
    assert_eq!(log.take(), [], "not when it comes to its end");
}

#[tokio::test(start_paused = true)]
async fn the_first_outcome_that_is_written_is_everybodys() {
    for effects in [Effects::ReadOnly, Effects::Idempotent] {
        let store = MemoryStore::new();
        // Two processes are at it, and are answered differently.
        let slow = service_fn(async |_: Step<u64>| {
            sleep(SECOND).await;
            Ok::<u64, ProbeError>(1)
        });
        let quick = service_fn(async |_: Step<u64>| Ok::<u64, ProbeError>(2));
        let slow = CheckpointLayer::new(store.clone(), effects).layer(slow).oneshot(charge(5));
        let quick = CheckpointLayer::new(store.clone(), effects).layer(quick).oneshot(charge(5));
        let (slow, quick) = tokio::join!(slow, quick);
        assert_eq!((slow, quick), (Ok(2), Ok(2)));
        assert_eq!(statuses(&store).await, [Status::Done]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_detached_step_goes_on_when_dropped() {
    for effects in ALL {
        let (tool, log) = (slow(), Log::default());
        let layer = CheckpointLayer::new(MemoryStore::new(), effects).observe(log.clone());
        let service = layer.wait_in_flight().detach_on_drop().layer(tool.service());
        timeout(SECOND / 2, service.clone().oneshot(charge(5))).await.unwrap_err();
        // Whoever asks meanwhile is answered with its outcome.
        assert_eq!(service.clone().oneshot(charge(5)).await, Ok(5));
        assert_eq!(tool.calls(), 1, "{effects:?}");
        tool.handle.assert_idle();
        // One that was not begun does not go on.
        tool.handle.block();
        let other = Step::new("order-17", "other", 1);
        timeout(SECOND, service.clone().oneshot(other)).await.unwrap_err();
        tool.handle.unblock();
        sleep(SECOND).await;
        assert_eq!(tool.calls(), 1, "{effects:?}");
    }
}
