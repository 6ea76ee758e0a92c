//! Retry over HTTP: the buffer outside, the rule and the classifier inside.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress::{
    Backoff, RetryLayer,
    http::{BufferBodyLayer, ByStatus, Idempotent, ReplayBody},
};
use bytes::Bytes;
use http::{Method, Request, Response, header::RETRY_AFTER};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

use super::{Script, data};

const WAIT: Duration = Duration::from_millis(100);
const LIMIT: usize = 8;

fn status(code: u16) -> Response<()> {
    Response::builder().status(code).body(()).unwrap()
}

/// Sends a request to a server that gives these answers in turn; returns the status that the
/// caller sees and the bodies that the server saw.
async fn send<const N: usize>(
    request: Request<Script>,
    answers: [Response<()>; N],
) -> (u16, Vec<Bytes>) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let log = received.clone();
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let server = service_fn(move |request: Request<ReplayBody<Script>>| {
        let (answers, log) = (answers.clone(), log.clone());
        async move {
            let body = request.into_body().collect().await?.to_bytes();
            log.lock().unwrap().push(body);
            Ok::<_, BoxError>(answers.lock().unwrap().next().expect("no answer is left"))
        }
    });
    let client = ServiceBuilder::new()
        .layer(BufferBodyLayer::new(LIMIT))
        .layer(
            RetryLayer::new()
                .attempts(3)
                .backoff(Backoff::constant(WAIT))
                .classify(ByStatus)
                .replay(Idempotent),
        )
        .service(server);
    let response = client.oneshot(request).await.unwrap();
    let received = received.lock().unwrap().clone();
    (response.status().as_u16(), received)
}

fn request(method: Method, body: Script) -> Request<Script> {
    Request::builder().method(method).body(body).unwrap()
}

fn small() -> Script {
    Script::new([data("two "), data("pcs.")])
}

#[tokio::test(start_paused = true)]
async fn a_buffered_body_is_sent_again_in_full() {
    let put = request(Method::PUT, small());
    let (status, received) = send(put, [status(502), status(500), status(200)]).await;
    assert_eq!((status, received), (200, vec![Bytes::from_static(b"two pcs."); 3]));
}

#[tokio::test(start_paused = true)]
async fn a_larger_body_is_sent_once() {
    let put = request(Method::PUT, Script::new([data("too many"), data(" for one pail")]));
    let (status, received) = send(put, [status(502)]).await;
    assert_eq!((status, received), (502, vec![Bytes::from_static(b"too many for one pail")]));
}

#[tokio::test(start_paused = true)]
async fn what_may_have_had_an_effect_is_not_repeated() {
    let (code, received) = send(request(Method::POST, small()), [status(500)]).await;
    assert_eq!((code, received.len()), (500, 1));
    // Unless the server said that it had none, or knows repetitions by a key.
    let (code, received) = send(request(Method::POST, small()), [status(425), status(200)]).await;
    assert_eq!((code, received.len()), (200, 2));
    let mut keyed = request(Method::POST, small());
    keyed.headers_mut().insert("idempotency-key", "8e03".parse().unwrap());
    let (code, received) = send(keyed, [status(500), status(200)]).await;
    assert_eq!((code, received.len()), (200, 2));
}

#[tokio::test(start_paused = true)]
async fn the_server_says_when() {
    let start = Instant::now();
    let mut busy = status(503);
    busy.headers_mut().insert(RETRY_AFTER, "7".parse().unwrap());
    let (code, received) = send(request(Method::POST, small()), [busy, status(201)]).await;
    assert_eq!((code, received.len()), (201, 2));
    assert_eq!(start.elapsed(), Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_final_answer_is_returned_at_once() {
    for code in [400, 401, 402, 403, 404, 410, 413, 501] {
        let (seen, received) = send(request(Method::GET, small()), [status(code)]).await;
        assert_eq!((seen, received.len()), (code, 1));
    }
}
