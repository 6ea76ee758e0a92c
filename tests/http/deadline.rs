//! A deadline that travels: what the other side sees.

use std::{future::pending, sync::Mutex, time::Duration};

use buttress::{
    Backoff, Deadline, Jitter, Rejection, RetryLayer, TimeoutLayer,
    http::{EndsAt, REQUEST_TIMEOUT_MS, ReceiveDeadlineLayer, SendDeadlineLayer},
};
use http::Request;
use tokio::time::{Instant, sleep};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

fn request(timeout: Option<&str>) -> Request<()> {
    let mut request = Request::new(());
    if let Some(timeout) = timeout {
        request.headers_mut().insert(REQUEST_TIMEOUT_MS, timeout.parse().unwrap());
    }
    request
}

#[tokio::test(start_paused = true)]
async fn each_attempt_tells_what_is_left_for_it() {
    let start = Instant::now();
    let seen = Mutex::new(vec![]);
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(10 * SECOND))
        .layer(RetryLayer::new().backoff(Backoff::constant(2 * SECOND).jitter(Jitter::None)))
        .layer(SendDeadlineLayer)
        .service(service_fn(async |request: Request<()>| {
            assert_eq!(request.extensions().get(), Some(&EndsAt(start + 10 * SECOND)));
            seen.lock().unwrap().push(request.headers()[REQUEST_TIMEOUT_MS].clone());
            Err::<(), BoxError>(Rejection::timeout(SECOND).into())
        }));
    assert!(service.oneshot(request(None)).await.is_err());
    assert_eq!(*seen.lock().unwrap(), ["10000", "8000", "6000"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_nothing_is_told() {
    let service = ServiceBuilder::new().layer(SendDeadlineLayer).service(service_fn(
        async |request: Request<()>| Ok::<_, BoxError>(request.headers().is_empty()),
    ));
    assert!(service.oneshot(request(None)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_sender_may_shorten_the_time_and_never_lengthen_it() {
    for (told, after) in [
        (None, 5 * SECOND),
        (Some("2000"), 2 * SECOND),
        (Some("9000"), 5 * SECOND),
        (Some("0"), Duration::ZERO),
        (Some("nonsense"), 5 * SECOND),
    ] {
        let start = Instant::now();
        let service = ServiceBuilder::new()
            .layer(ReceiveDeadlineLayer::new(5 * SECOND))
            .service(service_fn(async |_: Request<()>| pending::<Result<(), BoxError>>().await));
        let error = service.oneshot(request(told)).await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Rejection::Timeout { after }), "{told:?}");
        // Timers tick in milliseconds.
        assert!(start.elapsed() - after <= Duration::from_millis(1), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shortened_call_leaves_the_next_its_time() {
    let mut service = ServiceBuilder::new().layer(ReceiveDeadlineLayer::new(5 * SECOND)).service(
        service_fn(async |_: Request<()>| {
            let left = Deadline::remaining();
            sleep(SECOND).await;
            Ok::<_, BoxError>(left)
        }),
    );
    for (told, left) in [(Some("2000"), 2 * SECOND), (None, 5 * SECOND)] {
        let ready = service.ready().await.unwrap();
        assert_eq!(tower::Service::call(ready, request(told)).await.unwrap(), Some(left));
    }
}
