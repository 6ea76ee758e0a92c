//! A store that fails, and processes that are stopped.

use super::*;

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_calls_are_let_in_until_the_lease_is_not_proven() {
    for fault in [Fault::Down, Fault::AnswersLost, Fault::Silent] {
        let store = MemoryStore::new();
        let a = Process::new(&store);
        let _a = a.stand();
        let epoch = a.handle.wait_until_leader().await;
        let asked = Instant::now();
        a.store.set(fault);
        // The last moment before the margin.
        sleep(TTL - MARGIN - 2 * TICK).await;
        assert_eq!(a.fence().await, Ok(epoch), "{fault:?} after {:?}", asked.elapsed());
        assert!(a.handle.trouble().is_some());
        sleep(TICK).await;
        assert!(a.fence().await.is_err(), "{fault:?} after {:?}", asked.elapsed());
        sleep(TICK).await;
        let told = a.told();
        assert_eq!(told[0], Event::Elected { epoch });
        let deposed = Event::Deposed { epoch, why: Why::LeaseLost };
        assert_eq!(told.iter().filter(|event| **event == deposed).count(), 1, "{told:?}");
        let failures =
            told.iter().filter(|event| matches!(event, Event::StoreFailed { .. })).count();
        assert!((1..=12).contains(&failures), "{told:?}");
        // Nobody took it: it goes on under the same fence.
        a.store.set(Fault::None);
        assert_eq!(timeout(TTL, a.handle.wait_until_leader()).await, Ok(epoch));
        assert_eq!(a.handle.trouble(), None);
        assert_eq!(a.told().last(), Some(&Event::Elected { epoch }));
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_was_cut_off_does_not_come_back_when_another_leads() {
    let store = MemoryStore::new();
    let (a, b) = (Process::new(&store), Process::new(&store));
    let _a = a.stand();
    let first = a.handle.wait_until_leader().await;
    let _b = b.stand();
    a.store.set(Fault::Down);
    let second = b.handle.wait_until_leader().await;
    a.store.set(Fault::None);
    sleep(TTL).await;
    assert!(second > first);
    assert_eq!((a.handle.epoch(), b.handle.epoch()), (None, Some(second)));
    assert_eq!(a.handle.leader(), b.handle.leader());
    // It stands again, and is next.
    assert!(b.handle.step_down());
    assert!(timeout(2 * POLL, a.handle.wait_until_leader()).await.unwrap() > second);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_refuses_at_once_without_its_campaign() {
    let store = MemoryStore::new();
    let a = Process::new(&store);
    let mut campaign = Box::pin(a.layer.campaign(pending()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(campaign.as_mut().poll(&mut cx).is_pending());
    let epoch = a.handle.epoch().unwrap();
    assert_eq!(a.fence().await, Ok(epoch));
    // Time goes by, and the campaign is not polled.
    advance(TTL - MARGIN - TICK).await;
    assert_eq!(a.fence().await, Err(None));
    assert_eq!((a.handle.is_leader(), a.handle.epoch(), a.handle.lease()), (false, None, None));
    // Awake again, it finds out, and what it lost it may get back.
    assert_eq!(a.told(), [Event::Elected { epoch }]);
    assert!(campaign.as_mut().poll(&mut cx).is_pending());
    let deposed = Event::Deposed { epoch, why: Why::LeaseLost };
    assert_eq!(a.told(), [deposed, Event::Elected { epoch }]);
    assert_eq!(a.fence().await, Ok(epoch));
}

#[tokio::test(start_paused = true)]
async fn a_candidate_is_shut_down_while_the_store_is_silent() {
    let a = Process::new(&MemoryStore::new());
    a.store.set(Fault::Silent);
    let (stop, ended) = a.stand();
    sleep(TTL).await;
    assert!(matches!(a.told()[..], [Event::StoreFailed { attempt: 1, .. }, ..]));
    stop.send(()).unwrap();
    timeout(TTL, ended).await.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_who_gets_no_answers_keeps_nobody_from_leading() {
    let store = MemoryStore::new();
    let (a, b) = (Process::new(&store), Process::new(&store));
    a.store.set(Fault::AnswersLost);
    let _a = a.stand();
    settle().await;
    let _b = b.stand();
    // It may take the office once or twice again without knowing.
    let epoch = timeout(9 * TTL, b.handle.wait_until_leader()).await.unwrap();
    sleep(5 * TTL).await;
    assert_eq!(b.handle.epoch(), Some(epoch));
}

#[tokio::test(start_paused = true)]
async fn an_office_that_was_deleted_ends_the_campaign() {
    let store = MemoryStore::new();
    let a = Process::new(&store);
    let running = a.stand_until_death();
    a.handle.wait_until_leader().await;
    store.delete(&WorkflowId::new(NAMESPACE, "default/scheduler")).await.unwrap();
    let ended = timeout(TTL, running).await.unwrap().unwrap();
    assert!(matches!(ended, Err(StoreError::Deleted { .. })));
    assert!(a.fence().await.is_err());
    let long = LeaderLayer::new(store, "x".repeat(600));
    assert!(matches!(long.campaign(pending()).await, Err(StoreError::TooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn who_waits_while_a_stopped_leader_cannot_prove_its_lease_is_told_when_it_can_again() {
    let process = Process::new(&MemoryStore::new());
    let stopped = watch::Sender::new(false);
    let campaign = process.layer.campaign(pending());
    let running = tokio::spawn(stoppable(campaign, stopped.subscribe()));
    let fence = process.handle.wait_until_leader().await;
    // A renewal is on its way when the process is stopped.
    process.store.set(Fault::Silent);
    sleep(TTL / 3 + TICK).await;
    stopped.send(true).unwrap();
    process.store.set(Fault::None);
    sleep(TTL - MARGIN - TTL / 3).await;
    assert!(!process.handle.is_leader());
    let waiting = process.handle.clone();
    let waiting = tokio::spawn(async move { waiting.wait_until_leader().await });
    settle().await;
    // It is answered late, and in time for the store.
    stopped.send(false).unwrap();
    assert_eq!(timeout(TICK, waiting).await.unwrap().unwrap(), fence);
    assert!(process.handle.is_leader());
    running.abort();
}
