//! The layers of this workspace, with their defaults where nothing else is said.

use std::{
    future::{Future, pending},
    num::NonZeroU32,
    pin::pin,
    sync::{Arc, LazyLock},
    task::{Context, Waker},
    time::Duration,
};

use buttress::{
    Backoff, BreakerLayer, Budget, CheckpointLayer, DegradeLayer, FailoverLayer, FallbackLayer,
    HedgeLayer, LeaderLayer, LimitLayer, Once, Quantile, QuorumLayer, Ratio, RetryLayer, Stack,
    TimeoutLayer, Trigger, Window,
    checkpoint::{Effects, InDoubt, Step},
    leader::Led,
    store::{Journal, MemoryStore, StepId},
};
use tower::{Layer, Service, ServiceBuilder};

use crate::{
    Bare, Failed, Run,
    run::{admitted, finish, once},
};

/// Longer than a call takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn bare() -> Run {
    Run::service(Bare)
}

pub(crate) fn timeout() -> Run {
    Run::service(TimeoutLayer::new(LONG).layer(Bare))
}

pub(crate) fn retry() -> Run {
    Run::service(RetryLayer::new().layer(Bare))
}

pub(crate) fn retry_once() -> Run {
    Run::service(RetryLayer::new().replay(Once).layer(Bare))
}

pub(crate) fn retry_with_a_budget() -> Run {
    Run::service(RetryLayer::new().budget(Budget::default()).layer(Bare))
}

pub(crate) fn breaker() -> Run {
    Run::service(BreakerLayer::default().layer(Bare))
}

pub(crate) fn breaker_rate_over_time() -> Run {
    let window = Window::time(Duration::from_secs(10));
    let trigger = Trigger::failure_rate(Ratio::percent(50), window);
    Run::service(BreakerLayer::new(trigger).layer(Bare))
}

/// Opened by a failure, for longer than any measurement.
pub(crate) fn breaker_open() -> Run {
    let layer = BreakerLayer::new(Trigger::consecutive(NonZeroU32::MIN))
        .open_for(Backoff::constant(Duration::from_secs(3_600)));
    let mut service = layer.layer(Bare);
    assert!(once(&mut service, Bare::FAILS).is_err(), "this request fails");
    Run::refusing_service(service)
}

pub(crate) fn breaker_forced_open() -> Run {
    let layer = BreakerLayer::default();
    layer.handle().force_open();
    Run::refusing_service(layer.layer(Bare))
}

/// More calls than are made at a time.
const MANY: NonZeroU32 = NonZeroU32::new(20).unwrap();

pub(crate) fn limit() -> Run {
    Run::service(LimitLayer::fixed(MANY).layer(Bare))
}

pub(crate) fn limit_adaptive() -> Run {
    Run::service(LimitLayer::adaptive().layer(Bare))
}

/// Used so much that every answer is to its credit.
pub(crate) fn limit_adaptive_used() -> Run {
    const HELD: NonZeroU32 = NonZeroU32::new(3_000).unwrap();
    let mut service = LimitLayer::adaptive().start(HELD).max(NonZeroU32::MAX).layer(Bare);
    let held: Vec<_> = (1..HELD.get()).map(|_| admitted(&service)).collect();
    Run::succeeding(move |request| {
        let _held = &held;
        once(&mut service, request)
    })
}

pub(crate) fn limit_full() -> Run {
    let mut service = LimitLayer::fixed(NonZeroU32::MIN).queue(0).layer(Bare);
    let holder = admitted(&service);
    Run::refusing(move |request| {
        let _holder = &holder;
        once(&mut service, request)
    })
}

/// Leads for longer than any measurement.
pub(crate) fn leader() -> Run {
    let layer = office();
    let mut campaign = Box::pin(layer.campaign(pending()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(campaign.as_mut().poll(&mut cx).is_pending(), "it is elected, and goes on");
    let mut service = fenced(layer);
    Run::succeeding(move |request| {
        let _campaign = &campaign;
        once(&mut service, request)
    })
}

/// Nobody stands for the office here.
pub(crate) fn leader_elsewhere() -> Run {
    let mut service = fenced(office());
    Run::refusing(move |request| once(&mut service, request))
}

fn office() -> LeaderLayer {
    LeaderLayer::new(Journal::new(MemoryStore::new()).ttl(Duration::MAX), "bare")
}

fn fenced(
    layer: LeaderLayer,
) -> impl Service<u64, Response = u64, Error = Failed, Future: 'static> + Clone + 'static {
    ServiceBuilder::new()
        .map_request(Led::new)
        .layer(layer)
        .map_request(Led::into_request)
        .service(Bare)
}

pub(crate) fn hedge() -> Run {
    Run::service(HedgeLayer::after(LONG).layer(Bare))
}

pub(crate) fn hedge_once() -> Run {
    Run::service(HedgeLayer::after(LONG).replay(Once).layer(Bare))
}

pub(crate) fn hedge_learned() -> Run {
    Run::service(HedgeLayer::learned().layer(Bare))
}

pub(crate) fn hedge_percentile() -> Run {
    Run::service(HedgeLayer::percentile(Quantile::P95, LONG).layer(Bare))
}

/// Three members, one of them optional.
pub(crate) fn degrade() -> Run {
    let layer = DegradeLayer::new().required("b", Bare).optional("c", Bare);
    Run::service(layer.layer(Bare))
}

/// The same step each time, which was done before.
pub(crate) fn checkpoint_replay() -> Run {
    let mut service = kept(Effects::ReadOnly);
    let order: Arc<str> = "order-17".into();
    Run::succeeding(move |_| step(&mut service, Step::new(order.clone(), CHARGE.clone(), 1)))
}

pub(crate) fn checkpoint_reading() -> Run {
    checkpoint(Effects::ReadOnly)
}

pub(crate) fn checkpoint_side_effect() -> Run {
    checkpoint(Effects::SideEffect(InDoubt::Retry))
}

/// Steps of workflows of a thousand steps.
fn checkpoint(effects: Effects) -> Run {
    let mut service = kept(effects);
    let (mut order, mut steps): (Arc<str>, u32) = ("order-17".into(), 0);
    Run::succeeding(move |request| {
        steps += 1;
        if steps % 1_000 == 0 {
            // Another store, or it would fill the memory.
            service = kept(effects);
            order = format!("order-{steps}").into();
        }
        let id = CHARGE.clone().occurrence(steps);
        step(&mut service, Step::new(order.clone(), id, request))
    })
}

static CHARGE: LazyLock<StepId> = LazyLock::new(|| StepId::new("charge"));

fn kept(
    effects: Effects,
) -> impl Service<Step<u64>, Response = u64, Error = Failed, Future: 'static> + 'static {
    let bare = ServiceBuilder::new().map_request(|step: Step<u64>| step.request).service(Bare);
    CheckpointLayer::new(MemoryStore::new(), effects).layer(bare)
}

fn step<S: Service<Step<u64>>>(service: &mut S, step: Step<u64>) -> Result<S::Response, S::Error> {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx)?.is_ready(), "it always is");
    finish(pin!(service.call(step)))
}

pub(crate) fn quorum() -> Run {
    Run::service(QuorumLayer::of(3).layer(Bare))
}

pub(crate) fn quorum_by_key() -> Run {
    Run::service(QuorumLayer::of(3).agree_by(|answer: &u64| *answer).layer(Bare))
}

pub(crate) fn quorum_lazy() -> Run {
    Run::service(QuorumLayer::of(3).lazy(LONG).layer(Bare))
}

pub(crate) fn failover_active() -> Run {
    Run::service(FailoverLayer::active_active().over(["a", "b", "c"].map(|name| (name, Bare))))
}

pub(crate) fn failover_passive() -> Run {
    Run::service(FailoverLayer::active_passive().standby("other", Bare).layer(Bare))
}

pub(crate) fn fallback() -> Run {
    Run::service(FallbackLayer::to(Bare).layer(Bare))
}

pub(crate) fn fallback_last_error() -> Run {
    Run::service(FallbackLayer::to(Bare).last_error().layer(Bare))
}

pub(crate) fn fallback_to_a_value() -> Run {
    Run::service(FallbackLayer::to_value(0).layer(Bare))
}

pub(crate) fn stack() -> Run {
    let stack = FallbackLayer::to(Bare).layer(RetryLayer::new().layer(hedged()));
    Run::service(stack)
}

pub(crate) fn stack_without_fallback() -> Run {
    Run::service(RetryLayer::new().layer(hedged()))
}

/// Time limit, retry, hedge, breaker, limit, time limit.
pub(crate) fn stack_preset() -> Run {
    Run::service(Stack::tool("bare").layer(Bare))
}

pub(crate) fn stack_without_retry() -> Run {
    Run::service(hedged())
}

/// What the stacks have in common.
fn hedged() -> impl Service<u64, Response = u64, Error = Failed, Future: 'static> + Clone + 'static
{
    ServiceBuilder::new()
        .layer(HedgeLayer::after(LONG))
        .layer(BreakerLayer::default())
        .layer(TimeoutLayer::new(LONG))
        .service(Bare)
}
