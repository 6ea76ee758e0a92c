//! The probe catches each misuse, and lets proper use pass.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use buttress::{Fault, Rejection, TimeoutLayer, Verdict};
use buttress_sim::probe::{
    Act, Alarm, Hold, ProbeError, ProbeFuture, ProbeHandle, ProbeRequest, ProbeService, Readiness,
};
use tower::{Service, ServiceBuilder, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

fn probe(permits: u32) -> (ProbeService, ProbeHandle) {
    let probe = ProbeService::new(permits);
    let handle = probe.handle();
    (probe, handle)
}

fn poll_ready(probe: &mut ProbeService, alarm: &Alarm) -> Poll<Result<(), ProbeError>> {
    probe.poll_ready(&mut Context::from_waker(alarm.waker()))
}

fn ready(probe: &mut ProbeService) -> &mut ProbeService {
    assert_eq!(poll_ready(probe, &Alarm::new()), Poll::Ready(Ok(())));
    probe
}

fn call(probe: &mut ProbeService) -> Pin<Box<ProbeFuture>> {
    Box::pin(ready(probe).call(ProbeRequest::new(1)))
}

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Alarm::new().waker()))
}

// Misuse by the layer.

#[test]
#[should_panic(expected = "law 1: an instance was called that was not readied")]
fn catches_a_call_without_readiness() {
    let (mut probe, _) = probe(1);
    drop(probe.call(ProbeRequest::new(1)));
}

#[test]
#[should_panic(expected = "law 1: an instance was called that was not readied")]
fn catches_a_second_call_on_one_readiness() {
    let (mut probe, _) = probe(2);
    drop(call(&mut probe));
    drop(probe.call(ProbeRequest::new(2)));
}

#[test]
#[should_panic(expected = "law 1: an instance was called that was not readied")]
fn catches_a_call_on_the_clone_of_a_ready_instance() {
    let (mut probe, _) = probe(2);
    drop(ready(&mut probe).clone().call(ProbeRequest::new(1)));
}

#[test]
#[should_panic(expected = "law 1: an instance was called while its readiness was pending")]
fn catches_a_call_while_pending() {
    let (mut probe, _) = probe(0);
    assert!(poll_ready(&mut probe, &Alarm::new()).is_pending());
    drop(probe.call(ProbeRequest::new(1)));
}

#[test]
#[should_panic(expected = "law 1: an instance was called while its readiness was pending")]
fn catches_a_call_after_a_wake_without_a_poll() {
    let (mut probe, _) = probe(1);
    let mut waiting = probe.clone();
    let running = call(&mut probe);
    assert!(poll_ready(&mut waiting, &Alarm::new()).is_pending());
    drop(running);
    drop(waiting.call(ProbeRequest::new(1)));
}

#[test]
#[should_panic(expected = "law 1: an instance was called after its readiness had failed")]
fn catches_an_ignored_readiness_error() {
    let (mut probe, handle) = probe(1);
    handle.readiness([Readiness::Fail(Verdict::transient())]);
    let _ = poll_ready(&mut probe, &Alarm::new());
    drop(probe.call(ProbeRequest::new(1)));
}

#[test]
#[should_panic(expected = "the law of futures: call 1 was polled after it had ended")]
fn catches_a_poll_after_the_end() {
    let (mut probe, _) = probe(1);
    let mut running = call(&mut probe);
    assert!(poll(&mut running).is_ready());
    let _ = poll(&mut running);
}

// Misuse that shows in what is left.

#[test]
#[should_panic(expected = "law 6: 1 calls are still running")]
fn catches_a_loser_that_runs_on() {
    let (mut probe, handle) = probe(2);
    handle.script([Act::Hang]);
    let mut loser = call(&mut probe);
    assert!(poll(&mut loser).is_pending());
    handle.assert_idle();
}

#[test]
#[should_panic(expected = "law 6: 1 futures that have ended are still kept")]
fn catches_an_ended_future_that_is_kept() {
    let (mut probe, handle) = probe(1);
    let mut ended = call(&mut probe);
    assert!(poll(&mut ended).is_ready());
    handle.assert_idle();
}

#[test]
#[should_panic(expected = "law 6: 1 replies are still kept")]
fn catches_a_losing_reply_that_is_kept() {
    let (mut probe, handle) = probe(1);
    let reply = poll(&mut call(&mut probe));
    handle.assert_idle();
    drop(reply);
}

#[test]
#[should_panic(expected = "law 5: 1 instances are left pending")]
fn catches_an_abandoned_instance() {
    let (mut probe, handle) = probe(1);
    let running = call(&mut probe);
    assert!(poll_ready(&mut probe, &Alarm::new()).is_pending());
    drop(running);
    handle.assert_idle();
}

#[test]
#[should_panic(expected = "law 4: a readied instance is left unused: 1 reservations instead of 0")]
fn catches_an_unused_readiness() {
    let (mut probe, handle) = probe(1);
    ready(&mut probe);
    handle.assert_idle();
}

#[test]
#[should_panic(expected = "law 2: readiness is reserved once")]
fn catches_a_double_reservation() {
    let (mut probe, handle) = probe(2);
    let mut extra = probe.clone();
    ready(&mut probe);
    ready(&mut extra);
    handle.assert_reserved(1);
}

#[test]
#[should_panic(expected = "law 5: 2 readinesses were held at the same time")]
fn catches_several_readinesses() {
    let (mut probe, handle) = probe(2);
    let mut extra = probe.clone();
    ready(&mut extra);
    drop(call(&mut probe));
    drop(extra);
    handle.assert_one_readiness_at_a_time();
}

#[test]
#[should_panic(expected = "law 2: 2 instances are still alive")]
fn catches_an_instance_that_is_kept() {
    let (probe, handle) = probe(1);
    let _clone = probe.clone();
    handle.assert_gone();
}

#[test]
#[should_panic(expected = "law 5: 1 of 1 pending instances would wake another")]
fn catches_a_waker_that_is_not_passed_on() {
    let (mut probe, handle) = probe(0);
    assert!(poll_ready(&mut probe, &Alarm::new()).is_pending());
    handle.assert_would_wake(Alarm::new().waker());
}

#[test]
#[should_panic(expected = "law 5: pending was returned, but no instance is pending")]
fn catches_pending_without_a_waker() {
    let (_probe, handle) = probe(0);
    handle.assert_would_wake(Alarm::new().waker());
}

// Proper use.

#[test]
fn readiness_is_sticky_and_reserved_once() {
    let (mut probe, handle) = probe(2);
    for _ in 0..3 {
        ready(&mut probe);
    }
    handle.assert_reserved(1);
    assert_eq!((handle.counts().free, handle.counts().readiness_polls), (1, 3));
    drop(probe);
    assert_eq!(handle.counts().free, 2);
    handle.assert_gone();
}

#[test]
fn permits_are_given_in_order_and_woken() {
    let (mut first, handle) = probe(1);
    let (mut second, mut third) = (first.clone(), first.clone());
    let running = call(&mut first);
    let (alarm_2, alarm_3) = (Alarm::new(), Alarm::new());
    assert!(poll_ready(&mut second, &alarm_2).is_pending());
    assert!(poll_ready(&mut third, &alarm_3).is_pending());
    drop(running);
    assert_eq!((alarm_2.count(), alarm_3.count()), (1, 0));
    // It belongs to the second: nobody may overtake it.
    assert!(poll_ready(&mut first, &Alarm::new()).is_pending());
    assert!(poll_ready(&mut third, &alarm_3).is_pending());
    drop(second);
    assert_eq!(alarm_3.count(), 1);
    assert!(poll_ready(&mut third, &alarm_3).is_ready());
}

#[test]
fn the_last_waker_counts() {
    let (mut probe, handle) = probe(1);
    let mut waiting = probe.clone();
    let running = call(&mut probe);
    let (old, new) = (Alarm::new(), Alarm::new());
    assert!(poll_ready(&mut waiting, &old).is_pending());
    assert!(poll_ready(&mut waiting, &new).is_pending());
    handle.assert_would_wake(new.waker());
    drop(running);
    assert_eq!((old.count(), new.count()), (0, 1));
}

#[test]
fn readiness_follows_the_script() {
    let (mut probe, handle) = probe(1);
    let verdict = Verdict::throttled();
    handle.readiness([Readiness::Pending, Readiness::Pending, Readiness::Fail(verdict)]);
    let alarm = Alarm::new();
    assert!(poll_ready(&mut probe, &alarm).is_pending());
    handle.assert_would_wake(alarm.waker());
    handle.wake();
    assert_eq!(alarm.count(), 1);
    assert!(poll_ready(&mut probe, &alarm).is_pending());
    let Poll::Ready(Err(error)) = poll_ready(&mut probe, &alarm) else { panic!("not planned") };
    assert_eq!((&error, error.verdict()), (&ProbeError::Unready(verdict), verdict));
    handle.assert_idle();
    ready(&mut probe);
}

#[test]
fn a_blocked_probe_wakes_when_it_is_unblocked() {
    let (mut probe, handle) = probe(1);
    let mut other = probe.clone();
    handle.block();
    let alarm = Alarm::new();
    assert!(poll_ready(&mut probe, &alarm).is_pending());
    assert!(poll_ready(&mut other, &alarm).is_pending());
    handle.unblock();
    assert_eq!(alarm.count(), 2);
    ready(&mut probe);
}

#[test]
fn an_instance_that_leaves_the_queue_lets_the_next_in() {
    let (mut first, handle) = probe(1);
    let (mut second, mut third) = (first.clone(), first.clone());
    let running = call(&mut first);
    let alarm = Alarm::new();
    assert!(poll_ready(&mut second, &Alarm::new()).is_pending());
    assert!(poll_ready(&mut third, &alarm).is_pending());
    handle.readiness([Readiness::Fail(Verdict::transient())]);
    assert!(poll_ready(&mut second, &Alarm::new()).is_ready(), "with an error");
    drop(running);
    assert_eq!(alarm.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn calls_follow_the_script() {
    let (probe, handle) = probe(1);
    let verdict = Verdict::permanent();
    handle.script([
        Act::Answer { after: SECOND },
        Act::Fail { verdict, after: SECOND },
        Act::fail(verdict),
    ]);
    let start = tokio::time::Instant::now();
    let reply = probe.clone().oneshot(ProbeRequest::from(9)).await.unwrap();
    assert_eq!((reply.id(), reply.call()), (9, 1));
    let error = probe.clone().oneshot(ProbeRequest::from(9)).await.unwrap_err();
    assert_eq!(error, ProbeError::Failed(verdict));
    assert_eq!(start.elapsed(), 2 * SECOND);
    assert!(probe.clone().oneshot(ProbeRequest::from(9)).await.is_err());
    handle.otherwise(Act::fail(verdict));
    assert!(probe.oneshot(ProbeRequest::from(9)).await.is_err());
    assert_eq!(start.elapsed(), 2 * SECOND);
    drop(reply);
    let counts = handle.counts();
    assert_eq!((counts.calls, counts.answered, counts.failed), (4, 1, 3));
    handle.assert_gone();
}

#[test]
fn a_hanging_call_ends_when_told() {
    let (mut probe, handle) = probe(1);
    handle.script([Act::Hang]);
    let mut running = call(&mut probe);
    let alarm = Alarm::new();
    assert!(running.as_mut().poll(&mut Context::from_waker(alarm.waker())).is_pending());
    handle.end(1, Act::fail(Verdict::unknown()));
    assert_eq!(alarm.count(), 1);
    assert!(matches!(poll(&mut running), Poll::Ready(Err(ProbeError::Failed(_)))));
    drop(running);
    handle.assert_idle();
}

#[test]
fn a_planned_panic_leaves_nothing() {
    let (mut probe, handle) = probe(1);
    handle.script([Act::Panic]);
    let mut running = call(&mut probe);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut running)));
    assert!(panic.is_err());
    drop(running);
    assert_eq!(handle.counts().panicked, 1);
    handle.assert_idle();
    ready(&mut probe);
}

#[test]
fn drops_are_told_apart() {
    let (mut probe, handle) = probe(3);
    handle.otherwise(Act::Hang);
    drop(call(&mut probe));
    let mut polled = call(&mut probe);
    assert!(poll(&mut polled).is_pending());
    let unpolled = call(&mut probe);
    drop((polled, unpolled));
    let counts = handle.counts();
    assert_eq!((counts.dropped_unpolled, counts.dropped_running), (2, 1));
    assert_eq!((counts.max_in_flight, counts.in_flight, counts.free), (2, 0, 3));
}

#[test]
fn a_permit_is_held_as_long_as_told() {
    let (mut probe, handle) = probe(1);
    let free = || handle.counts().free;

    let mut running = call(&mut probe);
    assert_eq!(free(), 0);
    let reply = poll(&mut running);
    assert_eq!(free(), 1);
    drop((running, reply));

    handle.hold(Hold::Future);
    let mut running = call(&mut probe);
    let reply = poll(&mut running);
    assert_eq!(free(), 0);
    drop(running);
    assert_eq!(free(), 1);
    drop(reply);

    handle.hold(Hold::Reply);
    handle.script([Act::answer(), Act::fail(Verdict::transient())]);
    let mut running = call(&mut probe);
    let Poll::Ready(Ok(reply)) = poll(&mut running) else { panic!("not planned") };
    drop(running);
    assert!(reply.holds_a_permit());
    assert_eq!(free(), 0);
    drop(reply);
    let mut running = call(&mut probe);
    assert!(poll(&mut running).is_ready());
    assert_eq!(free(), 1, "an error has no reply to hold it");
}

#[test]
fn copies_of_requests_are_counted() {
    let (_probe, handle) = probe(1);
    let request = handle.request(7);
    let copy = request.clone();
    assert_eq!((copy.id(), copy.clone().id()), (7, 7));
    assert_eq!(handle.counts().copies, 2);
    let uncounted = ProbeRequest::new(7);
    assert_eq!(uncounted.clone().id(), 7);
    assert_eq!(handle.counts().copies, 2);
}

#[test]
fn the_probe_takes_the_refusals_of_layers() {
    let error = ProbeError::from(Rejection::timeout(SECOND));
    assert_eq!(error.verdict(), Verdict::transient());
}

#[tokio::test(start_paused = true)]
async fn a_proper_layer_passes_whenever_it_is_dropped() {
    for (act, polls) in [(Act::Answer { after: SECOND }, 0..3), (Act::Hang, 0..2)] {
        for polls in polls {
            let (probe, handle) = probe(1);
            handle.script([act]);
            let layer = TimeoutLayer::new(3 * SECOND).and_readiness();
            let mut service = ServiceBuilder::new().layer(layer).service(probe);
            let mut call = Box::pin(service.ready().await.unwrap().call(handle.request(1)));
            for _ in 0..polls {
                assert!(poll(&mut call).is_pending());
            }
            drop(call);
            handle.assert_idle();
            handle.assert_one_readiness_at_a_time();
            drop(service);
            handle.assert_gone();
            assert_eq!(handle.counts().copies, 0);
        }
    }
}
