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
    Budget, EffectsIf, Event, Fault, HedgeLayer, OnFailure, Once, Quantile, Rejection, Teller,
    Verdict, Why,
};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};

use crate::support::poll_once;

const SECOND: Duration = Duration::from_secs(1);
const FAST: Duration = Duration::from_millis(700);

#[derive(Debug, PartialEq)]
struct Failed(u32, Verdict);

impl Fault for Failed {
    fn verdict(&self) -> Verdict {
        self.1
    }
}

impl From<Rejection> for Failed {
    fn from(rejection: Rejection) -> Self {
        Self(0, rejection.verdict())
    }
}

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
