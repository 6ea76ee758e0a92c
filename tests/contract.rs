//! The laws that every layer keeps: a table of layers, and a test per law that walks it.
//!
//! The probe below the layers panics when it is misused, naming the law (so law 1 is checked by
//! every test here); the tests look at what is left alive. Law 8, no allocation, is counted where
//! an allocator may count: in `benches/allocations.rs`.

use std::{
    future::Future,
    num::NonZeroU32,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress::{
    Answers, Backoff, BreakerHandle, BreakerLayer, Budget, CheckpointLayer, Cusum, DegradeLayer,
    Factor, FailoverLayer, FallbackLayer, HedgeLayer, Jitter, Kind, LeaderLayer, LimitLayer, Once,
    Quantile, QuorumLayer, Ratio, Rejection, RetryLayer, Thresholds, TimeoutLayer, Trigger,
    Verdict,
    breaker::State,
    checkpoint::{Codec, Effects, InDoubt, Keyed, StepOf, Unkeyed},
    leader::Led,
    quorum::ByKey,
    store::{Digest, IdempotencyKey, Journal, MemoryStore},
};
use buttress_sim::probe::{
    Act, Alarm, Hold, ProbeError, ProbeHandle, ProbeReply, ProbeRequest, ProbeService, Readiness,
};
use tokio::time::timeout;
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt, buffer::Buffer, limit::RateLimit,
    load_shed::LoadShed, util::BoxCloneSyncService,
};

const SECOND: Duration = Duration::from_secs(1);

type Stack = BoxCloneSyncService<ProbeRequest, ProbeReply, ProbeError>;

/// A layer, and how it is put over a service.
struct Row {
    name: &'static str,
    over: fn(Stack) -> Stack,
    /// Makes the service ready inside the future, so that nothing is reserved before.
    lazy: bool,
    /// How many calls of the service it takes to answer one call, if all are answered at once.
    calls: u64,
    /// The same if all fail for good.
    failing: u64,
    /// Keeps answers until others have come: where permits are held by replies, it may wait for
    /// its own.
    keeps: bool,
    /// Is ready although the service is not, or has failed to become so: what comes of that is
    /// seen inside the future.
    takes_unready: bool,
}

impl Row {
    /// Whether the caller is told how ready the service is.
    fn passes_readiness(&self) -> bool {
        !self.lazy && !self.takes_unready
    }
}

fn boxed<L>(layer: L, inner: Stack) -> Stack
where
    L: Layer<Stack>,
    L::Service: Service<ProbeRequest, Response = ProbeReply, Error = ProbeError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    BoxCloneSyncService::new(layer.layer(inner))
}

fn retry() -> RetryLayer {
    RetryLayer::new()
        .backoff(Backoff::constant(SECOND).jitter(Jitter::None))
        .retry_unknown(true)
        .wait_when_rejected(SECOND)
}

fn hedge() -> HedgeLayer {
    HedgeLayer::after(SECOND).attempts(3)
}

/// Opens at the first failure, for half a second.
fn touchy() -> BreakerLayer {
    BreakerLayer::new(Trigger::consecutive(NonZeroU32::MIN))
        .open_for(Backoff::constant(SECOND / 2).jitter(Jitter::None))
}

fn limit(calls: u32) -> LimitLayer {
    LimitLayer::fixed(NonZeroU32::new(calls).unwrap())
}

fn timeout_layer() -> TimeoutLayer {
    TimeoutLayer::new(5 * SECOND)
}

/// The answer of the inner service among those of an ensemble; the others are dropped.
fn ensemble(layer: DegradeLayer<Stack>, inner: Stack) -> Stack {
    let first = |mut answers: Answers<ProbeReply>| answers.take("inner").expect("it is required");
    BoxCloneSyncService::new(layer.layer(inner).map_response(first))
}

fn row(name: &'static str, over: fn(Stack) -> Stack) -> Row {
    Row { name, over, lazy: false, calls: 1, failing: 1, keeps: false, takes_unready: false }
}

/// Leads, for longer than any test.
fn leading() -> LeaderLayer {
    let journal = Journal::new(MemoryStore::new()).ttl(Duration::MAX);
    let layer = LeaderLayer::new(journal, "probe");
    let mut campaign = Box::pin(layer.campaign(std::future::pending()));
    let mut cx = Context::from_waker(Waker::noop());
    // Elected at once; the timer for the renewal needs a runtime, which not every test has.
    let clock = tokio::runtime::Handle::try_current()
        .is_err()
        .then(|| tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap());
    let inside = clock.as_ref().map(tokio::runtime::Runtime::enter);
    assert!(campaign.as_mut().poll(&mut cx).is_pending());
    drop(inside);
    // Dropped, it would lead no more.
    std::mem::forget(campaign);
    layer
}

/// Two of three have to agree, as they do: all answer with the number of the request.
fn quorum() -> QuorumLayer<ByKey<fn(&ProbeReply) -> u64>> {
    QuorumLayer::of(3).agree_by(ProbeReply::id)
}

/// A quorum's members become ready in the future, and two of them are called.
fn quorum_row(name: &'static str, over: fn(Stack) -> Stack) -> Row {
    Row { lazy: true, calls: 2, failing: 2, ..row(name, over) }
}

fn fallback(name: &'static str, over: fn(Stack) -> Stack) -> Row {
    Row { takes_unready: true, ..row(name, over) }
}

const SIDE_EFFECT: Effects = Effects::SideEffect(InDoubt::Retry);

/// The service becomes ready in the future: what was done is answered without it.
fn checkpoint(name: &'static str, over: fn(Stack) -> Stack) -> Row {
    Row { lazy: true, ..row(name, over) }
}

fn layer(effects: Effects) -> CheckpointLayer<Numbers> {
    CheckpointLayer::new(MemoryStore::new(), effects).codec(Numbers)
}

/// Replies of a probe cannot be made of bytes, and no step is done twice here.
#[derive(Clone, Debug)]
struct Numbers;

impl Codec<ProbeReply> for Numbers {
    fn number(&self) -> u8 {
        128
    }

    fn encode(&self, reply: &ProbeReply) -> Result<Vec<u8>, BoxError> {
        Ok(reply.id().to_le_bytes().into())
    }

    fn decode(&self, _: &[u8]) -> Result<ProbeReply, BoxError> {
        Err("a step was done before".into())
    }
}

/// A request as a step of its own.
struct Errand(ProbeRequest, u64);

impl Keyed for Errand {
    fn step(&self) -> Result<StepOf, Unkeyed> {
        Ok(StepOf::new(self.1.to_string(), "errand"))
    }

    fn fingerprint(&self) -> Result<Digest, Unkeyed> {
        Ok(Digest::of(&self.0.id().to_le_bytes()))
    }

    fn place(&mut self, _: IdempotencyKey) {}
}

type Errands = BoxCloneSyncService<Errand, ProbeReply, ProbeError>;

/// Puts a layer whose requests are steps over a service: each call is a workflow.
fn kept<L>(layer: L, inner: Stack) -> Stack
where
    L: Layer<Errands>,
    L::Service: Service<Errand, Response = ProbeReply, Error = ProbeError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let inner = inner.map_request(|Errand(request, _)| request);
    let count = Arc::new(AtomicU64::new(0));
    let outer = layer
        .layer(BoxCloneSyncService::new(inner))
        .map_request(move |request| Errand(request, count.fetch_add(1, Ordering::Relaxed)));
    BoxCloneSyncService::new(outer)
}

fn table() -> Vec<Row> {
    vec![
        row("timeout", |s| boxed(timeout_layer(), s)),
        Row {
            lazy: true,
            ..row("timeout with readiness", |s| boxed(timeout_layer().and_readiness(), s))
        },
        row("retry", |s| boxed(retry(), s)),
        row("retry without backoff", |s| boxed(retry().backoff(Backoff::none()), s)),
        row("retry with a budget", |s| boxed(retry().budget(Budget::default().cap(1)), s)),
        row("retry once", |s| boxed(retry().replay(Once), s)),
        row("hedge", |s| boxed(hedge(), s)),
        row("hedge immediately", |s| boxed(HedgeLayer::immediate(3), s)),
        row("hedge with a budget", |s| boxed(hedge().budget(Budget::default().cap(1)), s)),
        row("hedge once", |s| boxed(hedge().replay(Once), s)),
        row("hedge by learning", |s| boxed(HedgeLayer::learned(), s)),
        row("hedge by percentile", |s| boxed(HedgeLayer::percentile(Quantile::P95, SECOND), s)),
        row("hedge to another target", |s| boxed(hedge().targets(vec![s.clone()]), s)),
        row("breaker", |s| boxed(BreakerLayer::default(), s)),
        row("breaker that opens at once", |s| boxed(touchy(), s)),
        row("breaker of one instance", |s| boxed(touchy().single(), s)),
        row("breaker with backpressure", |s| boxed(touchy().backpressure(), s)),
        row("keyed breaker", |s| boxed(touchy().keyed(|request: &ProbeRequest| request.id()), s)),
        Row { lazy: true, ..row("degrade", |s| ensemble(DegradeLayer::new(), s)) },
        Row {
            lazy: true,
            calls: 3,
            ..row("degrade with members", |s| {
                // Its members are one service here: if answers hold permits it needs patience.
                let layer = DegradeLayer::new().patience(5 * SECOND);
                ensemble(layer.optional("b", s.clone()).optional("c", s.clone()), s)
            })
        },
        checkpoint("checkpoint that reads", |s| kept(layer(Effects::ReadOnly), s)),
        checkpoint("checkpoint", |s| kept(layer(SIDE_EFFECT), s)),
        checkpoint("checkpoint that keeps failures", |s| {
            kept(layer(SIDE_EFFECT).record_failures().wait_in_flight(), s)
        }),
        // Not `detach_on_drop`: that its call outlives its caller is what it is chosen for.
        quorum_row("quorum", |s| boxed(quorum(), s)),
        quorum_row("quorum, lazily", |s| boxed(quorum().lazy(SECOND), s)),
        quorum_row("quorum of others", |s| {
            let layer = QuorumLayer::with(vec![s.clone(), s.clone()]);
            boxed(layer.agree_by(ProbeReply::id), s)
        }),
        Row {
            keeps: true,
            ..quorum_row("quorum that keeps answers", |s| {
                let same = |a: &ProbeReply, b: &ProbeReply| a.id() == b.id();
                boxed(QuorumLayer::of(3).agree_with(same), s)
            })
        },
        Row {
            calls: 1,
            failing: 1,
            ..quorum_row("quorum, first success", |s| boxed(QuorumLayer::of(3).first_success(), s))
        },
        Row {
            calls: 1,
            failing: 1,
            ..quorum_row("quorum once", |s| boxed(quorum().needed(1).replay(Once), s))
        },
        row("limit", |s| boxed(limit(2).queue(9), s)),
        row("limit without a queue", |s| boxed(limit(2).queue(0), s)),
        row("limit with patience", |s| boxed(limit(2).wait_at_most(SECOND), s)),
        row("limit that adapts", |s| {
            let start = NonZeroU32::new(3).unwrap();
            boxed(LimitLayer::adaptive().start(start).period(SECOND), s)
        }),
        Row {
            lazy: true,
            ..row("failover, all active", |s| {
                boxed(FailoverLayer::active_active().standby("other", s.clone()), s)
            })
        },
        Row {
            lazy: true,
            ..row("failover, all active, touchy", |s| {
                let layer = FailoverLayer::active_active().failures(NonZeroU32::MIN);
                boxed(layer.attempts(3).standby("b", s.clone()).standby("c", s.clone()), s)
            })
        },
        Row {
            lazy: true,
            ..row("failover, one active", |s| {
                boxed(FailoverLayer::active_passive().standby("other", s.clone()), s)
            })
        },
        Row {
            lazy: true,
            ..row("failover, one active, touchy", |s| {
                let layer = FailoverLayer::active_passive().failures(NonZeroU32::MIN);
                let layer = layer.hold_down(Duration::ZERO).budget(Budget::default().cap(1));
                boxed(layer.standby("other", s.clone()), s)
            })
        },
        Row {
            lazy: true,
            ..row("failover once", |s| {
                let layer = FailoverLayer::active_passive().standby("other", s.clone());
                boxed(layer.replay(Once), s)
            })
        },
        row("leader", |s| {
            let stack = ServiceBuilder::new()
                .map_request(Led::new)
                .layer(leading())
                .map_request(Led::into_request);
            boxed(stack, s)
        }),
        fallback("fallback", |s| boxed(FallbackLayer::to(s.clone()), s)),
        fallback("fallback to several", |s| {
            let function = |_: &ProbeRequest| Err(ProbeError::Failed(Verdict::rejected()));
            let layer = FallbackLayer::to(s.clone()).then_fn(function).then(s.clone());
            boxed(layer.last_error(), s)
        }),
        fallback("fallback with a budget", |s| {
            boxed(FallbackLayer::to(s.clone()).budget(Budget::default().cap(1)), s)
        }),
        fallback("fallback once", |s| boxed(FallbackLayer::to(s.clone()).replay(Once), s)),
        row("fallback of one instance", |s| boxed(FallbackLayer::to(s.clone()).single(), s)),
        fallback("fallback of a stack", |s| {
            let stack = ServiceBuilder::new()
                .layer(FallbackLayer::to(s.clone()).patience(SECOND / 2))
                .layer(retry())
                .layer(timeout_layer());
            boxed(stack, s)
        }),
        row("the stack", |s| {
            let stack = ServiceBuilder::new()
                .layer(TimeoutLayer::new(20 * SECOND))
                .layer(retry())
                .layer(hedge())
                .layer(BreakerLayer::default())
                .layer(timeout_layer());
            boxed(stack, s)
        }),
        Row {
            lazy: true,
            ..row("the stack, touchy", |s| {
                let stack = ServiceBuilder::new()
                    .layer(retry().attempts(5))
                    .layer(hedge())
                    .layer(touchy())
                    .layer(timeout_layer().and_readiness());
                boxed(stack, s)
            })
        },
        quorum_row("the stack, many times", |s| {
            let stack = ServiceBuilder::new()
                .layer(TimeoutLayer::new(20 * SECOND))
                .layer(quorum())
                .layer(retry())
                .layer(BreakerLayer::default())
                .layer(timeout_layer());
            boxed(stack, s)
        }),
    ]
}

/// What becomes of a call's attempts, in their order; those after them answer at once.
fn scenarios() -> Vec<Vec<Act>> {
    let failures = [
        Verdict::transient(),
        Verdict::throttled(),
        Verdict::throttled().with_retry_after(2 * SECOND),
        Verdict::reroute(),
        Verdict::rejected().with_retry_after(SECOND / 2),
        Verdict::permanent(),
        Verdict::unknown(),
    ];
    let mut acts = vec![Act::answer(), Act::Answer { after: 3 * SECOND }, Act::Hang];
    for verdict in failures {
        acts.push(Act::fail(verdict));
        acts.push(Act::Fail { verdict, after: SECOND / 2 });
    }
    let mut all = vec![];
    for first in &acts {
        for second in &acts {
            all.push(vec![*first, *second]);
            all.push(vec![*first, *second, Act::fail(Verdict::transient())]);
        }
    }
    all
}

fn probe(permits: u32) -> (ProbeHandle, Stack) {
    let probe = ProbeService::new(permits);
    (probe.handle(), BoxCloneSyncService::new(probe))
}

/// Polls the future inside until it ends, or has been polled so many times.
struct AtMost<F> {
    future: Pin<Box<F>>,
    polls: usize,
}

impl<F: Future> Future for AtMost<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        match self.future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

async fn polled_at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let future = Box::pin(future);
    // Hanging calls are left after a while that is longer than any scenario.
    timeout(100 * SECOND, AtMost { future, polls }).await.unwrap_or(None)
}

/// Runs each scenario over each layer, dropping the call after its first, second, .. poll, and
/// looks at what is left.
async fn sweep(hold: Hold, permits: u32, look: impl Fn(&str, &ProbeHandle)) {
    for Row { name, over, .. } in table() {
        for script in scenarios() {
            for polls in 0.. {
                let (handle, inner) = probe(permits);
                handle.script(script.iter().copied());
                handle.hold(hold);
                let mut service = over(inner);
                let call = service.ready().await.unwrap().call(ProbeRequest::new(7));
                let ended = polled_at_most(polls, call).await.is_some();
                look(&format!("{name}, {script:?}, {polls} polls"), &handle);
                drop(service);
                handle.assert_gone();
                // A call that hangs is polled no more after some polls.
                if ended || polls > 40 {
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn law_2_a_future_dropped_at_any_poll_leaves_nothing() {
    sweep(Hold::Answer, 4, |case, handle| {
        let counts = handle.counts();
        assert_eq!((counts.in_flight, counts.futures, counts.replies), (0, 0, 0), "{case}");
        assert_eq!((counts.waiting, counts.reservations, counts.free), (0, 0, 4), "{case}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn law_5_one_readiness_at_a_time() {
    sweep(Hold::Reply, 2, |case, handle| {
        let counts = handle.counts();
        assert!(counts.max_reservations <= 1, "{case}: {} at once", counts.max_reservations);
        assert_eq!((counts.waiting, counts.free), (0, 2), "{case}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn law_2_readiness_is_sticky_and_reserved_once() {
    for Row { name, over, lazy, .. } in table() {
        let (handle, inner) = probe(4);
        let mut service = over(inner);
        for _ in 0..3 {
            service.ready().await.unwrap();
            let reserved = u64::from(!lazy);
            assert_eq!(handle.counts().reservations, reserved, "{name}");
        }
        // No call follows.
        drop(service);
        handle.assert_gone();
    }
}

#[tokio::test(start_paused = true)]
async fn law_3_a_clone_holds_no_readiness() {
    for Row { name, over, lazy, .. } in table() {
        let (handle, inner) = probe(4);
        let mut service = over(inner);
        service.ready().await.unwrap();
        let mut clone = service.clone();
        assert_eq!(handle.counts().reservations, u64::from(!lazy), "{name}");
        // Had the clone taken itself for ready, the probe would panic.
        clone.ready().await.unwrap().call(ProbeRequest::new(1)).await.unwrap();
        service.call(ProbeRequest::new(2)).await.unwrap();
        drop((service, clone));
        handle.assert_gone();
    }
}

#[tokio::test(start_paused = true)]
async fn law_5_what_is_pending_is_woken() {
    for Row { name, over, .. } in table().into_iter().filter(Row::passes_readiness) {
        let (handle, inner) = probe(1);
        handle.block();
        let mut service = over(inner);
        let woken = buttress_sim::probe::Alarm::new();
        let mut cx = Context::from_waker(woken.waker());
        assert!(service.poll_ready(&mut cx).is_pending(), "{name}");
        handle.assert_would_wake(woken.waker());
        handle.unblock();
        assert!(woken.count() > 0, "{name}");
        assert!(service.poll_ready(&mut cx).is_ready(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_6_nothing_runs_when_the_winner_returns() {
    for Row { name, over, .. } in table() {
        for script in scenarios() {
            let (handle, inner) = probe(4);
            handle.script(script.iter().copied());
            let mut service = over(inner);
            let mut call = Box::pin(service.ready().await.unwrap().call(ProbeRequest::new(7)));
            let outcome = timeout(100 * SECOND, call.as_mut()).await;
            if let Ok(outcome) = outcome {
                // The future is still there, and the outcome too.
                let counts = handle.counts();
                assert_eq!(counts.in_flight, 0, "{name}, {script:?}");
                assert!(counts.futures <= 1, "{name}, {script:?}: losers are kept");
                assert_eq!(counts.replies, u64::from(outcome.is_ok()), "{name}, {script:?}");
                assert_eq!((counts.waiting, counts.reservations), (0, 0), "{name}, {script:?}");
            }
        }
    }
}

/// Without a runtime a timer cannot be made: that it is not needed shows that it was not made.
#[test]
fn law_7_an_answer_at_hand_needs_no_timer() {
    for Row { name, over, calls, failing, .. } in table() {
        for verdict in [None, Some(Verdict::permanent())] {
            let (handle, inner) = probe(4);
            handle.otherwise(verdict.map_or(Act::answer(), Act::fail));
            let mut service = over(inner);
            let mut cx = Context::from_waker(Waker::noop());
            assert!(service.poll_ready(&mut cx).is_ready(), "{name}");
            let mut call = pin!(service.call(ProbeRequest::new(7)));
            let Poll::Ready(outcome) = call.as_mut().poll(&mut cx) else {
                panic!("{name}: the answer was there at the first poll");
            };
            assert_eq!(outcome.is_ok(), verdict.is_none(), "{name}");
            // Redundant execution alone starts more than it needs, and not before the first; an
            // ensemble starts all its members, unless one that is required has failed.
            let expected = if verdict.is_none() { calls } else { failing };
            assert_eq!(handle.counts().calls, expected, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn law_4_who_answers_alone_leaves_no_readied_instance() {
    type Case = (&'static str, fn(Stack) -> (Stack, BreakerHandle));
    let cases: [Case; 3] = [
        ("breaker", |s| {
            let layer = BreakerLayer::default();
            let handle = layer.handle();
            (boxed(layer, s), handle)
        }),
        ("keyed breaker", |s| {
            let layer = BreakerLayer::default().keyed(|_: &ProbeRequest| ());
            let handle = layer.handle().of(());
            (boxed(layer, s), handle)
        }),
        ("the stack", |s| {
            let layer = BreakerLayer::default();
            let handle = layer.handle();
            let stack = ServiceBuilder::new().layer(TimeoutLayer::new(SECOND)).layer(layer);
            (boxed(stack, s), handle)
        }),
    ];
    for (name, over) in cases {
        let (handle, inner) = probe(1);
        let (mut service, breaker) = over(inner.clone());
        service.ready().await.unwrap();
        handle.assert_reserved(1);
        breaker.force_open();
        let outcome = service.call(ProbeRequest::new(1)).await;
        assert!(matches!(outcome, Err(ProbeError::Rejected(_))), "{name}");
        assert_eq!(handle.counts().calls, 0, "{name}");
        // The only permit is free for others, and stays so while calls are refused.
        handle.assert_idle();
        if name != "keyed breaker" {
            // The key is unknown before the call.
            assert!(service.ready().await.is_ok(), "{name}");
            handle.assert_reserved(0);
        }
        assert!(timeout(SECOND, inner.oneshot(ProbeRequest::new(2))).await.is_ok(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_4_a_full_limit_asks_for_no_instance() {
    for queue in [0, 1] {
        let (handle, inner) = probe(4);
        handle.otherwise(Act::Hang);
        let mut service = boxed(limit(1).queue(queue), inner);
        let mut others: Vec<Stack> = (0..3).map(|_| service.clone()).collect();
        let mut call = pin!(service.ready().await.unwrap().call(ProbeRequest::new(1)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        let mut waiting = 0;
        for other in &mut others {
            waiting += u32::from(other.poll_ready(&mut cx).is_pending());
            handle.assert_reserved(0);
            handle.assert_nothing_waiting();
        }
        assert_eq!(waiting, queue);
        let outcome = others.pop().unwrap().call(ProbeRequest::new(2)).await;
        assert!(matches!(outcome, Err(ProbeError::Rejected(Rejection::Full { .. }))));
        assert_eq!(handle.counts().calls, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn law_10_a_result_from_before_a_trip_changes_nothing() {
    for late in [Act::answer(), Act::fail(Verdict::transient())] {
        let (handle, inner) = probe(4);
        handle.script([Act::Hang, Act::fail(Verdict::transient())]);
        let layer = touchy();
        let breaker = layer.handle();
        let service = boxed(layer, inner);
        let early = tokio::spawn(service.clone().oneshot(ProbeRequest::new(1)));
        tokio::task::yield_now().await;
        assert!(service.clone().oneshot(ProbeRequest::new(2)).await.is_err());
        assert_eq!(breaker.state(), State::Open);
        let (opened, wait) = (breaker.counters().opened, breaker.retry_after());
        handle.end(1, late);
        assert_eq!(early.await.unwrap().is_ok(), late == Act::answer());
        assert_eq!(breaker.state(), State::Open, "{late:?}");
        assert_eq!((breaker.counters().opened, breaker.retry_after()), (opened, wait), "{late:?}");
        assert_eq!(breaker.counters().stale, 1, "{late:?}");
    }
}

#[test]
fn law_11_nonsense_cannot_be_built() {
    for nonsense in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Ratio::new(nonsense).is_err());
        assert!(Quantile::new(nonsense).is_err());
        assert!(Factor::new(nonsense).is_err());
    }
    let (ten, half) = (Ratio::percent(10), Ratio::percent(50));
    for (healthy, broken) in [(half, ten), (ten, ten), (Ratio::ONE, Ratio::ONE)] {
        assert!(Cusum::new(healthy, broken, NonZeroU32::MAX).is_err());
    }
    assert!(Thresholds::new(half, ten).is_err());
    // What has no wrong value takes any.
    let _ =
        (RetryLayer::new().attempts(0), HedgeLayer::immediate(0), TimeoutLayer::new(Duration::MAX));
}

#[tokio::test(start_paused = true)]
async fn law_9_a_readiness_error_never_hides_an_outcome() {
    let firsts = [
        Act::Answer { after: 3 * SECOND },
        Act::fail(Verdict::transient()),
        Act::Fail { verdict: Verdict::transient(), after: 3 * SECOND },
    ];
    for Row { name, over, .. } in table().into_iter().filter(|row| !row.lazy) {
        for first in firsts {
            let (handle, inner) = probe(4);
            handle.script([first]);
            let mut service = over(inner);
            let call = service.ready().await.unwrap().call(ProbeRequest::new(7));
            handle.readiness([Readiness::Fail(Verdict::permanent()); 9]);
            let outcome = call.await;
            assert!(
                !matches!(outcome, Err(ProbeError::Unready(_))),
                "{name}, {first:?}: {outcome:?}"
            );
            assert_eq!(outcome.is_ok(), matches!(first, Act::Answer { .. }), "{name}, {first:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_attempts_readiness_error_is_the_callers() {
    for Row { name, over, .. } in table().into_iter().filter(Row::passes_readiness) {
        let (handle, inner) = probe(4);
        handle.readiness([Readiness::Fail(Verdict::permanent())]);
        let error = over(inner).ready().await.map(|_| ()).unwrap_err();
        assert_eq!(error, ProbeError::Unready(Verdict::permanent()), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_polled_no_more_often_than_its_call() {
    for Row { name, over, .. } in table() {
        let (handle, inner) = probe(4);
        handle.script([Act::Hang, Act::Hang, Act::Answer { after: 9 * SECOND }]);
        let mut service = over(inner);
        let mut call = Box::pin(service.ready().await.unwrap().call(ProbeRequest::new(7)));
        let mut polls = 0;
        let counted = std::future::poll_fn(|cx| {
            polls += 1;
            call.as_mut().poll(cx)
        });
        let _ = timeout(60 * SECOND, counted).await;
        let counts = handle.counts();
        assert!(counts.polls <= polls * counts.calls, "{name}: {} > {polls}", counts.polls);
    }
}

fn probe_error(error: BoxError) -> ProbeError {
    match error.downcast::<ProbeError>() {
        Ok(error) => *error,
        Err(error) => match error.downcast_ref::<Rejection>() {
            Some(rejection) => ProbeError::Rejected(rejection.clone()),
            None => ProbeError::Failed(Verdict::of_chain(&*error)),
        },
    }
}

/// Tower's own services of strict readiness, over a probe.
fn strict() -> Vec<(&'static str, fn(ProbeService) -> Stack)> {
    vec![
        ("ConcurrencyLimit", |probe| {
            BoxCloneSyncService::new(ServiceBuilder::new().concurrency_limit(1).service(probe))
        }),
        ("Buffer", |probe| BoxCloneSyncService::new(Buffer::new(probe, 1).map_err(probe_error))),
        ("LoadShed", |probe| BoxCloneSyncService::new(LoadShed::new(probe).map_err(probe_error))),
        ("Buffer over RateLimit", |probe| {
            let rate = tower::limit::rate::Rate::new(2, SECOND);
            BoxCloneSyncService::new(
                Buffer::new(RateLimit::new(probe, rate), 1).map_err(probe_error),
            )
        }),
    ]
}

#[tokio::test(start_paused = true)]
async fn callers_over_strict_services_never_block_each_other() {
    for (inner_name, over_probe) in strict() {
        for Row { name, over, .. } in table() {
            for script in scenarios().into_iter().step_by(3) {
                let case = format!("{name} over {inner_name}, {script:?}");
                let probe = ProbeService::new(2);
                let handle = probe.handle();
                // A call that hangs would rightly keep the only permit for ever.
                let script = script.into_iter().map(|act| match act {
                    Act::Hang => Act::Answer { after: 30 * SECOND },
                    act => act,
                });
                handle.script(script);
                let service = over(over_probe(probe));
                let callers = (0..3).map(|id| {
                    let service = service.clone();
                    tokio::spawn(async move {
                        let _ = service.oneshot(ProbeRequest::new(id)).await;
                    })
                });
                for caller in callers.collect::<Vec<_>>() {
                    let ended = timeout(600 * SECOND, caller).await;
                    ended.unwrap_or_else(|_| panic!("{case}: a caller is stuck")).unwrap();
                }
                drop(service);
                // A buffer works off what its callers left before it ends.
                tokio::time::sleep(10 * SECOND).await;
                let counts = handle.counts();
                assert_eq!((counts.in_flight, counts.instances), (0, 0), "{case}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_failure_is_answered() {
    // No verdict, of any kind, keeps a call from ending.
    for Row { name, over, .. } in table() {
        for kind in Kind::ALL {
            if kind == Kind::Success {
                continue;
            }
            let verdict = Verdict { kind, ..Verdict::transient() };
            let (handle, inner) = probe(4);
            handle.otherwise(Act::fail(verdict));
            let outcome = timeout(1_000 * SECOND, over(inner).oneshot(ProbeRequest::new(1))).await;
            let error = outcome.unwrap_or_else(|_| panic!("{name}, {kind}: no end")).unwrap_err();
            // Where there is a breaker, it may have the last word; where there are several services
            // it tells of all of them.
            let refused = matches!(
                error,
                ProbeError::Rejected(
                    Rejection::Open { .. }
                        | Rejection::TooFew { .. }
                        | Rejection::NoQuorum { .. }
                        | Rejection::AllFailed { .. }
                )
            );
            assert!(refused || error == ProbeError::Failed(verdict), "{name}: {error:?}");
            handle.assert_gone();
        }
    }
}

/// Polls calls of one task only when they were woken, in an order that changes each time, and
/// drops some of them on the way. Whoever forgets to register a waker is found here.
async fn polled_when_woken(
    calls: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
    seed: u64,
    drops: bool,
) -> usize {
    let mut random = seed;
    let mut draw = move |below: usize| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below.max(1)
    };
    let mut calls: Vec<_> = calls.into_iter().map(|call| (call, Alarm::new(), u64::MAX)).collect();
    for _ in 0..2_000 {
        while let Some(due) = {
            let due: Vec<usize> = (0..calls.len())
                .filter(|&index| calls[index].1.count() != calls[index].2)
                .collect();
            due.get(draw(due.len())).copied()
        } {
            let (call, alarm, seen) = &mut calls[due];
            *seen = alarm.count();
            let mut cx = Context::from_waker(alarm.waker());
            if call.as_mut().poll(&mut cx).is_ready() || (drops && draw(12) == 0) {
                drop(calls.swap_remove(due));
            }
        }
        if calls.is_empty() {
            break;
        }
        tokio::time::advance(SECOND / 4).await;
    }
    calls.len()
}

#[tokio::test(start_paused = true)]
async fn law_5_whoever_waits_is_woken_whatever_the_order() {
    let scenarios = scenarios();
    for Row { name, over, keeps, .. } in table() {
        for seed in 0..15 {
            for hold in [Hold::Answer, Hold::Future, Hold::Reply] {
                if keeps && hold == Hold::Reply {
                    continue;
                }
                for drops in [false, true] {
                    let permits = 1 + seed as u32 % 3;
                    let (handle, inner) = probe(permits);
                    handle.hold(hold);
                    for step in 0..4 {
                        let script = &scenarios[(seed as usize * 31 + step * 7) % scenarios.len()];
                        handle.script(script.iter().map(|act| match act {
                            Act::Hang => Act::Answer { after: 30 * SECOND },
                            act => *act,
                        }));
                    }
                    let service = over(inner);
                    let calls = (0..5)
                        .map(|id| {
                            let service = service.clone();
                            let call = async move {
                                let _ = service.oneshot(ProbeRequest::new(id)).await;
                            };
                            Box::pin(call) as Pin<Box<dyn Future<Output = ()> + Send>>
                        })
                        .collect();
                    let stuck = polled_when_woken(calls, seed, drops).await;
                    let case = format!("{name}, seed {seed}, {permits} permits, {hold:?}, {drops}");
                    assert_eq!(stuck, 0, "{case}: {:?}", handle.counts());
                    drop(service);
                    handle.assert_gone();
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_behind_a_circuit_that_opens_is_refused() {
    let probe = ProbeService::new(1);
    probe.handle().otherwise(Act::Hang);
    let layer = BreakerLayer::default();
    let breaker = layer.handle();
    let service = ServiceBuilder::new().layer(layer).service(probe);
    let mut first = service.clone();
    let mut running = pin!(first.ready().await.unwrap().call(ProbeRequest::new(1)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(running.as_mut().poll(&mut cx).is_pending());
    let second = tokio::spawn(service.oneshot(ProbeRequest::new(2)));
    tokio::time::sleep(SECOND).await;
    breaker.force_open();
    let outcome = timeout(100 * SECOND, second).await.expect("nobody tells it").unwrap();
    assert!(matches!(outcome, Err(ProbeError::Rejected(Rejection::Open { .. }))));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_acceptable_ends_the_call() {
    let fine = |_: Result<&ProbeReply, &ProbeError>| Verdict::success();
    let stacks: [(&str, fn(Stack, Fine) -> Stack); 5] = [
        ("retry", |s, fine| boxed(retry().classify(fine), s)),
        ("hedge", |s, fine| boxed(hedge().classify(fine), s)),
        ("breaker", |s, fine| boxed(touchy().classify(fine), s)),
        ("failover", |s, fine| {
            let layer = FailoverLayer::active_passive().standby("other", s.clone());
            boxed(layer.classify(fine), s)
        }),
        ("fallback", |s, fine| boxed(FallbackLayer::to(s.clone()).classify(fine), s)),
    ];
    type Fine = fn(Result<&ProbeReply, &ProbeError>) -> Verdict;
    for (name, over) in stacks {
        for after in [Duration::ZERO, 3 * SECOND] {
            let (handle, inner) = probe(4);
            let verdict = Verdict::transient();
            handle.otherwise(Act::Fail { verdict, after });
            let service = over(inner, fine);
            for _ in 0..2 {
                let outcome = service.clone().oneshot(ProbeRequest::new(1)).await;
                assert_eq!(outcome.unwrap_err(), ProbeError::Failed(verdict), "{name}");
            }
            // A hedge that was due while it ran is the only other attempt.
            let hedged = if name == "hedge" && !after.is_zero() { 6 } else { 2 };
            assert_eq!(handle.counts().calls, hedged, "{name}");
        }
    }
}
