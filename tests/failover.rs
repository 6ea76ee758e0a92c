//! FailoverLayer: what a caller sees.

#![allow(clippy::panic, reason = "the helpers of tests are tests too")]

use std::{
    future::Future,
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use buttress::{
    Backoff, Budget, ByFault, Deadline, Effect, EffectsIf, Event, Failover, FailoverHandle,
    FailoverLayer, Jitter, Once, Random, Rejection, Replay, Teller, TimeoutLayer, Verdict, Why,
    failover::{Balance, Health, Replica, State},
};
use buttress_sim::probe::{
    Act, Hold, ProbeError, ProbeHandle, ProbeReply, ProbeRequest, ProbeService, Readiness,
};
use tokio::time::{Instant, advance, sleep, timeout};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

type Outcome = Result<ProbeReply, ProbeError>;
type Over<R> = Failover<ProbeService, ByFault, R>;

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// Ejects for four seconds, then eight, then sixteen.
fn exact(layer: FailoverLayer<ProbeService>) -> FailoverLayer<ProbeService> {
    layer
        .ejection(Backoff::exponential(4 * SECOND, 16 * SECOND).jitter(Jitter::None))
        .random(Random::seeded(7))
}

fn active() -> FailoverLayer<ProbeService> {
    exact(FailoverLayer::active_active()).failures(number(3))
}

fn passive() -> FailoverLayer<ProbeService> {
    exact(FailoverLayer::active_passive())
}

/// Replicas called a, b and c, with so many permits each.
fn three<R>(layer: FailoverLayer<ProbeService, ByFault, R>) -> ([ProbeHandle; 3], Over<R>) {
    let probes = [(); 3].map(|()| ProbeService::new(50));
    let handles = [&probes[0], &probes[1], &probes[2]].map(ProbeService::handle);
    let [a, b, c] = probes;
    (handles, layer.over([("a", a), ("b", b), ("c", c)]))
}

fn calls(handles: &[ProbeHandle]) -> Vec<u64> {
    handles.iter().map(|handle| handle.counts().calls).collect()
}

fn states(handle: &FailoverHandle) -> Vec<&'static str> {
    handle.snapshot().iter().map(|view| view.state.as_str()).collect()
}

async fn call<R: Replay<ProbeRequest>>(service: &Over<R>) -> Outcome {
    service.clone().oneshot(ProbeRequest::new(1)).await
}

/// So many calls, one after the other; how many were answered.
async fn many(service: &Failover<ProbeService>, calls: u32, every: Duration) -> u32 {
    let mut answered = 0;
    for _ in 0..calls {
        answered += u32::from(call(service).await.is_ok());
        sleep(every).await;
    }
    answered
}

fn down() -> Act {
    Act::fail(Verdict::transient().with_effect(Effect::None))
}

/// Keeps what is told.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Event>>>);

impl Log {
    fn listen(&self) -> impl Fn(Teller<'_>, &Event) + Send + Sync + 'static {
        let log = self.clone();
        move |teller, event| {
            assert_eq!(teller.pattern, "failover");
            log.0.lock().unwrap().push(*event);
        }
    }
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn pending<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[tokio::test(start_paused = true)]
async fn load_is_even_whether_calls_overlap_or_not() {
    for balance in [Balance::TwoChoices, Balance::LeastLoad] {
        let (probes, service) = three(active().balance(balance));
        assert_eq!(many(&service, 3_000, Duration::ZERO).await, 3_000);
        for share in calls(&probes) {
            assert!(share.abs_diff(1_000) < 100, "{balance:?}: {:?}", calls(&probes));
        }
        let (probes, service) = three(active().balance(balance));
        probes.iter().for_each(|probe| probe.otherwise(Act::Hang));
        let mut running: Vec<_> = (0..30).map(|_| Box::pin(call(&service))).collect();
        assert!(running.iter_mut().all(|call| pending(call.as_mut())));
        let most = if balance == Balance::LeastLoad { 0 } else { 2 };
        for share in calls(&probes) {
            assert!(share.abs_diff(10) <= most, "{balance:?}: {:?}", calls(&probes));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_replica_gets_few_calls_and_no_caller_notices() {
    let (probes, service) = three(active());
    probes[1].otherwise(down());
    assert_eq!(many(&service, 1_000, SECOND / 10).await, 1_000);
    // Three failures, then one each time it comes back: after 4, 8, 16, 16, .. seconds.
    let dead = probes[1].counts().calls;
    assert!((3..=12).contains(&dead), "{dead}");
    let view = service.handle().replica("b").unwrap();
    assert_eq!((view.failed, view.answered), (dead, 0));
    // It comes back, and grows to its share.
    probes[1].otherwise(Act::answer());
    assert_eq!(many(&service, 600, SECOND / 10).await, 600);
    assert_eq!(states(&service.handle()), ["active"; 3]);
    let before = probes[1].counts().calls;
    many(&service, 300, Duration::ZERO).await;
    assert!((probes[1].counts().calls - before).abs_diff(100) < 40);
}

#[tokio::test(start_paused = true)]
async fn a_slow_replica_is_ejected() {
    let log = Log::default();
    let (probes, service) = three(active().observe(log.listen()));
    for (probe, millis) in probes.iter().zip([100, 900, 120]) {
        probe.otherwise(Act::Answer { after: Duration::from_millis(millis) });
    }
    many(&service, 60, Duration::ZERO).await;
    let ejected = Event::Ejected { replica: 2, why: Why::Latency, wait: Some(4 * SECOND) };
    assert_eq!(log.take(), [ejected]);
    let before = probes[1].counts().calls;
    many(&service, 20, Duration::ZERO).await;
    assert_eq!(probes[1].counts().calls, before);
}

#[tokio::test(start_paused = true)]
async fn a_replica_hung_in_readiness_holds_nothing_up() {
    let (probes, service) = three(passive());
    probes[0].block();
    let start = Instant::now();
    assert!(call(&service).await.is_ok());
    assert_eq!(start.elapsed(), SECOND, "the default patience");
    // Nothing waits there any more.
    probes[0].assert_idle();
    call(&service).await.unwrap();
    call(&service).await.unwrap();
    let start = Instant::now();
    assert_eq!(many(&service, 100, Duration::ZERO).await, 100);
    assert_eq!(start.elapsed(), Duration::ZERO, "b is the active one by now");
    assert_eq!(calls(&probes), [0, 103, 0]);
    // With less time than patience, all are tried within it.
    let (probes, service) = three(passive());
    probes[0].block();
    probes[1].block();
    let service = ServiceBuilder::new().layer(TimeoutLayer::new(SECOND)).service(service);
    assert!(service.oneshot(ProbeRequest::new(1)).await.is_ok());
    assert_eq!(calls(&probes), [0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_passes_a_replica_over() {
    let log = Log::default();
    let (probes, service) = three(passive().observe(log.listen()).replay(Once));
    probes[0].readiness([Readiness::Fail(Verdict::permanent()); 9]);
    assert!(call(&service).await.is_ok(), "nothing was sent, so it may go elsewhere");
    assert_eq!(log.take(), [Event::PassedOver { replica: 1, why: Why::NotReady }]);
    // Where none becomes ready, the error of readiness is all there is.
    probes[1].readiness([Readiness::Fail(Verdict::permanent()); 9]);
    probes[2].readiness([Readiness::Fail(Verdict::permanent()); 9]);
    let error = call(&service).await.unwrap_err();
    assert_eq!(error, ProbeError::Unready(Verdict::permanent()));
}

#[tokio::test(start_paused = true)]
async fn all_dead_is_one_clear_error_in_time_and_passes_by_itself() {
    for layer in [active(), passive()] {
        let (probes, service) = three(layer);
        probes.iter().for_each(|probe| probe.otherwise(down()));
        let start = Instant::now();
        for _ in 0..50 {
            let error = call(&service).await.unwrap_err();
            assert!(matches!(error, ProbeError::Failed(_)), "what they said, not what we think");
            sleep(SECOND / 10).await;
        }
        assert_eq!(start.elapsed(), 5 * SECOND, "nobody waited");
        let standing = service.handle().standing();
        assert_eq!((standing.healthy, standing.of), (0, 3), "{standing:?}");
        assert_eq!(standing, *service.handle().subscribe().borrow());
        // The last of them comes back: first attempts are spread over all, the second ones go to
        // the one that is known to answer.
        probes[2].otherwise(Act::answer());
        many(&service, 20, SECOND / 10).await;
        assert_eq!(many(&service, 300, SECOND / 10).await, 300);
        probes.iter().for_each(|probe| probe.otherwise(Act::answer()));
        many(&service, 600, SECOND / 10).await;
        assert!(!states(&service.handle()).contains(&"ejected"));
        assert!(!service.handle().standing().panicking);
    }
}

#[tokio::test(start_paused = true)]
async fn none_ready_is_one_clear_error_before_the_deadline() {
    let ejection = Backoff::constant(60 * SECOND).jitter(Jitter::None);
    let (probes, service) = three(passive().name("models").ejection(ejection));
    probes.iter().for_each(ProbeHandle::block);
    let start = Instant::now();
    let error = call(&service).await.unwrap_err();
    assert_eq!(start.elapsed(), 3 * SECOND);
    assert_eq!(error, ProbeError::Rejected(Rejection::unavailable("models", None)));
    let limited = ServiceBuilder::new().layer(TimeoutLayer::new(SECOND)).service(service.clone());
    let start = Instant::now();
    let error = limited.oneshot(ProbeRequest::new(1)).await.unwrap_err();
    assert!(start.elapsed() < SECOND);
    assert!(matches!(error, ProbeError::Rejected(Rejection::Unavailable { .. })), "{error:?}");
    probes.iter().for_each(ProbeHandle::assert_nothing_waiting);
    // Once all are ejected it says when the first may be back.
    call(&service).await.unwrap_err();
    let error = call(&service).await.unwrap_err();
    let ProbeError::Rejected(Rejection::Unavailable { retry_after, .. }) = error else {
        panic!("{error:?}")
    };
    assert!(
        retry_after.is_some_and(|wait| wait <= 60 * SECOND && wait > 50 * SECOND),
        "{retry_after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_effect_is_not_sent_twice() {
    let effects = || EffectsIf(|_: &ProbeRequest| true);
    let (probes, service) = three(passive().replay(effects()));
    probes[0].otherwise(Act::fail(Verdict::transient()));
    assert!(call(&service).await.is_err());
    assert_eq!(calls(&probes), [1, 0, 0]);
    probes[0].otherwise(down());
    assert!(call(&service).await.is_ok(), "provably nothing happened");
    assert_eq!(calls(&probes), [2, 1, 0]);
    let (probes, service) = three(passive().replay(Once));
    probes[0].otherwise(down());
    let request = probes[0].request(1);
    assert!(service.oneshot(request).await.is_err());
    assert_eq!((calls(&probes), probes[0].counts().copies), (vec![1, 0, 0], 0));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_but_for_replicas_that_cannot_help() {
    for (verdict, expected) in [
        (Verdict::transient(), [1, 1, 0]),
        (Verdict::unknown(), [1, 1, 0]),
        (Verdict::throttled(), [1, 1, 0]),
        (Verdict::reroute(), [1, 1, 1]),
        (Verdict::rejected(), [1, 1, 1]),
        (Verdict::permanent(), [1, 0, 0]),
    ] {
        let (probes, service) = three(passive());
        probes.iter().for_each(|probe| probe.otherwise(Act::fail(verdict)));
        assert_eq!(call(&service).await.unwrap_err(), ProbeError::Failed(verdict));
        assert_eq!(calls(&probes), expected, "{verdict:?}");
    }
    let (probes, service) = three(passive().attempts(1));
    probes[0].otherwise(down());
    assert!(call(&service).await.is_err());
    assert_eq!(calls(&probes), [1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_most_telling_failure_is_returned() {
    let (probes, service) = three(passive().attempts(3));
    let script = [Verdict::transient(), Verdict::throttled(), Verdict::rejected()];
    for (probe, verdict) in probes.iter().zip(script) {
        probe.otherwise(Act::fail(verdict));
    }
    let error = call(&service).await.unwrap_err();
    assert_eq!(error, ProbeError::Failed(Verdict::throttled()), "the last that is no refusal");
    probes[1].otherwise(Act::fail(Verdict::permanent()));
    assert_eq!(call(&service).await.unwrap_err(), ProbeError::Failed(Verdict::permanent()));
    // A refusal tells more than an error of readiness, and of those the first is kept.
    let unready = |verdict| [Readiness::Fail(verdict)];
    for refused in [false, true] {
        let (probes, service) = three(passive());
        probes[0].readiness(unready(Verdict::transient()));
        probes[1].readiness(unready(Verdict::permanent()));
        let expected = if refused {
            probes[2].otherwise(Act::fail(Verdict::rejected()));
            ProbeError::Failed(Verdict::rejected())
        } else {
            probes[2].readiness(unready(Verdict::permanent()));
            ProbeError::Unready(Verdict::transient())
        };
        assert_eq!(call(&service).await.unwrap_err(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_bounds_further_attempts() {
    let budget = Budget::default().cap(1).one_every(Duration::MAX);
    let (probes, service) = three(passive().budget(budget.clone()).failures(number(99)));
    probes[0].otherwise(Act::fail(Verdict::transient()));
    assert!(call(&service).await.is_ok());
    assert!(call(&service).await.is_err(), "the success earned a tenth of a token");
    assert_eq!(calls(&probes), [2, 1, 0]);
    // What a replica refuses costs nothing.
    budget.deposit();
    for _ in 0..20 {
        budget.deposit();
    }
    probes.iter().for_each(|probe| probe.otherwise(Act::fail(Verdict::rejected())));
    let balance = budget.balance();
    assert!(call(&service).await.is_err());
    assert_eq!(budget.balance(), balance);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_replica_rests() {
    let (probes, service) = three(passive());
    let asked = Verdict::throttled().with_retry_after(20 * SECOND);
    probes[0].script([Act::fail(asked)]);
    assert_eq!(many(&service, 20, SECOND).await, 20);
    assert_eq!(calls(&probes), [1, 20, 0], "one of them was tried at a");
    assert_eq!(many(&service, 5, SECOND).await, 5);
    assert_eq!(calls(&probes), [6, 20, 0]);
    assert_eq!(service.handle().active().unwrap().as_str(), "a", "it was not ill");
}

#[tokio::test(start_paused = true)]
async fn the_best_standby_is_promoted_and_the_old_one_comes_back_as_standby() {
    let log = Log::default();
    let (probes, service) = three(passive().observe(log.listen()));
    let handle = service.handle();
    let mut changes = handle.subscribe();
    probes[0].otherwise(Act::fail(Verdict::transient()));
    for attempt in 1..=3 {
        assert!(call(&service).await.is_ok());
        let mut told = log.take();
        let failed = Event::Failed { attempt: 1, verdict: Verdict::transient() };
        let diverted = Event::Diverted { attempt: 2, replica: 2, why: Why::Failure };
        assert_eq!(told.remove(0), failed);
        assert_eq!(told.pop(), Some(Event::Won { attempt: 2 }));
        assert_eq!(told.pop(), Some(diverted));
        let why = Why::Streak;
        let change = [
            Event::Ejected { replica: 1, why, wait: Some(4 * SECOND) },
            Event::Demoted { replica: 1, why },
            Event::Promoted { replica: 2, why },
        ];
        assert_eq!(told, if attempt == 3 { change.to_vec() } else { vec![] });
    }
    assert_eq!(states(&handle), ["ejected", "active", "standby"]);
    assert!(changes.has_changed().unwrap());
    assert_eq!(changes.borrow_and_update().active, Some(2));
    assert_eq!(many(&service, 50, SECOND).await, 50);
    assert_eq!(calls(&probes), [3, 53, 0], "no fail-back");
    assert_eq!(states(&handle), ["standby", "active", "standby"]);
    assert_eq!(log.take(), [Event::Readmitted { replica: 1 }]);
    assert!(handle.promote("a"));
    assert_eq!(handle.active().unwrap().as_str(), "a");
    assert!(!handle.promote("nobody"));
}

#[tokio::test(start_paused = true)]
async fn fail_back_waits_for_the_hold_down_and_does_not_flap() {
    let layer = passive().fail_back(true).hold_down(10 * SECOND);
    let log = Log::default();
    let (probes, service) = three(layer.observe(log.listen()));
    probes[0].otherwise(down());
    many(&service, 3, Duration::ZERO).await;
    assert_eq!(service.handle().active().unwrap().as_str(), "b");
    // It is down for two minutes: one call at a time finds out whether it is back.
    assert_eq!(many(&service, 120, SECOND).await, 120);
    let promotions = || {
        log.take().into_iter().filter(|e| matches!(e, Event::Promoted { .. })).collect::<Vec<_>>()
    };
    assert_eq!(promotions(), [Event::Promoted { replica: 2, why: Why::Streak }]);
    assert!((4..=12).contains(&probes[0].counts().calls), "{:?}", calls(&probes));
    probes[0].otherwise(Act::answer());
    many(&service, 40, SECOND).await;
    assert_eq!(promotions(), [Event::Promoted { replica: 1, why: Why::Recovered }]);
    assert_eq!(service.handle().active().unwrap().as_str(), "a");
}

#[tokio::test(start_paused = true)]
async fn alternating_failures_promote_once_in_the_hold_down() {
    let log = Log::default();
    let layer = passive().hold_down(10 * SECOND).failures(NonZeroU32::MIN);
    let (probes, service) = three(layer.observe(log.listen()));
    let mut promoted = vec![];
    for second in 0..100 {
        // Whichever is active fails.
        let active = service.handle().snapshot();
        for (probe, view) in probes.iter().zip(active) {
            probe.otherwise(if view.state == State::Active { down() } else { Act::answer() });
        }
        assert!(call(&service).await.is_ok());
        let told = log.take();
        promoted
            .extend(told.iter().filter(|e| matches!(e, Event::Promoted { .. })).map(|_| second));
        sleep(SECOND).await;
    }
    assert!(promoted.windows(2).all(|two| two[1] - two[0] >= 10), "{promoted:?}");
    assert!(promoted.len() >= 8, "{promoted:?}");
}

#[tokio::test(start_paused = true)]
async fn health_from_outside_and_draining_are_obeyed() {
    let (probes, service) = three(active());
    let handle = service.handle();
    assert!(handle.set_health("a", Health::Ill) && handle.drain("b"));
    assert_eq!(many(&service, 20, Duration::ZERO).await, 20);
    assert_eq!(calls(&probes), [0, 0, 20]);
    assert_eq!(states(&handle), ["ill", "drained", "active"]);
    assert_eq!(handle.snapshot()[0].health, Health::Ill);
    handle.drain("c");
    let error = call(&service).await.unwrap_err();
    assert_eq!(error, ProbeError::Rejected(Rejection::unavailable("failover", None)));
    assert!(handle.set_health("a", Health::Unknown) && handle.restore("b"));
    assert_eq!(many(&service, 20, Duration::ZERO).await, 20);
    assert_eq!(states(&handle), ["ramping", "ramping", "drained"]);
    assert!(!handle.drain("nobody") && !handle.promote("a"), "all are active");
    // What outcomes have ejected, a health check brings back.
    probes[0].otherwise(down());
    many(&service, 20, Duration::ZERO).await;
    assert_eq!(handle.replica("a").unwrap().state, State::Ejected);
    assert!(handle.replica("a").unwrap().ejected_for.is_some());
    handle.set_health("a", Health::Healthy);
    assert_eq!(handle.replica("a").unwrap().state, State::Ramping);

    let (_, service) = three(passive());
    let handle = service.handle();
    handle.drain("a");
    assert_eq!(handle.active().unwrap().as_str(), "b");
    handle.drain("b");
    assert_eq!(handle.active().unwrap().as_str(), "c", "commands know no hold-down");
}

#[tokio::test(start_paused = true)]
async fn whoever_follows_sees_what_commands_do() {
    let (_, service) = three(active());
    let handle = service.handle();
    let follower = handle.subscribe();
    type Step = fn(&FailoverHandle) -> bool;
    let steps: [(Step, [u32; 2]); 5] = [
        (|handle| handle.set_health("a", Health::Ill), [2, 3]),
        (|handle| handle.drain("a"), [2, 2]),
        (|handle| handle.restore("a"), [2, 3]),
        (|handle| handle.set_health("a", Health::Unknown), [3, 3]),
        (|handle| handle.drain("b"), [2, 2]),
    ];
    for (step, expected) in steps {
        assert!(step(&handle));
        let seen = *follower.borrow();
        assert_eq!([seen.healthy, seen.of], expected);
        assert_eq!(seen, handle.standing());
    }
    let nobody = passive().over(Vec::<(&str, ProbeService)>::new()).handle();
    assert_eq!(nobody.standing().active, None);
}

#[tokio::test(start_paused = true)]
async fn a_result_from_before_a_change_changes_nothing() {
    for late in [Act::answer(), Act::fail(Verdict::transient())] {
        let log = Log::default();
        let (probes, service) = three(passive().failures(NonZeroU32::MIN).observe(log.listen()));
        probes[0].script([Act::Hang, down()]);
        let mut early = Box::pin(call(&service));
        assert!(pending(early.as_mut()));
        assert!(call(&service).await.is_ok());
        let before = service.handle().replica("a").unwrap();
        assert_eq!(before.state, State::Ejected);
        log.take();
        probes[0].end(1, late);
        early.await.unwrap();
        assert!(log.take().iter().any(|event| matches!(event, Event::Stale { .. })));
        let after = service.handle().replica("a").unwrap();
        assert_eq!((after.state, after.ejected_for), (before.state, before.ejected_for));
        assert_eq!(service.handle().active().unwrap().as_str(), "b");
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_calls_count_when_they_were_slow_or_late() {
    let (probes, service) = three(passive().slow_after(5 * SECOND));
    probes[0].otherwise(Act::Hang);
    for (wait, failed) in [(4, 0), (6, 1), (4, 1)] {
        assert!(timeout(wait * SECOND, call(&service)).await.is_err());
        assert_eq!(service.handle().replica("a").unwrap().failed, failed);
    }
    // A deadline that passes is not given up: it is a failure.
    let limited = ServiceBuilder::new().layer(TimeoutLayer::new(SECOND)).service(service.clone());
    assert!(limited.oneshot(ProbeRequest::new(1)).await.is_err());
    let view = service.handle().replica("a").unwrap();
    assert_eq!((view.failed, view.in_flight), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_comes_late_blames_nobody() {
    for blocked in [false, true] {
        let (probes, service) = three(passive());
        probes[0].otherwise(Act::Hang);
        if blocked {
            probes[0].block();
        }
        let past = Deadline::at(Instant::now());
        advance(SECOND).await;
        for _ in 0..9 {
            let mut call = Box::pin(call(&service));
            // The replica is given no time at all, be it to become ready or to answer.
            assert_eq!(past.scope(|| pending(call.as_mut())), !blocked);
        }
        assert_eq!(states(&service.handle()), ["active", "standby", "standby"]);
        assert_eq!(service.handle().replica("a").unwrap().failed, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_standby_is_not_to_blame_for_time_that_was_lost_elsewhere() {
    let (probes, service) = three(passive());
    probes[0].otherwise(Act::Fail { verdict: Verdict::transient(), after: 6 * SECOND });
    probes[1].otherwise(Act::Answer { after: 5 * SECOND });
    let layer = TimeoutLayer::new(10 * SECOND);
    let limited = ServiceBuilder::new().layer(layer).service(service.clone());
    for _ in 0..3 {
        assert!(limited.clone().oneshot(ProbeRequest::new(1)).await.is_err(), "4 s were left");
    }
    assert_eq!(states(&service.handle()), ["ejected", "active", "standby"]);
    assert!(limited.clone().oneshot(ProbeRequest::new(1)).await.is_ok());
    // With most of the time it is.
    probes[1].otherwise(Act::Hang);
    assert!(limited.oneshot(ProbeRequest::new(1)).await.is_err());
    assert_eq!(service.handle().replica("b").unwrap().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_since_before_the_ejection_does_not_delay_fail_back() {
    let (probes, service) = three(passive().fail_back(true));
    probes[0].script([Act::Hang]);
    let mut early = Box::pin(call(&service));
    assert!(pending(early.as_mut()));
    probes[0].script([down(); 3]);
    assert_eq!(many(&service, 3, Duration::ZERO).await, 3);
    assert_eq!(service.handle().active().unwrap().as_str(), "b");
    assert_eq!(many(&service, 20, SECOND).await, 20);
    let home = service.handle().replica("a").unwrap();
    assert_eq!((home.state, home.in_flight), (State::Active, 1));
}

#[tokio::test(start_paused = true)]
async fn a_future_that_panics_when_it_is_dropped_is_not_under_way() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "planned");
        }
    }
    let service = service_fn(async |_: ()| {
        let _bomb = Bomb;
        std::future::pending::<Result<(), BoxError>>().await
    });
    let service = FailoverLayer::active_passive().over([("a", service)]);
    let mut call = Box::pin(service.clone().oneshot(()));
    assert!(pending(call.as_mut()));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(call))).is_err());
    assert_eq!(service.handle().replica("a").unwrap().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_leaves_nothing_at_any_replica() {
    let acts = [
        Act::answer(),
        Act::Answer { after: SECOND },
        Act::Fail { verdict: Verdict::transient(), after: SECOND },
        down(),
        Act::Hang,
    ];
    for layer in [active, passive] {
        for (first, second) in acts.iter().flat_map(|a| acts.iter().map(move |b| (*a, *b))) {
            for blocked in [false, true] {
                for polls in 0..6 {
                    let (probes, service) = three(layer().attempts(3));
                    probes.iter().for_each(|probe| {
                        probe.script([first, second]);
                        probe.hold(Hold::Reply);
                    });
                    if blocked {
                        probes[0].block();
                        probes[1].block();
                    }
                    let mut call = Box::pin(service.clone().oneshot(ProbeRequest::new(1)));
                    for _ in 0..polls {
                        if !pending(call.as_mut()) {
                            break;
                        }
                        advance(SECOND).await;
                    }
                    drop(call);
                    probes.iter().for_each(ProbeHandle::assert_idle);
                    let running =
                        service.handle().snapshot().iter().map(|v| v.in_flight).sum::<u32>();
                    assert_eq!(running, 0);
                    drop(service);
                    probes.iter().for_each(ProbeHandle::assert_gone);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_that_are_not_chosen_hold_nothing() {
    let (probes, mut service) = three(passive());
    service.ready().await.unwrap();
    let mut call = pin!(service.call(ProbeRequest::new(1)));
    probes.iter().for_each(ProbeHandle::assert_idle);
    probes[0].otherwise(Act::Hang);
    assert!(pending(call.as_mut()));
    assert_eq!(probes[0].counts().in_flight, 1);
    probes[1..].iter().for_each(ProbeHandle::assert_idle);
    assert_eq!(probes[1].counts().readiness_polls, 0);
}

#[tokio::test(start_paused = true)]
async fn the_layer_takes_its_inner_service_for_the_first_replica() {
    let (a, b) = (ProbeService::new(1), ProbeService::new(1));
    let probes = [a.handle(), b.handle()];
    let layer = passive().primary("here").standby("there", b);
    let (handle, service) = (layer.handle(), layer.layer(a.clone()));
    // One layer value, one roster: what one service learns the other knows.
    let other = layer.layer(a);
    probes[0].otherwise(down());
    many(&service, 3, Duration::ZERO).await;
    assert_eq!(handle.active().unwrap().as_str(), "there");
    assert!(call(&other).await.is_ok());
    assert_eq!(calls(&probes), [3, 4]);
    let names: Vec<_> = handle.snapshot().into_iter().map(|view| view.name.to_string()).collect();
    assert_eq!(names, ["here", "there"]);
    let nobody = active().over(Vec::<(&str, ProbeService)>::new());
    assert!(matches!(call(&nobody).await, Err(ProbeError::Rejected(_))));
}

#[tokio::test(start_paused = true)]
async fn weights_are_kept() {
    let (a, b) = (ProbeService::new(9), ProbeService::new(9));
    let probes = [a.handle(), b.handle()];
    let service = active().over([Replica::new("a", a).weight(number(3)), Replica::new("b", b)]);
    many(&service, 1_000, Duration::ZERO).await;
    assert!(calls(&probes)[0].abs_diff(750) < 60, "{:?}", calls(&probes));
}

#[tokio::test(start_paused = true)]
async fn a_listener_or_a_service_that_panics_wedges_nothing() {
    let told = Arc::new(AtomicU64::new(0));
    let count = told.clone();
    let layer = active().failures(NonZeroU32::MIN).observe(move |_: Teller<'_>, event: &Event| {
        count.fetch_add(1, Ordering::Relaxed);
        // Told while a future is dropped, by a panic perhaps: a second one would abort.
        assert!(matches!(event, Event::Abandoned { .. }), "planned");
    });
    let (probes, service) = three(layer);
    probes.iter().for_each(|probe| probe.script([down(), Act::Panic]));
    for _ in 0..8 {
        let mut call = Box::pin(call(&service));
        let outcome = catch_unwind(AssertUnwindSafe(|| pending(call.as_mut())));
        drop((outcome, call));
    }
    assert!(told.load(Ordering::Relaxed) > 0);
    let views = service.handle().snapshot();
    assert!(views.iter().all(|view| view.in_flight == 0), "{views:?}");
    probes.iter().for_each(|probe| probe.otherwise(Act::answer()));
    sleep(100 * SECOND).await;
    let mut answered = 0;
    for _ in 0..10 {
        let mut call = Box::pin(call(&service));
        let poll = catch_unwind(AssertUnwindSafe(|| pending(call.as_mut())));
        answered += u32::from(matches!(poll, Ok(false)));
    }
    assert!(answered > 0, "it still answers");
}

#[test]
fn services_that_are_not_send_will_do() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let name = std::rc::Rc::new("here");
    let service = service_fn(move |_: ()| {
        let name = name.clone();
        async move { Ok::<_, BoxError>(*name) }
    });
    let service = FailoverLayer::active_active().over([("a", service.clone()), ("b", service)]);
    assert_eq!(runtime.block_on(service.oneshot(())).unwrap(), "here");
}
