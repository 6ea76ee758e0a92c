//! What the errors of real clients mean, over real sockets.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress::{
    Backoff, Effect, Fault, Kind, Rejection, RetryLayer, Verdict,
    http::{BufferBodyLayer, ByStatus, Idempotent},
};
use bytes::Bytes;
use http::{Method, Request, Response, Uri, Version};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error as ClientError},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

use super::{Script, data};

/// An address where nobody listens.
async fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Reads requests of four bytes, whole, and answers each on its own connection with the next of
/// these, then closes. Counts the requests.
async fn server<const N: usize>(answers: [&'static str; N]) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicU32::new(0));
    let counter = requests.clone();
    tokio::spawn(async move {
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let request = read_request(&mut socket).await;
            assert!(request.ends_with(b"body"));
            counter.fetch_add(1, Ordering::Relaxed);
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, requests)
}

async fn read_request(socket: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let head = request.windows(4).position(|window| window == b"\r\n\r\n");
        if head.is_some_and(|head| request.len() == head + 4 + 4) {
            return request;
        }
        assert_ne!(socket.read_buf(&mut request).await.unwrap(), 0, "closed early");
    }
}

fn request(method: Method, address: SocketAddr) -> Request<Full<Bytes>> {
    let uri = format!("http://{address}/");
    Request::builder().method(method).uri(uri).body(Full::from("body")).unwrap()
}

async fn by_hyper<B>(request: Request<B>) -> Result<Response<Incoming>, ClientError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    Client::builder(TokioExecutor::new()).build_http().request(request).await
}

/// The verdict of the error itself, which a box must not change.
fn judge<E: Fault + Into<BoxError>>(error: E) -> (Kind, Effect) {
    let verdict = error.verdict();
    let boxed: BoxError = error.into();
    assert_eq!(Verdict::of_chain(&*boxed), verdict);
    (verdict.kind, verdict.effect)
}

const UNSENT: (Kind, Effect) = (Kind::Transient, Effect::None);
const BROKEN: (Kind, Effect) = (Kind::Transient, Effect::Maybe);

#[tokio::test]
async fn hyper_nobody_listens() {
    let error = by_hyper(request(Method::POST, closed().await)).await.unwrap_err();
    assert!(error.is_connect());
    assert_eq!(judge(error), UNSENT);
}

#[tokio::test]
async fn hyper_closed_after_the_request_was_read() {
    let (address, requests) = server([""]).await;
    let error = by_hyper(request(Method::POST, address)).await.unwrap_err();
    assert_eq!(judge(error), BROKEN);
    assert_eq!(requests.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn hyper_reset_after_the_request_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        // Closing while bytes are unread resets the connection.
        socket.read_exact(&mut [0]).await.unwrap();
    });
    let error = by_hyper(request(Method::POST, address)).await.unwrap_err();
    assert_eq!(judge(error), BROKEN);
}

#[tokio::test]
async fn hyper_answered_with_nonsense() {
    let (address, _) = server(["HTTP/1.1 Nonsense\r\n\r\n"]).await;
    let error = by_hyper(request(Method::POST, address)).await.unwrap_err();
    assert_eq!(judge(error), BROKEN);
}

#[tokio::test]
async fn hyper_closed_in_the_midst_of_the_answer() {
    let (address, _) = server(["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"]).await;
    let response = by_hyper(request(Method::POST, address)).await.unwrap();
    assert_eq!(judge(response.into_body().collect().await.unwrap_err()), BROKEN);
}

#[tokio::test]
async fn hyper_does_not_take_the_request() {
    let relative = Request::get("/relative").body(Empty::<Bytes>::new()).unwrap();
    let error = by_hyper(relative).await.unwrap_err();
    assert_eq!(judge(error), (Kind::Permanent, Effect::None));
    let mut ancient = request(Method::GET, closed().await);
    *ancient.version_mut() = Version::HTTP_09;
    let error = by_hyper(ancient).await.unwrap_err();
    assert_eq!(judge(error), (Kind::Permanent, Effect::None));
}

#[tokio::test]
async fn hyper_the_callers_body_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let broken = || Script::new([data("four"), Err("broken")]);
    let error = by_hyper(Request::post(&uri).body(broken()).unwrap()).await.unwrap_err();
    assert_eq!(judge(error), (Kind::Permanent, Effect::Maybe));
    // The buffer keeps the failure in its place, so that the client tells the same.
    let client = ServiceBuilder::new()
        .layer(BufferBodyLayer::new(64))
        .service(Client::builder(TokioExecutor::new()).build_http());
    let error = client.oneshot(Request::post(&uri).body(broken()).unwrap()).await.unwrap_err();
    assert_eq!(judge(error), (Kind::Permanent, Effect::Maybe));
}

#[tokio::test]
async fn hyper_the_connection_ended_before_the_request() {
    let (near, far) = tokio::io::duplex(64);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
    drop((connection, far));
    assert_eq!(judge(sender.ready().await.unwrap_err()), UNSENT);
    let error = sender.send_request(Request::new(Full::<Bytes>::from("body"))).await.unwrap_err();
    assert!(error.is_canceled());
    assert_eq!(judge(error), UNSENT);
}

#[tokio::test]
async fn hyper_a_host_that_is_lost_in_the_midst_of_a_call() {
    /// Takes what is written; then the network is gone.
    struct Lost {
        written: bool,
    }
    impl AsyncWrite for Lost {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.written = true;
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    impl AsyncRead for Lost {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.written {
                return Poll::Ready(Err(io::ErrorKind::NetworkUnreachable.into()));
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
    let lost = TokioIo::new(Lost { written: false });
    let (mut sender, connection) = hyper::client::conn::http1::handshake(lost).await.unwrap();
    tokio::spawn(connection);
    let error = sender.send_request(Request::new(Full::<Bytes>::from("body"))).await.unwrap_err();
    // By itself this I/O error would mean that nothing was sent.
    let io: io::Error = io::ErrorKind::NetworkUnreachable.into();
    assert_eq!(judge(io), UNSENT);
    assert_eq!(judge(error), BROKEN);
}

#[tokio::test]
async fn hyper_a_connector_that_refuses_is_heard() {
    let wait = Duration::from_secs(9);
    let connector = service_fn(move |_: Uri| {
        std::future::ready(Err::<TokioIo<TcpStream>, _>(Rejection::open("network", Some(wait))))
    });
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let error = client.request(request(Method::POST, closed().await)).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::rejected().with_retry_after(wait));
}

/// Sends with retries of everything that may be repeated; returns the kind of the outcome.
async fn with_retries(request: Request<Full<Bytes>>) -> Result<u16, Kind> {
    let client = ServiceBuilder::new()
        .layer(BufferBodyLayer::new(64))
        .layer(
            RetryLayer::new()
                .attempts(3)
                .backoff(Backoff::none())
                .classify(ByStatus)
                .replay(Idempotent),
        )
        .service(Client::builder(TokioExecutor::new()).build_http());
    match client.oneshot(request).await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) => Err(error.verdict().kind),
    }
}

#[tokio::test]
async fn hyper_a_broken_connection_is_retried_only_where_that_is_safe() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (address, requests) = server(["", ANSWER]).await;
    // In a task of its own, since the futures are `Send`.
    let put = tokio::spawn(with_retries(request(Method::PUT, address)));
    assert_eq!(put.await.unwrap(), Ok(200));
    assert_eq!(requests.load(Ordering::Relaxed), 2);

    let (address, requests) = server(["", ANSWER]).await;
    assert_eq!(with_retries(request(Method::POST, address)).await, Err(Kind::Transient));
    assert_eq!(requests.load(Ordering::Relaxed), 1);
}

fn reqwest() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn by_reqwest(address: SocketAddr) -> Result<reqwest::Response, reqwest::Error> {
    reqwest().post(format!("http://{address}/")).body("body").send().await
}

#[tokio::test]
async fn reqwest_nobody_listens() {
    assert_eq!(judge(by_reqwest(closed().await).await.unwrap_err()), UNSENT);
}

#[tokio::test]
async fn reqwest_closed_after_the_request_was_read() {
    let (address, _) = server([""]).await;
    assert_eq!(judge(by_reqwest(address).await.unwrap_err()), BROKEN);
}

#[tokio::test]
async fn reqwest_closed_in_the_midst_of_the_answer() {
    let (address, _) = server(["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"]).await;
    let error = by_reqwest(address).await.unwrap().bytes().await.unwrap_err();
    assert_eq!(judge(error), BROKEN);
}

#[tokio::test]
async fn reqwest_no_answer_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let post = reqwest().post(uri).timeout(Duration::from_millis(20)).send();
    let error = post.await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(judge(error), BROKEN);
}

#[tokio::test]
async fn reqwest_a_request_that_cannot_be_built() {
    let error = reqwest().get("not a url").build().unwrap_err();
    assert_eq!(judge(error), (Kind::Permanent, Effect::None));
}

#[tokio::test]
async fn reqwest_redirected_in_circles() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            read_request(&mut socket).await;
            let answer = "HTTP/1.1 307 Again\r\nlocation: /\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let error = by_reqwest(address).await.unwrap_err();
    assert!(error.is_redirect());
    assert_eq!(judge(error), (Kind::Permanent, Effect::Maybe));
}

#[tokio::test]
async fn reqwest_a_status_made_an_error() {
    for (answer, expected) in [
        ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", BROKEN),
        ("HTTP/1.1 429 Slow Down\r\ncontent-length: 0\r\n\r\n", (Kind::Throttled, Effect::None)),
        ("HTTP/1.1 404 Gone\r\ncontent-length: 0\r\n\r\n", (Kind::Permanent, Effect::Maybe)),
    ] {
        let (address, _) = server([answer]).await;
        let response = by_reqwest(address).await.unwrap();
        assert_eq!(judge(response.error_for_status().unwrap_err()), expected, "{answer}");
    }
}
