//! RetryLayer: what a caller sees.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    Backoff, Budget, ByFault, ClassifyExt, EffectsIf, Event, Fault, Jitter, Once, RetryLayer,
    Teller, TimeoutLayer, Verdict, Why,
};
use buttress_sim::probe::{Act, ProbeError, ProbeReply, ProbeRequest, ProbeService, Readiness};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Failed, poll_once};

const SECOND: Duration = Duration::from_secs(1);

fn seconds() -> Backoff {
    Backoff::constant(SECOND).jitter(Jitter::None)
}

/// Fails each call with the next verdict, and answers with the number of the call after them.
fn failing(
    verdicts: impl IntoIterator<Item = Verdict>,
) -> (impl Service<u32, Response = u32, Error = Failed, Future: Send> + Clone, Arc<AtomicU32>) {
    let verdicts: Arc<[Verdict]> = verdicts.into_iter().collect();
    let calls = Arc::new(AtomicU32::new(0));
    let counter = calls.clone();
    let service = service_fn(move |_: u32| {
        let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
        let verdict = verdicts.get(number as usize - 1).copied();
        async move { verdict.map_or(Ok(number), |verdict| Err(Failed(number, verdict))) }
    });
    (service, calls)
}

#[tokio::test(start_paused = true)]
async fn repeats_until_it_succeeds() {
    let (service, calls) = failing([Verdict::transient(); 2]);
    let start = Instant::now();
    let service =
        ServiceBuilder::new().layer(RetryLayer::new().backoff(seconds())).service(service);
    assert_eq!(service.oneshot(0).await, Ok(3));
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    assert_eq!(start.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn attempts_count_the_first() {
    for attempts in [0, 1, 2, 5] {
        let (service, calls) = failing([Verdict::transient(); 9]);
        let layer = RetryLayer::new().attempts(attempts).backoff(seconds());
        let outcome = ServiceBuilder::new().layer(layer).service(service).oneshot(0).await;
        let made = attempts.max(1);
        assert_eq!(outcome, Err(Failed(made, Verdict::transient())), "the last failure is told");
        assert_eq!(calls.load(Ordering::Relaxed), made);
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_hour_ends_at_once_under_a_deadline() {
    let hour = Verdict::throttled().with_retry_after(3_600 * SECOND);
    let (service, calls) = failing([hour; 3]);
    let start = Instant::now();
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(20 * SECOND))
        .layer(RetryLayer::new().max_retry_after(Duration::MAX))
        .service(service);
    assert_eq!(service.oneshot(0).await, Err(Failed(1, hour)));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_seen_in_later_polls_too() {
    let (service, calls) = failing([Verdict::transient(); 99]);
    let start = Instant::now();
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(3 * SECOND + SECOND / 2))
        .layer(RetryLayer::new().attempts(99).backoff(seconds()))
        .service(service);
    // Attempts at 0, 1, 2 and 3 s; a wait until 4 s would outlast the deadline.
    assert_eq!(service.oneshot(0).await, Err(Failed(4, Verdict::transient())));
    assert_eq!(start.elapsed(), 3 * SECOND);
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn its_own_limit_holds_too() {
    let (service, calls) = failing([Verdict::transient(); 99]);
    let layer = RetryLayer::new().attempts(99).backoff(seconds()).within(2 * SECOND);
    let outcome = ServiceBuilder::new().layer(layer).service(service).oneshot(0).await;
    assert!(outcome.is_err());
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn effects_are_not_repeated_unless_provably_absent() {
    let effects = EffectsIf(|request: &u32| *request == 7);
    for (verdict, made) in
        [(Verdict::transient(), 1), (Verdict::transient().with_effect(buttress::Effect::None), 3)]
    {
        let (service, calls) = failing([verdict; 2]);
        let layer = RetryLayer::new().backoff(seconds()).replay(effects);
        let _ = ServiceBuilder::new().layer(layer).service(service).oneshot(7).await;
        assert_eq!(calls.load(Ordering::Relaxed), made);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_copied_is_sent_once() {
    struct Unique;
    let calls = AtomicU32::new(0);
    let service = ServiceBuilder::new().layer(RetryLayer::new().replay(Once)).service(service_fn(
        async |_: Unique| {
            calls.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused))
        },
    ));
    assert!(service.oneshot(Unique).await.is_err());
    assert_eq!(calls.into_inner(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_request_is_copied_one_time_less_than_it_is_sent() {
    #[derive(Debug)]
    struct Counted(Arc<AtomicU32>);
    impl Clone for Counted {
        fn clone(&self) -> Self {
            self.0.fetch_add(1, Ordering::Relaxed);
            Self(self.0.clone())
        }
    }
    for attempts in 1..5 {
        let copies = Arc::new(AtomicU32::new(0));
        let service = ServiceBuilder::new()
            .layer(RetryLayer::new().attempts(attempts).backoff(Backoff::none()))
            .service(service_fn(async |_: Counted| {
                Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused))
            }));
        assert!(service.oneshot(Counted(copies.clone())).await.is_err());
        assert_eq!(copies.load(Ordering::Relaxed), attempts - 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unacceptable_answer_is_dropped_before_the_wait() {
    struct Body(Arc<AtomicU32>);
    impl Drop for Body {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let alive = Arc::new(AtomicU32::new(0));
    let bodies = alive.clone();
    let mut service = ServiceBuilder::new()
        .layer(RetryLayer::new().backoff(seconds()).classify(
            |outcome: Result<&Body, &io::Error>| match outcome {
                Ok(_) => Verdict::transient(),
                Err(_) => Verdict::unknown(),
            },
        ))
        .service(service_fn(move |(): ()| {
            bodies.fetch_add(1, Ordering::Relaxed);
            let body = Body(bodies.clone());
            async { Ok(body) }
        }));
    let mut call = Box::pin(service.ready().await.unwrap().call(()));
    assert!(poll_once(call.as_mut()).await.is_pending());
    assert_eq!(alive.load(Ordering::Relaxed), 0);
    // The answer of the last attempt is returned, good or not.
    assert!(call.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_budget_stops_repeating_and_says_so() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let budget = Budget::default().cap(1).one_every(Duration::MAX);
    let layer = RetryLayer::new()
        .backoff(seconds())
        .budget(budget.clone())
        .observe(move |_: Teller<'_>, event: &Event| log.lock().unwrap().push(*event));
    let (service, calls) = failing([Verdict::transient(); 9]);
    let service = ServiceBuilder::new().layer(layer).service(service);
    assert!(service.oneshot(0).await.is_err());
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(budget.balance(), 0.0);
    let verdict = Verdict::transient();
    assert_eq!(
        *told.lock().unwrap(),
        [
            Event::Failed { attempt: 1, verdict },
            Event::Retrying { attempt: 2, delay: SECOND },
            Event::Failed { attempt: 2, verdict },
            Event::Suppressed { attempt: 3, why: Why::Budget },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_for_an_unsent_attempt_goes_back() {
    let budget = Budget::default().cap(1).one_every(Duration::MAX);
    let (service, calls) = failing([Verdict::transient(); 9]);
    let layer = RetryLayer::new().backoff(seconds()).budget(budget.clone());
    let mut service = ServiceBuilder::new().layer(layer).service(service);
    let mut call = Box::pin(service.ready().await.unwrap().call(0));
    assert!(poll_once(call.as_mut()).await.is_pending());
    assert_eq!(budget.balance(), 0.0);
    drop(call);
    assert_eq!(budget.balance(), 1.0);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_readiness_error_does_not_hide_the_cause() {
    /// Ready once, then broken.
    #[derive(Clone)]
    struct Breaks(Arc<AtomicU32>);
    impl Service<u32> for Breaks {
        type Response = u32;
        type Error = Failed;
        type Future = std::future::Ready<Result<u32, Failed>>;
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
            std::future::ready(Err(Failed(1, Verdict::transient())))
        }
    }
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new().backoff(seconds()))
        .service(Breaks(Arc::new(AtomicU32::new(0))));
    assert_eq!(service.oneshot(0).await, Err(Failed(1, Verdict::transient())));
}

#[tokio::test(start_paused = true)]
async fn unknown_failures_are_repeated_only_if_told() {
    for (retry, made) in [(false, 1), (true, 3)] {
        let (service, calls) = failing([Verdict::unknown(); 9]);
        let layer = RetryLayer::new().backoff(seconds()).retry_unknown(retry);
        let _ = ServiceBuilder::new().layer(layer).service(service).oneshot(0).await;
        assert_eq!(calls.load(Ordering::Relaxed), made);
    }
}

#[tokio::test(start_paused = true)]
async fn a_classifier_may_forbid_by_request() {
    let (service, calls) = failing([Verdict::transient(); 9]);
    let layer = RetryLayer::new()
        .backoff(seconds())
        .classify(ByFault.forbid(|request: &u32| *request == 7));
    let _ = ServiceBuilder::new().layer(layer).service(service).oneshot(7).await;
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_its_own_timeout() {
    let start = Instant::now();
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new().backoff(seconds()))
        .layer(TimeoutLayer::new(2 * SECOND))
        .service(service_fn(async |_: u32| {
            sleep(10 * SECOND).await;
            Ok::<_, Failed>(())
        }));
    assert!(service.oneshot(0).await.is_err());
    assert_eq!(start.elapsed(), (2 + 1 + 2 + 1 + 2) * SECOND);
}

#[tokio::test(start_paused = true)]
async fn many_attempts_at_once_let_others_run() {
    let probe = ProbeService::new(1);
    let handle = probe.handle();
    handle.otherwise(Act::fail(Verdict::transient()));
    let layer = RetryLayer::new().backoff(Backoff::none()).attempts(10_000);
    let mut service = ServiceBuilder::new().layer(layer).service(probe);
    let mut call = Box::pin(service.ready().await.unwrap().call(ProbeRequest::new(1)));
    let poll = poll_once(call.as_mut()).await;
    assert!(poll.is_pending(), "{} attempts in one poll", handle.counts().calls);
}

#[tokio::test(start_paused = true)]
async fn a_refused_attempt_is_refunded() {
    let budget = Budget::default().cap(2).one_every(Duration::MAX);
    let (service, calls) = failing([Verdict::transient(), Verdict::rejected()]);
    let layer = RetryLayer::new().backoff(seconds()).budget(budget.clone());
    let outcome = ServiceBuilder::new().layer(layer).service(service).oneshot(0).await;
    assert_eq!(outcome, Err(Failed(2, Verdict::rejected())));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(budget.balance(), 2.0, "the second attempt never left");
}

#[tokio::test(start_paused = true)]
async fn no_attempt_is_sent_after_its_own_limit() {
    let probe = ProbeService::new(1);
    let handle = probe.handle();
    handle.otherwise(Act::fail(Verdict::transient()));
    let layer = RetryLayer::new().backoff(seconds()).within(5 * SECOND);
    let mut service = ServiceBuilder::new().layer(layer).service(probe);
    let call = tokio::spawn(service.ready().await.unwrap().call(ProbeRequest::new(1)));
    handle.block();
    sleep(100 * SECOND).await;
    handle.unblock();
    let outcome = call.await.unwrap();
    assert_eq!(outcome.unwrap_err(), ProbeError::Failed(Verdict::transient()));
    assert_eq!(handle.counts().calls, 1, "an attempt was sent 95 s after the limit");
}

#[tokio::test(start_paused = true)]
async fn an_unacceptable_answer_does_not_hide_an_earlier_error() {
    let probe = ProbeService::new(1);
    let handle = probe.handle();
    handle.script([Act::fail(Verdict::transient())]);
    let layer = RetryLayer::new().backoff(seconds()).classify(
        |outcome: Result<&ProbeReply, &ProbeError>| match outcome {
            Ok(_) => Verdict::transient(),
            Err(error) => error.verdict(),
        },
    );
    let mut service = ServiceBuilder::new().layer(layer).service(probe);
    let mut call = Box::pin(service.ready().await.unwrap().call(ProbeRequest::new(1)));
    assert!(poll_once(call.as_mut()).await.is_pending());
    tokio::time::advance(SECOND).await;
    assert!(poll_once(call.as_mut()).await.is_pending());
    assert_eq!(handle.counts().calls, 2);
    handle.readiness([Readiness::Fail(Verdict::permanent())]);
    assert_eq!(call.await.unwrap_err(), ProbeError::Failed(Verdict::transient()));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_breaker_are_served_once_it_closes() {
    use buttress::{BreakerLayer, breaker::State};
    let up = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let healthy = up.clone();
    let breaker = BreakerLayer::default();
    let handle = breaker.handle();
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new().attempts(5).backoff(seconds()).wait_when_rejected(60 * SECOND))
        .layer(breaker)
        .service(service_fn(move |_: u32| {
            let up = healthy.load(Ordering::Relaxed);
            async move {
                sleep(SECOND / 10).await;
                if up { Ok(()) } else { Err(Failed(1, Verdict::transient())) }
            }
        }));
    while handle.state() != State::Open {
        let _ = service.clone().oneshot(0).await;
    }
    up.store(true, Ordering::Relaxed);
    let calls: Vec<_> = (0..10).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    let mut served = 0;
    for call in calls {
        served += u32::from(call.await.unwrap().is_ok());
    }
    assert_eq!((served, handle.state()), (10, State::Closed));
}
