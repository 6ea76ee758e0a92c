//! Budget: what layers that share one see, over long times.

use std::time::Duration;

use buttress::{Budget, HedgeLayer, RetryLayer, Verdict};
use buttress_sim::probe::{Act, ProbeRequest, ProbeService};
use tokio::time::advance;
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::support::poll_once;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

fn empty(budget: &Budget) {
    while let Some(token) = budget.withdraw() {
        token.spend();
    }
}

#[tokio::test(start_paused = true)]
async fn the_trickle_goes_on_after_weeks_of_calm() {
    for days in [1, 24, 25, 30, 49, 50, 75, 100] {
        let budget = Budget::default();
        // The first withdrawal starts the clock.
        drop(budget.withdraw());
        advance(days * DAY).await;
        empty(&budget);
        advance(10 * SECOND).await;
        assert!(budget.withdraw().is_some(), "nothing was earned after {days} days of calm");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_trickle_is_as_slow_as_told_and_no_slower() {
    for seconds in [1, 60, 700, 900, 1_500, 3_600, 86_400] {
        let interval = seconds * SECOND;
        let budget = Budget::default().cap(1).one_every(interval);
        empty(&budget);
        advance(interval.mul_f64(0.95)).await;
        assert!(budget.withdraw().is_none(), "one every {seconds} s came early");
        advance(interval.mul_f64(0.1)).await;
        assert!(budget.withdraw().is_some(), "one every {seconds} s never came");
    }
}

#[tokio::test(start_paused = true)]
async fn one_success_feeds_a_shared_budget_once() {
    let budget = Budget::default().one_every(Duration::MAX);
    empty(&budget);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new().budget(budget.clone()))
        .layer(HedgeLayer::after(SECOND).budget(budget.clone()))
        .service(ProbeService::new(1));
    service.oneshot(ProbeRequest::new(1)).await.unwrap();
    assert_eq!(budget.balance(), 0.1);
}

#[tokio::test(start_paused = true)]
async fn only_what_was_sent_is_paid_for_whenever_a_call_is_dropped() {
    for polls in 0..8 {
        let budget = Budget::default().cap(5).one_every(Duration::MAX);
        let probe = ProbeService::new(2);
        let handle = probe.handle();
        handle.otherwise(Act::Hang);
        let mut service = ServiceBuilder::new()
            .layer(RetryLayer::new().budget(budget.clone()))
            .layer(HedgeLayer::after(SECOND).attempts(4).budget(budget.clone()))
            .service(probe);
        let mut call = Box::pin(service.ready().await.unwrap().call(ProbeRequest::new(1)));
        for _ in 0..polls {
            assert!(poll_once(call.as_mut()).await.is_pending());
            advance(SECOND).await;
        }
        drop(call);
        let paid = handle.counts().calls - 1;
        assert_eq!(budget.balance(), 5.0 - paid as f64, "after {polls} polls");
        drop(service);
        handle.assert_gone();
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_pays_for_what_was_sent() {
    let probe = ProbeService::new(2);
    let handle = probe.handle();
    handle.script([Act::fail(Verdict::transient()), Act::Panic]);
    let budget = Budget::default().one_every(Duration::MAX);
    let layer = HedgeLayer::after(SECOND).budget(budget.clone());
    let service = ServiceBuilder::new().layer(layer).service(probe);
    let outcome = tokio::spawn(service.oneshot(ProbeRequest::new(1))).await;
    assert!(outcome.unwrap_err().is_panic());
    handle.assert_gone();
    assert_eq!(budget.balance(), 9.0);
}

#[tokio::test(start_paused = true)]
async fn one_success_feeds_a_shared_budget_once_also_around_another_budget() {
    let budget = Budget::default().one_every(Duration::MAX);
    empty(&budget);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new().budget(budget.clone()))
        .layer(HedgeLayer::after(SECOND).budget(Budget::default()))
        .layer(RetryLayer::new().budget(budget.clone()))
        .service(ProbeService::new(1));
    service.oneshot(ProbeRequest::new(1)).await.unwrap();
    assert_eq!(budget.balance(), 0.1);
}
