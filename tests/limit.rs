//! LimitLayer: what a caller sees.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

mod adaptive;
mod overload;

use std::{
    num::{NonZeroU32, ParseIntError},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress::{
    CallError, Event, LimitHandle, LimitLayer, Rejection, Teller, TimeoutLayer, Verdict, Why,
    limit::Limit,
};
use buttress_sim::probe::{
    Act, Alarm, ProbeError, ProbeHandle, ProbeRequest, ProbeService, Readiness,
};
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn fixed(n: u32) -> LimitLayer {
    LimitLayer::fixed(number(n)).name("tool")
}

/// A limit over a service of its own that can take any number of calls.
fn over(layer: &LimitLayer) -> (Limit<ProbeService>, LimitHandle, ProbeHandle) {
    let probe = ProbeService::new(1_000);
    let handle = probe.handle();
    handle.otherwise(Act::Answer { after: SECOND });
    (layer.layer(probe), layer.handle(), handle)
}

fn refused(outcome: &Result<impl Sized, ProbeError>) -> Option<Duration> {
    match outcome {
        Err(ProbeError::Rejected(Rejection::Full { name, retry_after })) => {
            assert_eq!(name.as_str(), "tool");
            *retry_after
        }
        _ => None,
    }
}

/// Polls for readiness once, with an alarm as the waker.
fn poll_ready<S: Service<ProbeRequest>>(service: &mut S, alarm: &Alarm) -> Poll<bool> {
    service.poll_ready(&mut Context::from_waker(alarm.waker())).map(|ready| ready.is_ok())
}

#[tokio::test(start_paused = true)]
async fn so_many_run_at_once_and_the_rest_in_their_order() {
    let (service, limit, probe) = over(&fixed(3).queue(20));
    let order = Arc::new(Mutex::new(vec![]));
    let start = Instant::now();
    let callers: Vec<_> = (0..10)
        .map(|id| {
            let (service, order) = (service.clone(), order.clone());
            tokio::spawn(async move {
                service.oneshot(ProbeRequest::new(id)).await.unwrap();
                order.lock().unwrap().push(id);
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!((limit.limit(), limit.in_flight(), limit.queued()), (3, 3, 7));
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
    assert_eq!((start.elapsed(), probe.counts().max_in_flight), (4 * SECOND, 3));
    let counters = limit.counters();
    assert_eq!((counters.admitted, counters.waited, counters.rejected), (10, 7, 0));
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn as_many_wait_as_may_run() {
    let (service, limit, _probe) = over(&fixed(3));
    let calls = (0..10).map(|id| service.clone().oneshot(ProbeRequest::new(id)));
    let callers: Vec<_> = calls.map(tokio::spawn).collect();
    let mut refusals = 0;
    for caller in callers {
        refusals += u64::from(refused(&caller.await.unwrap()).is_some());
    }
    assert_eq!((refusals, limit.counters().rejected), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_comes_at_once_and_leaves_the_service_alone() {
    let (mut service, limit, probe) = over(&fixed(1).queue(0));
    let mut other = service.clone();
    let running = tokio::spawn(service.ready().await.unwrap().call(ProbeRequest::new(1)));
    tokio::task::yield_now().await;
    let before = probe.counts();
    let start = Instant::now();
    for _ in 0..3 {
        // Whether or not readiness is asked for again.
        other.ready().await.unwrap();
        other.ready().await.unwrap();
        assert!(refused(&other.call(ProbeRequest::new(2)).await).is_some());
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    let after = probe.counts();
    assert_eq!((before.readiness_polls, before.calls), (after.readiness_polls, after.calls));
    assert_eq!(limit.in_flight(), 1);
    running.await.unwrap().unwrap();
    // It was refused as of then; now there is room.
    other.ready().await.unwrap().call(ProbeRequest::new(3)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_without_readiness_is_refused() {
    let (mut service, limit, probe) = over(&fixed(1));
    assert!(refused(&service.call(ProbeRequest::new(1)).await).is_some());
    assert_eq!((limit.in_flight(), probe.counts().calls), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_long_enough_is_refused() {
    let (service, limit, _probe) = over(&fixed(1).queue(5).wait_at_most(3 * SECOND / 2));
    let start = Instant::now();
    let calls = (0..4).map(|id| service.clone().oneshot(ProbeRequest::new(id)));
    let callers: Vec<_> = calls.map(tokio::spawn).collect();
    let mut ends = vec![];
    for caller in callers {
        let outcome = caller.await.unwrap();
        ends.push((outcome.is_ok(), refused(&outcome).is_some(), start.elapsed()));
    }
    // The second had its turn after a second, the third would have had to wait for two.
    let late = (false, true, 2 * SECOND);
    assert_eq!(ends, [(true, false, SECOND), (true, false, 2 * SECOND), late, late]);
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
    assert_eq!(limit.counters().rejected, 2);
}

#[tokio::test(start_paused = true)]
async fn room_that_comes_just_when_patience_ends_is_taken() {
    let (service, limit, _probe) = over(&fixed(1).wait_at_most(SECOND));
    let first = tokio::spawn(service.clone().oneshot(ProbeRequest::new(1)));
    tokio::task::yield_now().await;
    let second = tokio::spawn(service.oneshot(ProbeRequest::new(2)));
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(limit.counters().rejected, 0);
}

#[tokio::test(start_paused = true)]
async fn an_endless_patience_is_none() {
    let (service, _limit, _probe) = over(&fixed(1).wait_at_most(Duration::MAX));
    let first = tokio::spawn(service.clone().oneshot(ProbeRequest::new(1)));
    tokio::task::yield_now().await;
    service.oneshot(ProbeRequest::new(2)).await.unwrap();
    first.await.unwrap().unwrap();
}

#[test]
fn a_wait_that_cannot_be_timed_leaves_the_line() {
    let layer = fixed(1).wait_at_most(SECOND);
    let limit = layer.handle();
    let mut first = layer.layer(service_fn(async |(): ()| Ok::<_, BoxError>(())));
    let mut second = first.clone();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(first.poll_ready(&mut cx).is_ready());
    // There are no timers outside of a runtime.
    assert!(catch_unwind(AssertUnwindSafe(|| second.poll_ready(&mut cx))).is_err());
    assert_eq!((limit.in_flight(), limit.queued()), (1, 0));
    drop(first);
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_the_line() {
    let (service, limit, _probe) = over(&fixed(1).queue(1));
    let running = tokio::spawn(service.clone().oneshot(ProbeRequest::new(1)));
    tokio::task::yield_now().await;
    let waiting = timeout(SECOND / 2, service.clone().oneshot(ProbeRequest::new(2)));
    assert!(waiting.await.is_err());
    assert_eq!(limit.queued(), 0);
    service.oneshot(ProbeRequest::new(3)).await.unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_to_one_who_is_gone_goes_to_the_next() {
    let (mut first, limit, _probe) = over(&fixed(1).queue(2));
    let (mut second, mut third) = (first.clone(), first.clone());
    let alarms: [Alarm; 3] = Default::default();
    assert_eq!(poll_ready(&mut first, &alarms[0]), Poll::Ready(true));
    assert_eq!(poll_ready(&mut second, &alarms[1]), Poll::Pending);
    assert_eq!(poll_ready(&mut third, &alarms[2]), Poll::Pending);
    drop(first);
    // It is woken, and nobody else; but it does not come.
    assert_eq!([1, 2].map(|index: usize| alarms[index].count()), [1, 0]);
    assert_eq!((limit.in_flight(), limit.queued()), (1, 1));
    drop(second);
    assert_eq!(alarms[2].count(), 1);
    assert_eq!(poll_ready(&mut third, &alarms[2]), Poll::Ready(true));
    drop(third);
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_by_its_latest_waker() {
    let (mut first, _limit, _probe) = over(&fixed(1));
    let mut second = first.clone();
    let (old, new) = (Alarm::new(), Alarm::new());
    assert_eq!(poll_ready(&mut first, &old), Poll::Ready(true));
    assert_eq!(poll_ready(&mut second, &old), Poll::Pending);
    assert_eq!(poll_ready(&mut second, &new), Poll::Pending);
    drop(first);
    assert_eq!((old.count(), new.count()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_permit_is_free_before_the_outcome_is_returned() {
    let (mut service, limit, probe) = over(&fixed(1));
    for act in [Act::answer(), Act::fail(Verdict::transient())] {
        probe.script([act]);
        let mut call = pin!(service.ready().await.unwrap().call(ProbeRequest::new(1)));
        assert_eq!(limit.in_flight(), 1);
        let _ = call.as_mut().await;
        assert_eq!(limit.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_makes_room() {
    let (mut service, limit, probe) = over(&fixed(1));
    probe.otherwise(Act::Hang);
    // Before its first poll, and after.
    drop(service.ready().await.unwrap().call(ProbeRequest::new(1)));
    assert_eq!(limit.in_flight(), 0);
    let call = service.ready().await.unwrap().call(ProbeRequest::new(1));
    assert!(timeout(SECOND, call).await.is_err());
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_makes_room() {
    let (mut service, limit, probe) = over(&fixed(1));
    probe.readiness([Readiness::Fail(Verdict::permanent())]);
    assert!(service.ready().await.is_err());
    assert_eq!(limit.in_flight(), 0);
    service.ready().await.unwrap().call(ProbeRequest::new(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn panics_make_room() {
    // Of the call's future.
    let (service, limit, probe) = over(&fixed(1));
    probe.script([Act::Panic]);
    assert!(tokio::spawn(service.oneshot(ProbeRequest::new(1))).await.is_err());
    assert_eq!(limit.in_flight(), 0);

    // Of the service.
    #[derive(Clone)]
    struct Panics;
    impl Service<()> for Panics {
        type Response = ();
        type Error = BoxError;
        type Future = std::future::Ready<Result<(), BoxError>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, (): ()) -> Self::Future {
            panic!("planned")
        }
    }
    let layer = fixed(1);
    let mut service = layer.layer(Panics);
    service.ready().await.unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| service.call(()))).is_err());
    assert_eq!(layer.handle().in_flight(), 0);

    // Of the listener.
    let layer = fixed(1).queue(0).observe(|_: Teller<'_>, _: &Event| panic!("planned"));
    let mut service = layer.layer(Panics);
    service.ready().await.unwrap();
    let mut other = service.clone();
    other.ready().await.unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(other.call(())))).is_err());
    drop(service);
    assert_eq!(layer.handle().in_flight(), 0);
    other.ready().await.unwrap();
    assert_eq!(layer.handle().in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_higher_limit_lets_those_in_who_wait() {
    let (service, limit, probe) = over(&fixed(1).queue(9));
    let calls = (0..5).map(|id| service.clone().oneshot(ProbeRequest::new(id)));
    let callers: Vec<_> = calls.map(tokio::spawn).collect();
    tokio::task::yield_now().await;
    limit.set(number(4));
    tokio::task::yield_now().await;
    assert_eq!((limit.in_flight(), limit.queued(), probe.counts().in_flight), (4, 1, 4));
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lower_limit_waits_for_what_runs() {
    let (service, limit, probe) = over(&fixed(3).queue(9));
    let start = Instant::now();
    let calls = (0..5).map(|id| service.clone().oneshot(ProbeRequest::new(id)));
    let callers: Vec<_> = calls.map(tokio::spawn).collect();
    tokio::task::yield_now().await;
    limit.set(number(1));
    assert_eq!((limit.in_flight(), limit.queued()), (3, 2));
    sleep(3 * SECOND / 2).await;
    assert_eq!((limit.in_flight(), limit.queued(), probe.counts().in_flight), (1, 1, 1));
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(start.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn one_layer_is_one_limit() {
    let layer = fixed(1).queue(0);
    let (mut one, limit, _probe) = over(&layer);
    let (mut two, ..) = over(&layer.clone());
    one.ready().await.unwrap();
    assert_eq!(limit.in_flight(), 1);
    two.ready().await.unwrap();
    assert!(refused(&two.call(ProbeRequest::new(1)).await).is_some());
    // A clone of an instance that was let in, was not.
    let mut clone = one.clone();
    clone.ready().await.unwrap();
    assert!(refused(&clone.call(ProbeRequest::new(1)).await).is_some());
    one.call(ProbeRequest::new(2)).await.unwrap();
    assert_eq!(two.handle().counters(), limit.counters());
    // With other settings it is another one.
    assert_eq!(layer.name("other").handle().counters().admitted, 0);
}

#[tokio::test(start_paused = true)]
async fn says_when_to_come_back() {
    let (service, _limit, _probe) = over(&fixed(10).queue(10));
    let mut waits = vec![];
    // Twenty calls a second are asked for where ten can be served.
    let mut callers = vec![];
    for id in 0..200 {
        let call = service.clone().oneshot(ProbeRequest::new(id));
        callers.push(tokio::spawn(call));
        sleep(SECOND / 20).await;
    }
    for caller in callers {
        waits.extend(refused(&caller.await.unwrap()));
    }
    // Ten before it, served at ten a second; more or less, since they come in bursts of ten.
    assert!(waits.len() > 60, "{}", waits.len());
    let mean = waits.iter().map(Duration::as_secs_f64).sum::<f64>() / waits.len() as f64;
    assert!((1.0..=1.3).contains(&mean), "{mean}: {waits:?}");
    assert!(waits.iter().all(|wait| (0.9..=1.7).contains(&wait.as_secs_f64())), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_that_covers_readiness_bounds_the_wait() {
    let (service, limit, _probe) = over(&fixed(1));
    let service =
        ServiceBuilder::new().layer(TimeoutLayer::new(SECOND / 2).and_readiness()).service(service);
    let first = tokio::spawn(service.clone().oneshot(ProbeRequest::new(1)));
    tokio::task::yield_now().await;
    let second = service.oneshot(ProbeRequest::new(2)).await;
    assert_eq!(second.unwrap_err(), ProbeError::Rejected(Rejection::unready(SECOND / 2)));
    assert!(first.await.unwrap().is_err());
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fixed_limit_asks_nothing_of_the_error() {
    // `ParseIntError` does not say what it means, and nobody asks.
    let service = ServiceBuilder::new()
        .layer(fixed(1))
        .map_err(CallError::Service)
        .service(service_fn(async |text: &str| text.parse::<u32>()));
    let error: CallError<ParseIntError> = service.oneshot("many").await.unwrap_err();
    assert!(error.service().is_some());
}

#[test]
fn commands_are_told() {
    let told = Arc::new(Mutex::new(vec![]));
    let sink = told.clone();
    let layer = fixed(3).observe(move |teller: Teller<'_>, event: &Event| {
        assert_eq!((teller.pattern, teller.name), ("limit", "tool"));
        sink.lock().unwrap().push(*event);
    });
    layer.handle().set(number(5));
    layer.handle().set(number(5));
    let event = Event::LimitChanged { from: 3, to: 5, why: Why::Command };
    assert_eq!(*told.lock().unwrap(), [event]);
}

/// Threads that call, wait, and give up at any point: the limit holds, and nobody is forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_share_it() {
    let (running, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let layer = fixed(3).queue(4);
    let limit = layer.handle();
    let service = layer.layer(service_fn(move |yields: u32| {
        let (running, most) = (running.clone(), most.clone());
        async move {
            let now = running.fetch_add(1, Ordering::Relaxed) + 1;
            most.fetch_max(now, Ordering::Relaxed);
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
            running.fetch_sub(1, Ordering::Relaxed);
            Ok::<_, BoxError>(most.load(Ordering::Relaxed))
        }
    }));
    let callers: Vec<_> = (0..16_u32)
        .map(|caller| {
            let mut service = service.clone();
            tokio::spawn(async move {
                let mut most = 0;
                for step in 0..500_u32 {
                    let kind = step.wrapping_mul(2_654_435_761).wrapping_add(caller) >> 7;
                    if kind % 5 == 0 {
                        // Gives up in line, or when it was let in.
                        let mut clone = service.clone();
                        let mut cx = Context::from_waker(Waker::noop());
                        let _ = clone.poll_ready(&mut cx);
                        continue;
                    }
                    let call = service.ready().await.unwrap().call(kind % 3);
                    if let Ok(seen) = call.await {
                        most = most.max(seen);
                    }
                }
                most
            })
        })
        .collect();
    for caller in callers {
        let most = timeout(60 * SECOND, caller).await.expect("nobody is forgotten").unwrap();
        assert!(most <= 3, "{most} at once");
    }
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
    let counters = limit.counters();
    assert!(counters.waited > 0 && counters.admitted > 0, "{counters:?}");
}
