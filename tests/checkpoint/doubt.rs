//! Steps that were begun, and nobody knows how they ended.

use buttress::{Resolution, checkpoint::Landing};
use tokio::time::timeout;

use super::*;

/// A store in which the step is in doubt, and the tool that was called.
async fn doubtful() -> (MemoryStore, Tool) {
    let (store, tool) = (MemoryStore::new(), Tool::scripted([Act::Hang]));
    timeout(SECOND, once(store.clone(), FAIL, &tool)).await.unwrap_err();
    // The process is gone, and so is its lease in time.
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(statuses(&store).await, [Status::Intent]);
    (store, tool)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_dropped_is_in_doubt_and_fails() {
    let (store, tool) = doubtful().await;
    for _ in 0..2 {
        let outcome = once(store.clone(), FAIL, &tool).await;
        assert_eq!(halt(outcome), in_doubt(1));
    }
    assert_eq!(tool.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_dropped_is_done_again_with_the_same_key() {
    let (store, tool) = doubtful().await;
    let log = Log::default();
    let layer = CheckpointLayer::new(store.clone(), RETRY).observe(log.clone());
    assert_eq!(layer.layer(tool.service()).oneshot(charge(5)).await, Ok(5));
    assert_eq!(tool.calls(), 2);
    tool.key();
    assert_eq!(
        log.take(),
        [
            Event::InDoubt { attempt: 1, resolution: Resolution::Retry },
            Event::Intended { attempt: 2, version: 2 },
            Event::Recorded { attempt: 2, version: 3 },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_may_be_done_twice_is_never_in_doubt() {
    for effects in [Effects::ReadOnly, Effects::Idempotent] {
        let (store, tool) = (MemoryStore::new(), Tool::scripted([Act::Hang]));
        timeout(SECOND, once(store.clone(), effects, &tool)).await.unwrap_err();
        assert_eq!(statuses(&store).await, []);
        assert_eq!(once(store, effects, &tool).await, Ok(5));
        assert_eq!(tool.calls(), 2);
        tool.key();
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_process_too_is_in_doubt_once_its_call_was_dropped() {
    let (store, tool) = (MemoryStore::new(), Tool::scripted([Act::Hang]));
    let service = CheckpointLayer::new(store, FAIL).layer(tool.service());
    timeout(SECOND, service.clone().oneshot(charge(5))).await.unwrap_err();
    assert_eq!(halt(service.oneshot(charge(5)).await), in_doubt(1));
}

#[tokio::test(start_paused = true)]
async fn the_world_decides_where_it_can() {
    use Resolution::{Absent, Fail, Landed, Retry};
    let cases = [
        (FAIL, Ok(Landing::Landed(7)), Landed, Ok(7), 1),
        (RETRY, Ok(Landing::Landed(7)), Landed, Ok(7), 1),
        (FAIL, Ok(Landing::Absent), Absent, Ok(5), 2),
        (RETRY, Ok(Landing::Absent), Absent, Ok(5), 2),
        (FAIL, Ok(Landing::Unknown), Fail, Err(in_doubt(1)), 1),
        (RETRY, Ok(Landing::Unknown), Retry, Ok(5), 2),
    ];
    for (effects, landing, resolution, expected, calls) in cases {
        let (store, tool) = doubtful().await;
        let (key, log) = (tool.key(), Log::default());
        let layer = CheckpointLayer::new(store.clone(), effects).observe(log.clone()).probe(
            move |step: &Step<u64>, asked| {
                assert_eq!((step.request, asked), (5, key));
                let landing = landing.clone();
                async move { landing }
            },
        );
        let outcome = layer.layer(tool.service()).oneshot(charge(5)).await;
        assert_eq!(log.take()[0], Event::InDoubt { attempt: 1, resolution });
        let case = format!("{effects:?} {resolution:?}");
        match expected {
            Ok(answer) => {
                assert_eq!(outcome, Ok(answer), "{case}");
                // And so it stays, without asking.
                assert_eq!(once(store, FAIL, &tool).await, Ok(answer), "{case}");
            }
            Err(expected) => assert_eq!(halt(outcome), expected, "{case}"),
        }
        assert_eq!(tool.calls(), calls, "{case}");
        tool.key();
    }
}

#[tokio::test(start_paused = true)]
async fn a_doubt_stays_if_the_world_cannot_be_asked() {
    let (store, tool) = doubtful().await;
    let layer = CheckpointLayer::new(store.clone(), RETRY).probe(|_: &Step<u64>, _| async {
        Err::<Landing<u64>, _>(ProbeError::Failed(Verdict::transient()))
    });
    let failed = layer.layer(tool.service()).oneshot(charge(5)).await;
    assert_eq!(failed, Err(ProbeError::Failed(Verdict::transient())));
    assert_eq!(statuses(&store).await, [Status::Intent]);
    assert_eq!(tool.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_changed_nothing_leaves_no_doubt() {
    let unsent = Verdict::transient().with_effect(buttress::Effect::None);
    for verdict in [Verdict::throttled(), Verdict::rejected(), Verdict::reroute(), unsent] {
        let (store, tool) = (MemoryStore::new(), Tool::scripted([Act::fail(verdict)]));
        let failed = once(store.clone(), FAIL, &tool).await;
        assert_eq!(failed, Err(ProbeError::Failed(verdict)));
        assert_eq!(statuses(&store).await, [Status::Intent, Status::Withdrawn]);
        assert_eq!(store.summary(&order()).await.unwrap().unwrap().pending, 0);
        // Elsewhere, as soon as the lease is over: it is done, as a second attempt.
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(once(store.clone(), FAIL, &tool).await, Ok(5));
        assert_eq!(store.get(&order(), 4).await.unwrap().attempt, 2);
        tool.key();
    }
    // Of this one nobody can say.
    let (store, tool) = (MemoryStore::new(), Tool::scripted([Act::fail(Verdict::transient())]));
    once(store.clone(), FAIL, &tool).await.unwrap_err();
    assert_eq!(statuses(&store).await, [Status::Intent]);
}

#[tokio::test(start_paused = true)]
async fn what_was_withdrawn_binds_nobody_to_its_request() {
    let (store, tool) = (MemoryStore::new(), Tool::scripted([Act::fail(Verdict::throttled())]));
    let service = CheckpointLayer::new(store.clone(), FAIL).layer(tool.service());
    service.clone().oneshot(charge(5)).await.unwrap_err();
    assert_eq!(service.clone().oneshot(charge(6)).await, Ok(6));
    assert_eq!(halt(service.oneshot(charge(5)).await), Halt::Mismatch { step: "charge".into() });
    // A copy of the time before begins it afresh.
    let copy = WorkflowId::new("default", "copy");
    assert!(store.fork(&order(), 2, &copy).await.unwrap().latest == 0);
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_does_not_clear_up_an_earlier_one() {
    let (store, tool) = doubtful().await;
    // The second attempt is refused, and the first may still have had an effect.
    tool.handle.script([Act::fail(Verdict::rejected())]);
    once(store.clone(), RETRY, &tool).await.unwrap_err();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(halt(once(store.clone(), FAIL, &tool).await), in_doubt(2));

    // If the world says that it had none, nothing is in doubt any more.
    tool.handle.script([Act::fail(Verdict::rejected())]);
    let layer = CheckpointLayer::new(store.clone(), FAIL)
        .probe(|_: &Step<u64>, _| async { Ok::<_, ProbeError>(Landing::Absent) });
    layer.layer(tool.service()).oneshot(charge(5)).await.unwrap_err();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(once(store, FAIL, &tool).await, Ok(5));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_result_is_in_doubt_or_done_again() {
    for (effects, calls) in
        [(FAIL, 1), (RETRY, 2), (Effects::ReadOnly, 2), (Effects::Idempotent, 2)]
    {
        let (store, tool, log) = (MemoryStore::new(), Tool::new(), Log::default());
        once(store.clone(), effects, &tool).await.unwrap();
        tokio::time::sleep(60 * SECOND).await;
        let version = if effects.intend() { 2 } else { 1 };
        assert!(store.tamper(&order(), version, |bytes| bytes[40] ^= 1));
        let layer = CheckpointLayer::new(store.clone(), effects).observe(log.clone());
        let outcome = layer.layer(tool.service()).oneshot(charge(5)).await;
        assert_eq!(tool.calls(), calls, "{effects:?}");
        tool.key();
        let told = log.take();
        assert_eq!(told[0], Event::Damaged { version }, "{effects:?}");
        assert_eq!(told.iter().filter(|event| matches!(event, Event::Damaged { .. })).count(), 1);
        if effects.intend() {
            assert!(matches!(told[1], Event::InDoubt { attempt: 0, .. }), "{told:?}");
        }
        if effects == FAIL {
            let halt = halt(outcome);
            assert_eq!(halt, in_doubt(0));
            assert!(halt.to_string().contains("its record is damaged"), "{halt}");
        } else {
            assert_eq!(outcome, Ok(5));
            assert_eq!(once(store, effects, &tool).await, Ok(5), "it is intact again");
            assert_eq!(tool.calls(), calls);
        }
    }
}
