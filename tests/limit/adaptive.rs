//! The limit that finds itself.

use super::*;
use crate::support::poll_once;
use buttress::limit::Adaptive;

type Events = Arc<Mutex<Vec<Event>>>;

fn adaptive() -> (LimitLayer<Adaptive>, Events) {
    let events = Events::default();
    let sink = events.clone();
    let layer = LimitLayer::adaptive()
        .name("tool")
        .start(number(10))
        .observe(move |_: Teller<'_>, event: &Event| sink.lock().unwrap().push(*event));
    (layer, events)
}

fn probe(act: Act) -> (ProbeService, ProbeHandle) {
    let probe = ProbeService::new(1_000);
    let handle = probe.handle();
    handle.otherwise(act);
    (probe, handle)
}

fn changed(from: u32, to: u32, why: Why) -> Event {
    Event::LimitChanged { from, to, why }
}

/// So many calls at once.
async fn calls<S>(service: &S, count: u64)
where
    S: Service<ProbeRequest, Error = ProbeError, Future: Send, Response: Send>
        + Clone
        + Send
        + 'static,
{
    let calls = (0..count).map(|id| tokio::spawn(service.clone().oneshot(ProbeRequest::new(id))));
    for call in calls.collect::<Vec<_>>() {
        let _ = call.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn grows_by_one_for_as_many_answers_as_it_is_high() {
    let (layer, events) = adaptive();
    let limit = layer.handle();
    let service = layer.layer(probe(Act::Answer { after: SECOND }).0);
    // The first five of ten end while at least half is used.
    for _ in 0..2 {
        calls(&service, 10).await;
    }
    assert_eq!(limit.limit(), 11);
    assert_eq!(*events.lock().unwrap(), [changed(10, 11, Why::Growth)]);
    for _ in 0..100 {
        calls(&service, 5).await;
    }
    // Of five at a time none uses half of it.
    assert_eq!(limit.limit(), 11);
}

#[tokio::test(start_paused = true)]
async fn what_each_end_of_a_call_makes_of_it() {
    let quick = [
        (Act::fail(Verdict::transient()), 10),
        (Act::fail(Verdict::unknown()), 10),
        (Act::fail(Verdict::rejected()), 10),
        (Act::fail(Verdict::reroute()), 10),
        (Act::fail(Verdict::permanent()), 10),
        (Act::fail(Verdict::throttled()), 7),
        (Act::Fail { verdict: Verdict::transient(), after: 9 * SECOND }, 10),
        (Act::Fail { verdict: Verdict::transient(), after: 10 * SECOND }, 7),
        (Act::Fail { verdict: Verdict::rejected(), after: 10 * SECOND }, 10),
        (Act::Answer { after: 100 * SECOND }, 10),
    ];
    for (act, expected) in quick {
        let (layer, events) = adaptive();
        let service = layer.layer(probe(act).0);
        let _ = service.oneshot(ProbeRequest::new(1)).await;
        assert_eq!(layer.handle().limit(), expected, "{act:?}");
        assert_eq!(layer.handle().counters().shrunk, u64::from(expected < 10), "{act:?}");
        let told = if expected < 10 { vec![changed(10, 7, Why::Overload)] } else { vec![] };
        assert_eq!(*events.lock().unwrap(), told, "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_a_sign_where_that_is_set() {
    for (after, expected) in [(SECOND, 10), (2 * SECOND, 7)] {
        let layer = adaptive().0.slow_after(2 * SECOND);
        let service = layer.layer(probe(Act::Answer { after }).0);
        service.oneshot(ProbeRequest::new(1)).await.unwrap();
        assert_eq!(layer.handle().limit(), expected, "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_inside_is_a_sign() {
    let (layer, _) = adaptive();
    let limit = layer.handle();
    let service = ServiceBuilder::new()
        .layer(layer)
        .layer(TimeoutLayer::new(SECOND / 2))
        .service(probe(Act::Hang).0);
    let outcome = service.oneshot(ProbeRequest::new(1)).await;
    assert_eq!(outcome.unwrap_err(), ProbeError::Rejected(Rejection::timeout(SECOND / 2)));
    assert_eq!(limit.limit(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_elsewhere_is_none() {
    // One that ends on the same thread, in another call, between two polls of this one.
    let (layer, _) = adaptive();
    let limit = layer.handle();
    let act = Act::Fail { verdict: Verdict::transient(), after: SECOND };
    let mut service = layer.layer(probe(act).0);
    let mut call = pin!(service.ready().await.unwrap().call(ProbeRequest::new(1)));
    assert!(poll_once(call.as_mut()).await.is_pending());
    let other = TimeoutLayer::new(SECOND / 2).layer(probe(Act::Hang).0);
    assert!(other.oneshot(ProbeRequest::new(2)).await.is_err());
    assert!(call.await.is_err());
    assert_eq!(limit.limit(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_outside_is_a_sign() {
    let (layer, _) = adaptive();
    let limit = layer.handle();
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(SECOND / 2))
        .layer(layer)
        .service(probe(Act::Hang).0);
    assert!(service.oneshot(ProbeRequest::new(1)).await.is_err());
    assert_eq!((limit.limit(), limit.in_flight()), (7, 0));
}

#[tokio::test(start_paused = true)]
async fn who_spent_its_time_in_line_says_nothing_of_the_dependency() {
    // After two seconds in line it has one left, or three.
    for (allowed, expected) in [(3 * SECOND, 10), (5 * SECOND, 7)] {
        let (layer, _) = adaptive();
        let limit = layer.handle();
        let (probe, handle) = probe(Act::Hang);
        handle.script([Act::Answer { after: 2 * SECOND }; 10]);
        let service = layer.layer(probe);
        let others = service.clone();
        let others = tokio::spawn(async move { calls(&others, 10).await });
        sleep(Duration::from_millis(1)).await;
        let service = TimeoutLayer::new(allowed).and_readiness().layer(service);
        assert!(service.oneshot(ProbeRequest::new(11)).await.is_err());
        others.await.unwrap();
        assert_eq!(handle.counts().calls, 11);
        assert_eq!(limit.limit(), expected, "{allowed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_is_a_sign_if_it_was_slow() {
    for (after, expected) in [(9 * SECOND, 10), (10 * SECOND, 7)] {
        let (layer, _) = adaptive();
        let service = layer.layer(probe(Act::Hang).0);
        assert!(timeout(after, service.oneshot(ProbeRequest::new(1))).await.is_err());
        assert_eq!((layer.handle().limit(), layer.handle().in_flight()), (expected, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn shrinks_once_for_calls_that_fail_together() {
    let (layer, _) = adaptive();
    let limit = layer.handle();
    let service = ServiceBuilder::new()
        .layer(layer)
        .layer(TimeoutLayer::new(3 * SECOND))
        .service(probe(Act::Hang).0);
    // Ten calls, one each 200 ms: their timeouts are spread over more than a period.
    let mut running = vec![];
    for id in 0..10 {
        running.push(tokio::spawn(service.clone().oneshot(ProbeRequest::new(id))));
        sleep(SECOND / 5).await;
    }
    for call in running {
        assert!(call.await.unwrap().is_err());
    }
    assert_eq!((limit.limit(), limit.counters().shrunk), (7, 1));
    // Those that begin now have another three seconds.
    calls(&service, 7).await;
    assert_eq!((limit.limit(), limit.counters().shrunk), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn what_began_before_the_first_sign_says_no_more() {
    // Nothing but the outcome of the last call made the limit look at the clock.
    let (layer, _) = adaptive();
    let limit = layer.handle();
    let (probe, handle) = probe(Act::fail(Verdict::throttled()));
    handle.script([Act::Fail { verdict: Verdict::throttled(), after: 3 * SECOND }; 9]);
    let service = layer.layer(probe);
    let others = service.clone();
    let others = tokio::spawn(async move { calls(&others, 9).await });
    sleep(SECOND).await;
    assert!(service.oneshot(ProbeRequest::new(10)).await.is_err());
    assert_eq!(limit.limit(), 7);
    others.await.unwrap();
    assert_eq!((limit.limit(), limit.counters().shrunk), (7, 1));
}

#[tokio::test(start_paused = true)]
async fn shrinks_once_in_a_period_at_most() {
    let (layer, _) = adaptive();
    let layer = layer.period(2 * SECOND);
    let service = layer.layer(probe(Act::fail(Verdict::throttled())).0);
    let mut limits = vec![];
    for _ in 0..10 {
        let _ = service.clone().oneshot(ProbeRequest::new(1)).await;
        limits.push(layer.handle().limit());
        sleep(SECOND / 2).await;
    }
    assert_eq!(limits, [7, 7, 7, 7, 4, 4, 4, 4, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_shrinks_lets_nobody_in_until_it_is_met() {
    let (layer, _) = adaptive();
    let limit = layer.handle();
    let (probe, handle) = probe(Act::Hang);
    let service = layer.layer(probe);
    let callers: Vec<_> =
        (0..13).map(|id| tokio::spawn(service.clone().oneshot(ProbeRequest::new(id)))).collect();
    tokio::task::yield_now().await;
    assert_eq!((limit.in_flight(), limit.queued()), (10, 3));
    for (ended, expected) in [(1, (9, 3)), (2, (8, 3)), (3, (7, 3)), (4, (7, 2)), (5, (7, 1))] {
        handle.end(ended, Act::fail(Verdict::throttled()));
        sleep(Duration::from_millis(1)).await;
        assert_eq!((limit.in_flight(), limit.queued()), expected, "after {ended}");
    }
    assert_eq!(limit.limit(), 7);
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    sleep(Duration::from_millis(1)).await;
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn growth_lets_the_next_in() {
    let (layer, _) = adaptive();
    let layer = layer.start(number(1)).queue(100);
    let (limit, start) = (layer.handle(), Instant::now());
    let service = layer.layer(probe(Act::Answer { after: SECOND }).0);
    // In each second one more than in the second before; the last of them leave it half used.
    calls(&service, 1 + 2 + 3 + 4 + 5).await;
    assert_eq!((limit.limit(), start.elapsed()), (5, 5 * SECOND));
}

#[test]
fn bounds_make_sense_in_any_order() {
    let limits = |layer: LimitLayer<Adaptive>| {
        let handle = layer.handle();
        let start = handle.limit();
        handle.set(NonZeroU32::MIN);
        let min = handle.limit();
        handle.set(NonZeroU32::MAX);
        (min, start, handle.limit())
    };
    let layer = LimitLayer::adaptive;
    assert_eq!(limits(layer()), (1, 20, 1_000));
    assert_eq!(limits(layer().min(number(5)).max(number(50)).start(number(7))), (5, 7, 50));
    assert_eq!(limits(layer().min(number(30))), (30, 30, 1_000));
    assert_eq!(limits(layer().max(number(10))), (1, 10, 10));
    assert_eq!(limits(layer().min(number(5_000))), (5_000, 5_000, 5_000));
    assert_eq!(limits(layer().max(number(10)).min(number(15))), (15, 15, 15));
    assert_eq!(limits(layer().min(number(15)).max(number(10))), (10, 10, 10));
    assert_eq!(limits(layer().max(number(10)).start(number(40))), (1, 40, 40));
    assert_eq!(limits(layer().min(number(10)).start(number(4))), (4, 4, 1_000));
    let most = 2_097_151;
    assert_eq!(limits(layer().max(NonZeroU32::MAX).min(NonZeroU32::MAX)), (most, most, most));
    assert_eq!(LimitLayer::fixed(NonZeroU32::MAX).handle().limit(), most);
}

#[tokio::test(start_paused = true)]
async fn panics_of_judges_and_listeners_make_room() {
    let judge = |_: Result<&buttress_sim::probe::ProbeReply, &ProbeError>| panic!("planned");
    let layer = LimitLayer::adaptive().classify(judge);
    let service = layer.layer(probe(Act::answer()).0);
    assert!(tokio::spawn(service.oneshot(ProbeRequest::new(1))).await.is_err());
    assert_eq!(layer.handle().in_flight(), 0);

    let layer = LimitLayer::adaptive().observe(|_: Teller<'_>, _: &Event| panic!("planned"));
    let service = layer.layer(probe(Act::fail(Verdict::throttled())).0);
    assert!(tokio::spawn(service.oneshot(ProbeRequest::new(1))).await.is_err());
    assert_eq!((layer.handle().in_flight(), layer.handle().limit()), (0, 14));
}
