//! Steps that are HTTP requests.

use ::http::{Request, Response, StatusCode};
use buttress::{
    checkpoint::{AtHand, Http},
    http::{BufferBodyLayer, ByStatus, ReplayBody},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Channel, Full};
use tower::ServiceBuilder;

use super::*;

fn post(body: &'static str) -> Request<Full<Bytes>> {
    let mut request = Request::post("https://bank.example/charges").body(Full::from(body)).unwrap();
    request.extensions_mut().insert(StepOf::new("order-17", "charge"));
    request
}

/// Answers with what it was sent, and the key.
async fn bank(
    request: Request<ReplayBody<Full<Bytes>>>,
) -> Result<Response<Full<Bytes>>, BoxError> {
    let key = request.headers()["idempotency-key"].clone();
    assert_eq!(request.extensions().get::<IdempotencyKey>().unwrap().to_string(), key);
    let body = request.into_body().collect().await?.to_bytes();
    let status =
        if body.starts_with(b"bad") { StatusCode::BAD_REQUEST } else { StatusCode::CREATED };
    Ok(Response::builder().status(status).header("echo", key).body(Full::new(body))?)
}

#[tokio::test(start_paused = true)]
async fn a_request_is_done_once_and_its_response_kept() {
    let store = MemoryStore::new();
    let mut answers = vec![];
    for process in 0..2 {
        let down = process == 1;
        let service = ServiceBuilder::new()
            .layer(BufferBodyLayer::new(64))
            .layer(CheckpointLayer::new(store.clone(), FAIL).codec(Http).classify(ByStatus))
            .service(service_fn(move |request| {
                assert!(!down, "it is called once");
                bank(request)
            }));
        let (parts, body) = service.oneshot(post("cents=5")).await.unwrap().into_parts();
        assert_eq!(
            (parts.status, body.at_hand().unwrap()),
            (StatusCode::CREATED, "cents=5".into())
        );
        answers.push(parts.headers);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0]["echo"].len(), 64);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_a_failure_is_recorded_if_asked() {
    for (asked, kept) in
        [(false, vec![Status::Intent]), (true, vec![Status::Intent, Status::Failed])]
    {
        let store = MemoryStore::new();
        let layer = CheckpointLayer::new(store.clone(), FAIL).codec(Http).classify(ByStatus);
        let service = ServiceBuilder::new().layer(BufferBodyLayer::new(64));
        let bank = service_fn(bank);
        let response = match asked {
            false => service.layer(layer).service(bank).oneshot(post("bad")).await,
            true => service.layer(layer.record_failures()).service(bank).oneshot(post("bad")).await,
        };
        assert_eq!(response.unwrap().status(), StatusCode::BAD_REQUEST);
        assert_eq!(statuses(&store).await, kept);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_no_step_or_not_at_hand_is_told_what_to_do() {
    let never = service_fn(async |_: Request<_>| -> Result<Response<Full<Bytes>>, BoxError> {
        panic!("called")
    });
    let service = ServiceBuilder::new()
        .layer(BufferBodyLayer::new(4))
        .layer(CheckpointLayer::new(MemoryStore::new(), FAIL).codec(Http).classify(ByStatus))
        .service(never);
    let stray = Request::post("/charges").body(Full::from("x")).unwrap();
    let error = service.clone().oneshot(stray).await.unwrap_err().to_string();
    assert!(error.contains("put a `buttress::checkpoint::StepOf` into its extensions"), "{error}");
    let error = service.oneshot(post("longer than four")).await.unwrap_err().to_string();
    assert!(error.contains("`buttress::http::BufferBodyLayer` with a sufficient limit"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_body_is_looked_at_and_not_taken() {
    let (mut sender, body) = Channel::<Bytes>::new(1);
    sender.send_data(Bytes::from_static(b"all")).await.unwrap();
    drop(sender);
    let look = service_fn(async |request: Request<ReplayBody<Channel<Bytes>>>| {
        let body = request.into_body();
        assert_eq!(body.at_hand(), body.at_hand());
        let seen = body.at_hand();
        let mut body = body;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().ok(), seen);
        assert_eq!(body.at_hand(), None, "it has been begun");
        Ok::<_, BoxError>(Response::new(()))
    });
    let service = ServiceBuilder::new().layer(BufferBodyLayer::new(8)).service(look);
    service.oneshot(Request::post("/").body(body).unwrap()).await.unwrap();
}
