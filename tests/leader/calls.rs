//! Calls: let in, refused, and those that wait.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_call_that_was_let_in_outlives_the_leadership() {
    let store = MemoryStore::new();
    let a = Process::new(&store);
    let _a = a.stand();
    let epoch = a.handle.wait_until_leader().await;
    let tool = async |call: Led<()>| {
        sleep(2 * TTL).await;
        Ok::<_, Rejection>(call.token)
    };
    let call = tokio::spawn(a.layer.layer(service_fn(tool)).oneshot(Led::new(())));
    settle().await;
    assert!(a.handle.step_down());
    assert_eq!(call.await.unwrap(), Ok(Some(FencingToken::new(epoch))));
}

#[tokio::test(start_paused = true)]
async fn a_readied_instance_is_let_go_when_the_process_leads_no_more() {
    let a = Process::new(&MemoryStore::new());
    let _a = a.stand();
    a.handle.wait_until_leader().await;
    let (mut service, probe) = a.over_probe();
    let mut other = service.clone();
    service.ready().await.unwrap();
    probe.assert_reserved(1);
    assert!(a.handle.step_down());
    let refused = service.call(ProbeRequest::new(1)).await;
    assert!(matches!(refused, Err(ProbeError::Rejected(Rejection::NotLeader { .. }))));
    probe.assert_idle();
    // Not the leader: ready without the inner service.
    probe.block();
    service.ready().await.unwrap();
    probe.assert_nothing_waiting();
    // Elected in between: the instance was never made ready, and is not called.
    probe.unblock();
    other.ready().await.unwrap();
    a.handle.wait_until_leader().await;
    match other.call(ProbeRequest::new(2)).await {
        Err(ProbeError::Rejected(rejection)) => {
            assert_eq!(rejection.retry_after(), Some(Duration::ZERO));
            assert_eq!(rejection.verdict().kind, Verdict::rejected().kind);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(probe.counts().calls, 0);
    assert!(other.oneshot(ProbeRequest::new(3)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_for_the_service_is_woken_when_the_process_leads_no_more() {
    let a = Process::new(&MemoryStore::new());
    let _a = a.stand();
    a.handle.wait_until_leader().await;
    let (mut service, probe) = a.over_probe();
    probe.block();
    let alarm = Alarm::new();
    let mut cx = Context::from_waker(alarm.waker());
    assert!(service.poll_ready(&mut cx).is_pending());
    assert_eq!(alarm.count(), 0);
    assert!(a.handle.step_down());
    assert!(alarm.count() > 0);
    assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
    probe.assert_nothing_waiting();
    drop(service);
    probe.assert_gone();
}

#[tokio::test(start_paused = true)]
async fn a_future_dropped_at_any_poll_leads_no_more() {
    let store = MemoryStore::new();
    for polls in 0..6 {
        let a = Process::new(&store);
        let mut campaign: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(a.layer.campaign(pending()));
        for _ in 0..polls {
            let poll = crate::support::poll_once(pin!(&mut campaign)).await;
            assert!(poll.is_pending());
            sleep(TTL / 3).await;
        }
        assert_eq!(a.handle.is_leader(), polls > 0);
        drop(campaign);
        assert!(!a.handle.is_leader());
        sleep(TTL).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_the_service_is_passed_on() {
    let a = Process::new(&MemoryStore::new());
    let _a = a.stand();
    a.handle.wait_until_leader().await;
    let (service, probe) = a.over_probe();
    probe.otherwise(Act::fail(Verdict::permanent()));
    let failed = service.clone().oneshot(ProbeRequest::new(1)).await;
    assert_eq!(failed.unwrap_err(), ProbeError::Failed(Verdict::permanent()));
    assert_eq!(a.told().len(), 1, "only its election is told");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_granted_late_counts_from_the_question() {
    let process = Process::new(&MemoryStore::new());
    process.store.set(Fault::Silent);
    let asked = Instant::now();
    let _running = process.stand_until_death();
    sleep(2 * SECOND).await;
    process.store.set(Fault::None);
    process.handle.wait_until_leader().await;
    // No renewal is answered.
    process.store.set(Fault::Silent);
    // Thousands call at the moment at which it is over, each at a time of its own.
    let end = asked + TTL - MARGIN - TICK;
    let mut calls = Vec::new();
    for number in 0..4_000_u64 {
        let at = end - SECOND + Duration::from_micros(500 * number);
        let service = process.layer.layer(service_fn(async |_: Led<()>| Ok::<_, Rejection>(())));
        calls.push(tokio::spawn(async move {
            sleep_until(at).await;
            (Instant::now(), service.oneshot(Led::new(())).await.is_ok())
        }));
    }
    let (mut let_in, mut refused) = (0, 0);
    for call in calls {
        let (at, is_in) = call.await.unwrap();
        assert_eq!(is_in, at < end, "{:?} after the question", at - asked);
        *(if is_in { &mut let_in } else { &mut refused }) += 1;
    }
    assert!(let_in > 1_900 && refused > 1_900, "{let_in} {refused}");
}
