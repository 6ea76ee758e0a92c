//! Answers of the store that get lost, and what is known all the same.

use tokio::time::{Instant, sleep, timeout};

use super::{
    flaky::{Flaky, Lost},
    *,
};

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_never_answered_is_made_up_for() {
    let (store, tool) =
        (Flaky::new(MemoryStore::new()), Tool::scripted([Act::Answer { after: 25 * SECOND }]));
    let journal = Journal::new(store.clone()).ttl(9 * SECOND);
    store.plan([None, Some(Lost::Everything)]);
    let service = CheckpointLayer::new(journal, FAIL).layer(tool.service());
    let call = tokio::spawn(service.oneshot(charge(5)));
    sleep(20 * SECOND).await;
    let other = halt(once(store.memory.clone(), FAIL, &tool).await);
    assert!(matches!(other, Halt::Held { .. }), "{other:?}");
    assert_eq!(call.await.unwrap(), Ok(5));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_lapsed_while_the_store_was_away_is_taken_up_again() {
    let (store, log) = (Flaky::new(MemoryStore::new()), Log::default());
    let tool = Tool::scripted([Act::Answer { after: 60 * SECOND }]);
    let journal = Journal::new(store.clone()).ttl(9 * SECOND);
    store.plan([None].into_iter().chain([Some(Lost::Request); 12]));
    let layer = CheckpointLayer::new(journal, FAIL).observe(log.clone());
    let call = tokio::spawn(layer.layer(tool.service()).oneshot(charge(5)));
    sleep(50 * SECOND).await;
    let other = halt(once(store.memory.clone(), FAIL, &tool).await);
    assert!(matches!(other, Halt::Held { .. }), "{other:?}");
    assert_eq!(call.await.unwrap(), Ok(5));
    assert!(!log.take().iter().any(|event| matches!(event, Event::Fenced { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_intent_whose_answer_was_lost_is_known_again_by_who_wrote_it() {
    for lost in [Lost::Request, Lost::Answer] {
        let (store, tool, log) = (Flaky::new(MemoryStore::new()), Tool::new(), Log::default());
        let layer = CheckpointLayer::new(Journal::new(store.clone()), FAIL).observe(log.clone());
        let service = layer.layer(tool.service());
        store.plan([Some(lost); 3]);
        for _ in 0..3 {
            let halt = halt(service.clone().oneshot(charge(5)).await);
            assert!(matches!(halt, Halt::Store(_)), "{halt:?}");
        }
        assert_eq!(log.take(), []);
        // Nothing was called, and it knows: the step is not in doubt.
        assert_eq!(service.clone().oneshot(charge(5)).await, Ok(5), "{lost:?}");
        assert_eq!(tool.calls(), 1);
        assert!(!log.take().iter().any(|event| matches!(event, Event::InDoubt { .. })));
        assert_eq!(store.summary(&order()).await.unwrap().unwrap().pending, 0);
        assert_eq!(service.oneshot(charge(5)).await, Ok(5));
        assert_eq!(tool.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_before_its_intent_was_answered_leaves_no_doubt_here() {
    let (store, tool) = (Flaky::new(MemoryStore::new()).latency(SECOND), Tool::new());
    let service = CheckpointLayer::new(Journal::new(store.clone()), FAIL).layer(tool.service());
    timeout(SECOND / 2, service.clone().oneshot(charge(5))).await.unwrap_err();
    assert_eq!(statuses(&store).await, [Status::Intent]);
    // Elsewhere nobody can know.
    sleep(60 * SECOND).await;
    assert_eq!(halt(once(store.memory.clone(), FAIL, &tool).await), in_doubt(1));
    assert_eq!(service.oneshot(charge(5)).await, Ok(5));
    assert_eq!(tool.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_called_is_in_doubt_though_an_answer_was_lost_later() {
    let (store, tool) = (Flaky::new(MemoryStore::new()), Tool::scripted([Act::Hang]));
    let journal = Journal::new(store.clone());
    let service = CheckpointLayer::new(journal.clone(), FAIL).layer(tool.service());
    timeout(SECOND, service.clone().oneshot(charge(5))).await.unwrap_err();
    for lost in [Lost::Request, Lost::Answer] {
        store.plan([Some(lost)]);
        let halt = halt(service.clone().oneshot(charge(5)).await);
        assert!(matches!(halt, Halt::Store(_)), "{halt:?}");
        assert_eq!(self::halt(service.clone().oneshot(charge(5)).await), in_doubt(1));
    }
    // A second attempt that was not made does not clear up the first.
    for lost in [Lost::Answer, Lost::Request] {
        store.plan([None, Some(lost)]);
        let again = CheckpointLayer::new(journal.clone(), RETRY).layer(tool.service());
        let halt = halt(again.oneshot(charge(5)).await);
        assert!(matches!(halt, Halt::Store(_)), "{halt:?}");
        assert_eq!(self::halt(service.clone().oneshot(charge(5)).await), in_doubt(2));
    }
    assert_eq!(tool.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_another_did_meanwhile_is_not_taken_for_ones_own() {
    let (store, tool) = (Flaky::new(MemoryStore::new()), Tool::new());
    let service = CheckpointLayer::new(Journal::new(store.clone()), FAIL).layer(tool.service());
    store.plan([Some(Lost::Answer)]);
    halt(service.clone().oneshot(charge(5)).await);
    sleep(60 * SECOND).await;
    // Another takes it over, calls, and is gone.
    tool.handle.script([Act::Hang]);
    timeout(SECOND, once(store.memory.clone(), RETRY, &tool)).await.unwrap_err();
    sleep(60 * SECOND).await;
    assert_eq!(halt(service.oneshot(charge(5)).await), in_doubt(2));
    assert_eq!(tool.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_one_step_are_answered_together() {
    let store = Flaky::new(MemoryStore::new()).latency(SECOND / 10);
    let tool = Tool::scripted([Act::Answer { after: SECOND }]);
    let layer = CheckpointLayer::new(store, FAIL).wait_in_flight();
    let service = layer.layer(tool.service());
    let began = Instant::now();
    let calls: Vec<_> =
        (0..500).map(|_| tokio::spawn(service.clone().oneshot(charge(5)))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(5));
    }
    assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
    assert_eq!(tool.calls(), 1);
}
