//! HedgeLayer: what a caller sees.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    Budget, EffectsIf, Event, Fault, HedgeLayer, OnFailure, Once, Quantile, Teller, TimeoutLayer,
    Verdict, Why,
};
use buttress_sim::probe::{
    Act, Hold, ProbeError, ProbeReply, ProbeRequest, ProbeService, Readiness,
};
use tokio::time::{Instant, sleep, timeout};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};

use crate::support::{Failed, poll_once};

const SECOND: Duration = Duration::from_secs(1);
const FAST: Duration = Duration::from_millis(700);

/// What an attempt does: after this time, answer (`None`) or fail.
type Plan = (Duration, Option<Verdict>);

const HANGS: Plan = (Duration::from_secs(1 << 30), None);

fn answers(after: Duration) -> Plan {
    (after, None)
}

fn fails(after: Duration, verdict: Verdict) -> Plan {
    (after, Some(verdict))
}

/// Counts what is alive.
#[derive(Clone, Default)]
struct Alive(Arc<AtomicU32>);

struct Here(Alive);

impl Alive {
    fn enter(&self) -> Here {
        self.0.fetch_add(1, Ordering::Relaxed);
        Here(self.clone())
    }
    fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Default)]
struct Seen {
    alive: Alive,
    calls: Arc<AtomicU32>,
}

impl Seen {
    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }
}

type Scripted = BoxCloneService<u32, u32, Failed>;

/// Each call follows the next plan and answers with its own number, counted from 1.
fn scripted(plans: impl IntoIterator<Item = Plan>) -> (Scripted, Seen) {
    let plans: Arc<[Plan]> = plans.into_iter().collect();
    let seen = Seen::default();
    let state = seen.clone();
    let service = service_fn(move |_: u32| {
        let number = state.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let here = state.alive.enter();
        let (after, failure) = plans.get(number as usize - 1).copied().unwrap_or(HANGS);
        async move {
            let _here = here;
            if !after.is_zero() {
                sleep(after).await;
            }
            failure.map_or(Ok(number), |verdict| Err(Failed(number, verdict)))
        }
    });
    (BoxCloneService::new(service), seen)
}

fn log() -> (Arc<Mutex<Vec<Event>>>, impl Fn(Teller<'_>, &Event) + Send + Sync + 'static) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    (told, move |_: Teller<'_>, event: &Event| log.lock().unwrap().push(*event))
}

#[tokio::test(start_paused = true)]
async fn overtakes_a_slow_attempt() {
    let start = Instant::now();
    let (service, seen) = scripted([answers(6 * SECOND), answers(FAST)]);
    let service = ServiceBuilder::new().layer(HedgeLayer::after(SECOND)).service(service);
    assert_eq!(service.oneshot(0).await, Ok(2));
    assert_eq!(start.elapsed(), SECOND + FAST);
    assert_eq!((seen.calls(), seen.alive.count()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fast_answer_is_not_hedged() {
    let (service, seen) = scripted([answers(FAST)]);
    let service = ServiceBuilder::new().layer(HedgeLayer::after(SECOND)).service(service);
    assert_eq!(service.oneshot(0).await, Ok(1));
    assert_eq!(seen.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_starts_the_next_at_once() {
    let start = Instant::now();
    let broken = fails(Duration::ZERO, Verdict::transient());
    let (service, seen) = scripted([broken, broken, answers(FAST)]);
    let layer = HedgeLayer::after(SECOND).attempts(5);
    assert_eq!(ServiceBuilder::new().layer(layer).service(service).oneshot(0).await, Ok(3));
    assert_eq!(start.elapsed(), FAST);
    assert_eq!(seen.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failure_does_not_beat_a_later_answer() {
    let (service, _) = scripted([answers(2 * SECOND), fails(Duration::ZERO, Verdict::transient())]);
    let service = ServiceBuilder::new().layer(HedgeLayer::after(SECOND)).service(service);
    assert_eq!(service.oneshot(0).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn losers_are_dropped_before_the_winner_returns() {
    let (service, seen) = scripted([HANGS, HANGS, answers(FAST)]);
    let mut service = ServiceBuilder::new().layer(HedgeLayer::immediate(3)).service(service);
    let mut call = Box::pin(service.ready().await.unwrap().call(0));
    assert_eq!(call.as_mut().await, Ok(3));
    // The future is still here; what it ran is not.
    assert_eq!(seen.alive.count(), 0);
    drop(call);
}

#[tokio::test(start_paused = true)]
async fn redundant_attempts_start_together() {
    let start = Instant::now();
    let (service, seen) = scripted([answers(3 * SECOND), answers(SECOND), answers(2 * SECOND)]);
    let service = ServiceBuilder::new().layer(HedgeLayer::immediate(3)).service(service);
    assert_eq!(service.oneshot(0).await, Ok(2));
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(seen.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn gaps_make_bursts() {
    let (told, observe) = log();
    let (service, seen) = scripted([HANGS, HANGS, HANGS, answers(FAST)]);
    let layer = HedgeLayer::gaps([SECOND, Duration::ZERO, SECOND]).observe(observe);
    assert_eq!(ServiceBuilder::new().layer(layer).service(service).oneshot(0).await, Ok(4));
    assert_eq!(seen.calls(), 4);
    let starts: Vec<_> = told
        .lock()
        .unwrap()
        .iter()
        .filter_map(|event| match event {
            Event::Hedging { after, why, .. } => Some((*after, *why)),
            _ => None,
        })
        .collect();
    assert_eq!(starts, [(SECOND, Why::Delay), (SECOND, Why::Schedule), (2 * SECOND, Why::Delay)]);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_ends_the_call() {
    let (service, seen) = scripted([HANGS, fails(FAST, Verdict::permanent())]);
    let service = ServiceBuilder::new().layer(HedgeLayer::immediate(3)).service(service);
    assert_eq!(service.oneshot(0).await, Err(Failed(2, Verdict::permanent())));
    assert_eq!(seen.alive.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn all_failed_gives_the_last_real_failure() {
    let (real, refused) = (Verdict::transient(), Verdict::rejected());
    let (service, seen) = scripted([fails(FAST, real), fails(FAST, real), fails(FAST, refused)]);
    let layer = HedgeLayer::after(SECOND).attempts(3);
    let outcome = ServiceBuilder::new().layer(layer).service(service).oneshot(0).await;
    assert_eq!(outcome, Err(Failed(2, real)));
    assert_eq!(seen.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failure_may_wait_for_the_delay_or_end_the_call() {
    for (on_failure, outcome, took) in [
        (OnFailure::Wait, Ok(2), SECOND + FAST),
        (OnFailure::Propagate, Err(Failed(1, Verdict::transient())), Duration::ZERO),
    ] {
        let start = Instant::now();
        let (service, _) = scripted([fails(Duration::ZERO, Verdict::transient()), answers(FAST)]);
        let layer = HedgeLayer::after(SECOND).on_failure(on_failure);
        let ours = ServiceBuilder::new().layer(layer).service(service).oneshot(0).await;
        assert_eq!((ours, start.elapsed()), (outcome, took));
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_target_gets_no_further_attempt() {
    let (told, observe) = log();
    let (service, seen) = scripted([fails(FAST, Verdict::throttled()), answers(FAST)]);
    let layer = HedgeLayer::after(SECOND).observe(observe);
    let outcome = ServiceBuilder::new().layer(layer).service(service).oneshot(0).await;
    assert_eq!(outcome, Err(Failed(1, Verdict::throttled())));
    assert_eq!(seen.calls(), 1);
    let last = told.lock().unwrap().last().copied();
    assert_eq!(last, Some(Event::Suppressed { attempt: 2, why: Why::Throttled }));
}

#[tokio::test(start_paused = true)]
async fn throttled_and_reroute_go_to_another_target() {
    for verdict in [Verdict::throttled(), Verdict::reroute()] {
        let (first, seen) = scripted([fails(FAST, verdict)]);
        let (other, others) = scripted([fails(FAST, Verdict::transient()), answers(FAST)]);
        let layer = HedgeLayer::after(SECOND).attempts(4).targets(vec![other]);
        let outcome = ServiceBuilder::new().layer(layer).service(first).oneshot(0).await;
        assert_eq!(outcome, Ok(2));
        assert_eq!((seen.calls(), others.calls()), (1, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn further_attempts_take_turns_among_the_targets() {
    let (first, seen) = scripted([HANGS, answers(FAST)]);
    let (second, seconds) = scripted([HANGS]);
    let (third, thirds) = scripted([HANGS]);
    let layer = HedgeLayer::after(SECOND).attempts(4).targets(vec![second, third]);
    let outcome = ServiceBuilder::new().layer(layer).service(first).oneshot(0).await;
    assert_eq!(outcome, Ok(2));
    assert_eq!((seen.calls(), seconds.calls(), thirds.calls()), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_repeated_is_sent_once() {
    struct Unique;
    let layer = HedgeLayer::immediate(3).replay(Once);
    let calls = AtomicU32::new(0);
    let service = ServiceBuilder::new().layer(layer).service(service_fn(async |_: Unique| {
        calls.fetch_add(1, Ordering::Relaxed);
        sleep(SECOND).await;
        Ok::<_, Failed>(())
    }));
    assert_eq!(service.oneshot(Unique).await, Ok(()));
    assert_eq!(calls.into_inner(), 1);

    let (service, seen) = scripted([answers(9 * SECOND)]);
    let layer = HedgeLayer::after(SECOND).replay(EffectsIf(|request: &u32| *request == 7));
    assert_eq!(ServiceBuilder::new().layer(layer).service(service).oneshot(7).await, Ok(1));
    assert_eq!(seen.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_budget_suppresses_and_says_so() {
    let (told, observe) = log();
    let budget = Budget::default().cap(1).one_every(Duration::MAX);
    let layer = HedgeLayer::after(SECOND).attempts(3).budget(budget.clone()).observe(observe);
    let (service, seen) = scripted([answers(9 * SECOND), HANGS]);
    assert_eq!(ServiceBuilder::new().layer(layer).service(service).oneshot(0).await, Ok(1));
    assert_eq!(seen.calls(), 2);
    assert_eq!(budget.balance(), 0.1, "one token spent, one success");
    let told = told.lock().unwrap();
    let suppressed = Event::Suppressed { attempt: 3, why: Why::Budget };
    assert_eq!(told.iter().filter(|event| **event == suppressed).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_attempt_is_refunded() {
    let budget = Budget::default().cap(2).one_every(Duration::MAX);
    let (service, _) = scripted([answers(9 * SECOND), fails(FAST, Verdict::rejected())]);
    let layer = HedgeLayer::after(SECOND).attempts(2).budget(budget.clone());
    assert_eq!(ServiceBuilder::new().layer(layer).service(service).oneshot(0).await, Ok(1));
    assert_eq!(budget.balance(), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_further_attempt_waits_for_readiness_and_gives_it_back() {
    let budget = Budget::default().cap(2).one_every(Duration::MAX);
    let (service, seen) = scripted([answers(3 * SECOND)]);
    let service = ServiceBuilder::new()
        .layer(HedgeLayer::after(SECOND).budget(budget.clone()))
        .concurrency_limit(1)
        .service(service);
    // The only permit is the first attempt's: the second never gets one.
    assert_eq!(service.clone().oneshot(0).await, Ok(1));
    assert_eq!(seen.calls(), 1);
    assert_eq!(budget.balance(), 2.0, "what was not sent is paid back");
    let mut again = service;
    assert!(poll_once(std::pin::pin!(again.ready())).await.is_ready(), "the permit is free");
}

#[tokio::test(start_paused = true)]
async fn a_readiness_error_is_only_a_failed_attempt() {
    /// Ready once, then broken.
    #[derive(Clone)]
    struct Breaks(Arc<AtomicU32>);
    impl Service<u32> for Breaks {
        type Response = u32;
        type Error = Failed;
        type Future = std::pin::Pin<Box<dyn Future<Output = Result<u32, Failed>> + Send>>;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Failed>> {
            std::task::Poll::Ready(match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => Ok(()),
                _ => Err(Failed(99, Verdict::permanent())),
            })
        }
        fn call(&mut self, _: u32) -> Self::Future {
            Box::pin(async {
                sleep(3 * SECOND).await;
                Ok(1)
            })
        }
    }
    let service = ServiceBuilder::new()
        .layer(HedgeLayer::after(SECOND).attempts(5))
        .service(Breaks(Arc::new(AtomicU32::new(0))));
    assert_eq!(service.oneshot(0).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_leaves_nothing() {
    for polls in 0..4 {
        let (service, seen) = scripted([HANGS; 9]);
        let mut service =
            ServiceBuilder::new().layer(HedgeLayer::after(SECOND).attempts(9)).service(service);
        let mut call = Box::pin(service.ready().await.unwrap().call(0));
        for _ in 0..polls {
            assert!(poll_once(call.as_mut()).await.is_pending());
            tokio::time::advance(SECOND).await;
        }
        drop(call);
        assert_eq!(seen.alive.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_learned_delay_begins_to_hedge_and_says_so() {
    let layer = HedgeLayer::learned();
    let handle = layer.handle();
    let number = Arc::new(AtomicU32::new(0));
    let service = ServiceBuilder::new().layer(layer).service(service_fn(move |_: u32| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(if number % 10 == 9 { 6 * SECOND } else { SECOND }).await;
            Ok::<_, Failed>(number)
        }
    }));
    for call in 0..200 {
        if call < 30 {
            assert_eq!(handle.delay(), None);
        }
        service.clone().oneshot(0).await.unwrap();
    }
    let delay = handle.delay().expect("one in ten is slow");
    assert!(delay >= SECOND && delay <= SECOND.mul_f64(1.02), "{delay:?}");
    let start = Instant::now();
    for _ in 0..100 {
        service.clone().oneshot(0).await.unwrap();
    }
    assert!(start.elapsed() < 112 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_percentile_is_tracked_through_cancellations() {
    let layer = HedgeLayer::percentile(Quantile::P90, 3 * SECOND);
    let handle = layer.handle();
    let number = Arc::new(AtomicU32::new(0));
    let service = ServiceBuilder::new().layer(layer).service(service_fn(move |first: u32| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        async move {
            // First attempts take 10 ms to 1 s in turn; their 90th percentile is 0.9 s.
            let turn = (number.wrapping_mul(37) + first) % 100 + 1;
            sleep(turn * Duration::from_millis(10)).await;
            Ok::<_, Failed>(())
        }
    }));
    for call in 0..4_000 {
        service.clone().oneshot(call).await.unwrap();
    }
    let delay = handle.delay().unwrap().as_secs_f64();
    assert!((0.8..=1.0).contains(&delay), "{delay}");
}

#[tokio::test(start_paused = true)]
async fn works_without_send_or_static() {
    let local = std::rc::Rc::new(std::cell::Cell::new(0));
    let service =
        ServiceBuilder::new().layer(HedgeLayer::immediate(2)).service(service_fn(|_: u32| {
            let local = &local;
            async move {
                local.set(local.get() + 1);
                match local.get() {
                    1 => pending().await,
                    n => Ok::<u32, Failed>(n),
                }
            }
        }));
    assert_eq!(service.oneshot(0).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn an_unacceptable_answer_frees_the_permit_that_the_next_attempt_needs() {
    let probe = ProbeService::new(1);
    probe.handle().hold(Hold::Reply);
    let layer =
        HedgeLayer::after(SECOND).classify(
            |outcome: Result<&ProbeReply, &ProbeError>| match outcome {
                Ok(reply) if reply.call() == 1 => Verdict::transient(),
                Ok(_) => Verdict::success(),
                Err(error) => error.verdict(),
            },
        );
    let service = ServiceBuilder::new().layer(layer).service(probe);
    let outcome = timeout(1_000 * SECOND, service.oneshot(ProbeRequest::new(1))).await;
    assert_eq!(outcome.expect("the call waits for itself").unwrap().call(), 2);
}

#[tokio::test(start_paused = true)]
async fn failures_do_not_move_a_percentile() {
    for (on_failure, attempts) in
        [(OnFailure::Next, 2), (OnFailure::Next, 5), (OnFailure::Wait, 2), (OnFailure::Wait, 3)]
    {
        let layer =
            HedgeLayer::percentile(Quantile::P90, SECOND).on_failure(on_failure).attempts(attempts);
        let handle = layer.handle();
        // Half fail at once, the others take up to 1 s.
        let turn = Arc::new(AtomicU32::new(0));
        let service = ServiceBuilder::new().layer(layer).service(service_fn(move |_: u32| {
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            // SplitMix64.
            let mut mixed = u64::from(turn + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            let millis = (mixed >> 32) % 1_000;
            let fails = mixed & 1 == 0;
            async move {
                if fails {
                    return Err(Failed(0, Verdict::transient()));
                }
                sleep(Duration::from_millis(millis)).await;
                Ok(())
            }
        }));
        let mut sum = 0.0;
        for call in 0..8_000 {
            let _ = service.clone().oneshot(call).await;
            if call >= 4_000 {
                sum += handle.delay().unwrap().as_secs_f64() / 4_000.0;
            }
        }
        assert!((0.88..=0.92).contains(&sum), "{on_failure:?}, {attempts} attempts: {sum}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_that_the_deadline_will_end_at_once() {
    let probe = ProbeService::new(4);
    let handle = probe.handle();
    handle.otherwise(Act::Hang);
    let budget = Budget::default().one_every(Duration::MAX);
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(SECOND))
        .layer(HedgeLayer::after(SECOND).budget(budget.clone()))
        .service(probe);
    assert!(service.oneshot(ProbeRequest::new(1)).await.is_err());
    assert_eq!(handle.counts().calls, 1);
    assert_eq!(budget.balance(), 10.0);
}

#[tokio::test(start_paused = true)]
async fn many_attempts_at_once_let_others_run() {
    for verdict in [Verdict::transient(), Verdict::rejected()] {
        let probe = ProbeService::new(1);
        let handle = probe.handle();
        handle.otherwise(Act::fail(verdict));
        // What is refused is refunded, so that no budget bounds it.
        let layer = HedgeLayer::after(SECOND).attempts(10_000);
        let mut service = ServiceBuilder::new().layer(layer).service(probe);
        let mut call = Box::pin(service.ready().await.unwrap().call(ProbeRequest::new(1)));
        let poll = poll_once(call.as_mut()).await;
        assert!(poll.is_pending(), "{} attempts in one poll", handle.counts().calls);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_could_not_be_made_ready_is_told_once() {
    let (told, observe) = log();
    let probe = ProbeService::new(4);
    let handle = probe.handle();
    handle.script([Act::fail(Verdict::transient())]);
    let layer = HedgeLayer::after(SECOND).observe(observe);
    let mut service = ServiceBuilder::new().layer(layer).service(probe);
    let call = service.ready().await.unwrap().call(ProbeRequest::new(1));
    handle.readiness([Readiness::Fail(Verdict::transient())]);
    assert!(call.await.is_err());
    let expected = [
        Event::Failed { attempt: 1, verdict: Verdict::transient() },
        Event::Suppressed { attempt: 2, why: Why::NotReady },
    ];
    assert_eq!(*told.lock().unwrap(), expected, "there is no third attempt to be suppressed");
}

#[tokio::test(start_paused = true)]
async fn a_suppressed_attempt_is_told_once_whatever_happens_later() {
    let (told, observe) = log();
    let (service, _) = scripted([fails(3 * SECOND, Verdict::throttled())]);
    let budget = Budget::default().cap(1).one_every(Duration::MAX);
    budget.withdraw().unwrap().spend();
    let layer = HedgeLayer::after(SECOND).observe(observe).budget(budget);
    assert!(ServiceBuilder::new().layer(layer).service(service).oneshot(0).await.is_err());
    let expected = [
        Event::Suppressed { attempt: 2, why: Why::Budget },
        Event::Failed { attempt: 1, verdict: Verdict::throttled() },
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_while_others_run_is_told() {
    let throttled = fails(Duration::ZERO, Verdict::throttled());
    for (plans, once, expected) in [
        (
            [answers(5 * SECOND), throttled],
            false,
            Event::Suppressed { attempt: 3, why: Why::Throttled },
        ),
        (
            [answers(5 * SECOND), HANGS],
            true,
            Event::Suppressed { attempt: 2, why: Why::NotRepeatable },
        ),
    ] {
        let (told, observe) = log();
        let (service, _) = scripted(plans);
        let layer = HedgeLayer::after(SECOND).attempts(3).observe(observe);
        let outcome = if once {
            ServiceBuilder::new().layer(layer.replay(Once)).service(service).oneshot(0).await
        } else {
            ServiceBuilder::new().layer(layer).service(service).oneshot(0).await
        };
        assert_eq!(outcome, Ok(1));
        let told = told.lock().unwrap();
        assert_eq!(told.iter().filter(|event| **event == expected).count(), 1, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_that_end_with_a_dropped_call_are_told() {
    let (told, observe) = log();
    let (service, _) = scripted([HANGS, HANGS]);
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(3 * SECOND))
        .layer(HedgeLayer::after(SECOND).observe(observe))
        .service(service);
    assert!(service.oneshot(0).await.is_err());
    let told = told.lock().unwrap();
    for expected in [
        Event::Cancelled { attempt: 1, after: 3 * SECOND },
        Event::Cancelled { attempt: 2, after: 2 * SECOND },
    ] {
        assert!(told.contains(&expected), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_does_not_erase_what_was_learned() {
    let layer = HedgeLayer::learned();
    let handle = layer.handle();
    let number = Arc::new(AtomicU32::new(0));
    let calls = number.clone();
    let service = ServiceBuilder::new().layer(layer).service(service_fn(move |up: u32| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        async move {
            if up == 0 {
                return Err(Failed(number, Verdict::transient()));
            }
            sleep(if number % 10 == 9 { 6 * SECOND } else { SECOND }).await;
            Ok(number)
        }
    }));
    for _ in 0..400 {
        service.clone().oneshot(1).await.unwrap();
    }
    assert!(handle.delay().is_some());
    let before = calls.load(Ordering::Relaxed);
    while calls.load(Ordering::Relaxed) < before + 3_000 {
        let _ = service.clone().oneshot(0).await;
    }
    assert!(handle.delay().is_some(), "3000 refusals said nothing of how long answers take");
}

#[tokio::test(start_paused = true)]
async fn the_age_of_the_call_is_told_also_where_no_delay_is_due() {
    let (told, observe) = log();
    let (service, _) = scripted([fails(5 * SECOND, Verdict::transient()), answers(FAST)]);
    let layer = HedgeLayer::after(Duration::MAX).observe(observe);
    assert_eq!(ServiceBuilder::new().layer(layer).service(service).oneshot(0).await, Ok(2));
    let expected = Event::Hedging { attempt: 2, after: 5 * SECOND, why: Why::Failure };
    assert!(told.lock().unwrap().contains(&expected), "{:?}", told.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_puzzling_failure_also_holds_an_attempt_that_waits_for_readiness() {
    let probe = ProbeService::new(2);
    let handle = probe.handle();
    handle.otherwise(Act::Hang);
    let layer = HedgeLayer::after(SECOND).attempts(3);
    let mut service = ServiceBuilder::new().layer(layer).service(probe);
    let mut call = Box::pin(service.ready().await.unwrap().call(ProbeRequest::new(1)));
    for _ in 0..3 {
        assert!(poll_once(call.as_mut()).await.is_pending());
        tokio::time::advance(SECOND).await;
    }
    assert_eq!((handle.counts().calls, handle.counts().waiting), (2, 1));
    handle.end(2, Act::fail(Verdict::unknown()));
    assert!(poll_once(call.as_mut()).await.is_pending());
    assert_eq!(handle.counts().calls, 2, "the first attempt still runs");
    assert_eq!(handle.counts().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_tie_with_the_delay_goes_to_the_answer() {
    let (service, seen) = scripted([answers(SECOND)]);
    let service = ServiceBuilder::new().layer(HedgeLayer::after(SECOND)).service(service);
    assert_eq!(service.oneshot(0).await, Ok(1));
    assert_eq!(seen.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_request_is_copied_one_time_less_than_it_is_sent() {
    for attempts in 1..5 {
        let probe = ProbeService::new(9);
        let handle = probe.handle();
        handle.otherwise(Act::fail(Verdict::transient()));
        let layer = HedgeLayer::after(SECOND).attempts(attempts);
        let service = ServiceBuilder::new().layer(layer).service(probe);
        assert!(service.oneshot(handle.request(1)).await.is_err());
        let counts = handle.counts();
        assert_eq!((counts.calls, counts.copies), (u64::from(attempts), u64::from(attempts) - 1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_once_is_learned_at_its_age() {
    let layer = HedgeLayer::learned().replay(EffectsIf(|request: &u32| *request == 7));
    let handle = layer.handle();
    let calls = Arc::new(AtomicU32::new(0));
    let seen = calls.clone();
    let service = ServiceBuilder::new().layer(layer).service(service_fn(move |_: u32| {
        calls.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(SECOND).await;
            Ok::<_, Failed>(())
        }
    }));
    for call in 0..600 {
        // Three of four requests may not be repeated. All take exactly 1 s: no hedge can help.
        service.clone().oneshot(if call % 4 == 0 { 0 } else { 7 }).await.unwrap();
    }
    assert_eq!((handle.delay(), seen.load(Ordering::Relaxed)), (None, 600));
}

#[tokio::test(start_paused = true)]
async fn a_lone_attempt_is_told_alike_however_long_it_took() {
    let mut stories = vec![];
    for after in [Duration::ZERO, SECOND] {
        let (told, observe) = log();
        let (service, _) = scripted([fails(after, Verdict::transient())]);
        let layer = HedgeLayer::after(SECOND).attempts(1).observe(observe);
        ServiceBuilder::new().layer(layer).service(service).oneshot(0).await.unwrap_err();
        stories.push(told.lock().unwrap().clone());
    }
    assert_eq!(stories[0], stories[1]);
}
