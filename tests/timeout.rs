//! TimeoutLayer: what a caller sees.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::support::poll_once;
use buttress::{Deadline, Rejection, TimeoutLayer};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

const LIMIT: Duration = Duration::from_secs(3);

fn rejection(error: &BoxError) -> Option<&Rejection> {
    error.downcast_ref()
}

#[tokio::test(start_paused = true)]
async fn answers_within_the_limit_pass() {
    let service = ServiceBuilder::new().layer(TimeoutLayer::new(LIMIT)).service(service_fn(
        async |n: u32| {
            sleep(LIMIT - Duration::from_millis(1)).await;
            Ok::<_, BoxError>(n)
        },
    ));
    assert_eq!(service.oneshot(7).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn refuses_at_the_limit() {
    let start = Instant::now();
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(LIMIT))
        .service(service_fn(async |_: u32| pending::<Result<u32, BoxError>>().await));
    let error = service.oneshot(7).await.unwrap_err();
    assert_eq!(rejection(&error), Some(&Rejection::Timeout { after: LIMIT }));
    assert_eq!(start.elapsed(), LIMIT);
}

#[tokio::test(start_paused = true)]
async fn what_ran_is_dropped_before_the_refusal_returns() {
    struct Running(Arc<AtomicU32>);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let running = Arc::new(AtomicU32::new(0));
    let counter = running.clone();
    let mut service =
        ServiceBuilder::new().layer(TimeoutLayer::new(LIMIT)).service(service_fn(move |(): ()| {
            counter.fetch_add(1, Ordering::Relaxed);
            let running = Running(counter.clone());
            async move {
                let _running = running;
                pending::<Result<(), BoxError>>().await
            }
        }));
    let mut call = Box::pin(service.ready().await.unwrap().call(()));
    assert!(call.as_mut().await.is_err());
    // The future itself is still there: only what it held is gone.
    assert_eq!(running.load(Ordering::Relaxed), 0);
    drop(call);
}

#[tokio::test(start_paused = true)]
async fn a_tie_goes_to_the_answer() {
    let service = ServiceBuilder::new().layer(TimeoutLayer::new(LIMIT)).service(service_fn(
        async |n: u32| {
            sleep(LIMIT).await;
            Ok::<_, BoxError>(n)
        },
    ));
    assert_eq!(service.oneshot(7).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn the_limit_may_cover_readiness() {
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(LIMIT).and_readiness())
        .concurrency_limit(1)
        .service(service_fn(async |_: u32| pending::<Result<u32, BoxError>>().await));
    let (mut first, mut second) = (service.clone(), service);
    let running = first.ready().await.unwrap().call(1);
    tokio::pin!(running);
    assert!(poll_once(running.as_mut()).await.is_pending());
    let error = second.ready().await.unwrap().call(2).await.unwrap_err();
    assert_eq!(rejection(&error), Some(&Rejection::Unready { after: LIMIT }));
}

#[tokio::test(start_paused = true)]
async fn services_inside_see_the_nearest_deadline() {
    let start = Instant::now();
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(LIMIT))
        .layer(TimeoutLayer::new(2 * LIMIT))
        .service(service_fn(async |(): ()| {
            let first = Deadline::current();
            sleep(Duration::from_secs(1)).await;
            Ok::<_, BoxError>((first, Deadline::current()))
        }));
    let (first, later) = service.oneshot(()).await.unwrap();
    assert_eq!((first, later), (Some(start + LIMIT), Some(start + LIMIT)));
    assert_eq!(Deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn limits_of_nothing_and_without_end_hold() {
    for limit in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        for after in [Duration::ZERO, LIMIT] {
            let service = ServiceBuilder::new()
                .layer(TimeoutLayer::new(limit))
                .layer(TimeoutLayer::new(limit).and_readiness())
                .service(service_fn(async |n: u32| {
                    if !after.is_zero() {
                        sleep(after).await;
                    }
                    Ok::<_, BoxError>(n)
                }));
            let answered = service.oneshot(7).await.is_ok();
            assert_eq!(answered, after.is_zero() || limit == Duration::MAX, "{limit:?}, {after:?}");
        }
    }
}
