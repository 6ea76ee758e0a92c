//! How often our layers allocate while nothing goes wrong.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use buttress::{
    BreakerLayer, DegradeLayer, FailoverLayer, FallbackLayer, HedgeLayer, LimitLayer, Once,
    QuorumLayer, RetryLayer, TimeoutLayer,
};
use buttress_benches::{Bare, Kind, Subject, runtime};
use tower::{Layer, Service, ServiceBuilder};

/// Calls that are counted, after as many that are not.
const CALLS: u64 = 1_000;

fn allocations(subject: &Subject) -> u64 {
    let runtime = runtime().expect("the system has a clock");
    let _inside = runtime.enter();
    let mut run = subject.build();
    run.calls(CALLS);
    allocation_counter::measure(|| run.calls(CALLS)).count_total
}

/// How often so many calls may allocate.
fn allowed(subject: &Subject) -> u64 {
    match (subject.pattern, subject.name) {
        // Draws its survival curve anew every hundred calls or so.
        ("hedge", "buttress learned") | ("stack", "buttress preset") => CALLS / 20,
        // The store's futures, each in one that owns its question; the record, and what it is kept
        // by; the place in the list of running steps. Beyond that nodes of maps, and
        // the list of versions that go.
        ("checkpoint", "buttress replay") => 8 * CALLS,
        ("checkpoint", "buttress reading") => 15 * CALLS + CALLS / 20,
        ("checkpoint", "buttress side effect") => 26 * CALLS + CALLS / 2,
        // The calls of three members, and their answers.
        ("degrade", "buttress") => 4 * CALLS,
        // The future of each member that is asked, and nothing for the vote.
        ("quorum", "buttress 2 of 3 lazy") => 2 * CALLS,
        ("quorum", _) if subject.kind == Kind::Ours => 3 * CALLS,
        _ => 0,
    }
}

#[test]
fn our_layers_allocate_no_more_than_they_must() {
    for subject in Subject::ALL.iter().filter(|subject| subject.kind != Kind::Peer) {
        let (allocations, allowed) = (allocations(subject), allowed(subject));
        assert!(
            allocations <= allowed,
            "{} allocates {allocations} times in {CALLS} calls, not {allowed}",
            subject.id()
        );
    }
}

/// Allocations of a call that is polled once, has to wait, and is dropped.
fn of_a_call_that_waits<S: Service<u64>>(mut service: S) -> u64 {
    let mut cx = Context::from_waker(Waker::noop());
    let mut count = 0;
    // The first of them makes what is made once.
    for _ in 0..2 {
        assert!(service.poll_ready(&mut cx).is_ready());
        count = allocation_counter::measure(|| {
            let call = pin!(service.call(Bare::HANGS));
            assert!(call.poll(&mut cx).is_pending());
        })
        .count_total;
    }
    count
}

#[test]
fn a_call_that_waits_allocates_once_for_its_hedge_and_never_else() {
    let runtime = runtime().expect("the system has a clock");
    let _inside = runtime.enter();
    let second = Duration::from_secs(1);
    let hedge = HedgeLayer::after(second);
    assert_eq!(of_a_call_that_waits(TimeoutLayer::new(second).layer(Bare)), 0);
    assert_eq!(of_a_call_that_waits(RetryLayer::new().layer(Bare)), 0);
    assert_eq!(of_a_call_that_waits(BreakerLayer::default().layer(Bare)), 0);
    assert_eq!(of_a_call_that_waits(LimitLayer::adaptive().layer(Bare)), 0);
    let failover = FailoverLayer::active_active().standby("other", Bare);
    assert_eq!(of_a_call_that_waits(failover.layer(Bare)), 0);
    assert_eq!(of_a_call_that_waits(FallbackLayer::to(Bare).layer(Bare)), 0);
    assert_eq!(of_a_call_that_waits(hedge.clone().replay(Once).layer(Bare)), 0);
    assert_eq!(of_a_call_that_waits(hedge.clone().layer(Bare)), 1);
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(10 * second))
        .layer(RetryLayer::new())
        .layer(hedge)
        .layer(BreakerLayer::default())
        .layer(TimeoutLayer::new(second))
        .service(Bare);
    assert_eq!(of_a_call_that_waits(stack), 1);
}

#[test]
fn an_ensemble_that_waits_allocates_for_its_members_and_a_timer() {
    let runtime = runtime().expect("the system has a clock");
    let _inside = runtime.enter();
    let layer = DegradeLayer::new().required("b", Bare).optional("c", Bare);
    assert_eq!(of_a_call_that_waits(layer.clone().layer(Bare)), 3);
    assert_eq!(of_a_call_that_waits(layer.patience(Duration::from_secs(1)).layer(Bare)), 4);
}

#[test]
fn a_vote_that_waits_allocates_once_per_member() {
    let runtime = runtime().expect("the system has a clock");
    let _inside = runtime.enter();
    let quorum = QuorumLayer::of(3);
    assert_eq!(of_a_call_that_waits(quorum.clone().layer(Bare)), 3);
    assert_eq!(of_a_call_that_waits(quorum.clone().lazy(Duration::from_secs(1)).layer(Bare)), 2);
    assert_eq!(of_a_call_that_waits(quorum.replay(Once).needed(1).layer(Bare)), 1);
}

/// That what is counted above is counted at all.
#[test]
fn peers_that_box_their_futures_are_found_out() {
    let id = "timeout/tower-resilience";
    let peer = Subject::ALL.iter().find(|subject| subject.id() == id).expect("it is listed");
    assert!(allocations(peer) >= CALLS);
}
