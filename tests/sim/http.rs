//! The server over real sockets, in real time: nothing here sleeps.

use std::{io, net::SocketAddr, time::Duration};

use buttress_sim::{Calls, FailKind, Fate, Faults, Rule, Takes, Tool, When, http::Server};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

struct Running {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Running {
    async fn start(faults: Faults) -> Self {
        let server = Server::on_loopback(Tool::new(faults, 7), 0).await.unwrap();
        let server = server.grace(Duration::ZERO);
        let addr = server.addr().unwrap();
        assert!(addr.ip().is_loopback());
        let (stop, stopped) = oneshot::channel();
        Self { addr, stop, server: tokio::spawn(server.run_until(stopped)) }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.server.await.unwrap();
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends a request and reads until the server closes the connection.
    async fn send(&self, line: &str, body: &str) -> Wire {
        let mut stream = self.connect().await;
        stream.write_all(&request(line, body)).await.unwrap();
        Wire::read(stream).await
    }

    async fn call(&self) -> Wire {
        self.send("POST /call", r#"{"query": "user profile"}"#).await
    }

    async fn stats(&self) -> Value {
        self.send("GET /stats", "").await.json()
    }
}

fn request(line: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nhost: tool\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What came over the wire until the connection was closed.
struct Wire(String);

impl Wire {
    async fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes).await {
            Ok(_) => {}
            // A server that closes without having read everything resets.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error}"),
        }
        Self(String::from_utf8(bytes).unwrap())
    }

    fn status(&self) -> u16 {
        self.0[9..12].parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let (head, _) = self.0.split_once("\r\n\r\n")?;
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").unwrap().1
    }

    fn json(&self) -> Value {
        serde_json::from_str(self.body()).unwrap()
    }
}

fn always(fate: Fate<Takes>) -> Faults {
    Faults::none().rule(Rule::new(When::Always, fate))
}

fn fail(kind: FailKind) -> Fate<Takes> {
    Fate::Fail { kind, after: Takes::NOTHING }
}

#[tokio::test]
async fn answers_with_instance_and_text() {
    let server = Running::start(Faults::none()).await;
    let answer = server.call().await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let json = answer.json();
    let expected =
        format!("Data for 'user profile' successfully retrieved by instance {}.", json["instance"]);
    assert_eq!(json["text"], expected);
    assert_eq!(server.send("GET /health", "").await.json()["status"], "ok");
    let stats = server.stats().await;
    assert_eq!((&stats["launched"], &stats["answered"]), (&1.into(), &1.into()));
    assert_eq!((&stats["in_flight"], &stats["busy_s"]), (&0.into(), &0.0.into()));
    server.stop().await;
}

#[tokio::test]
async fn a_connection_serves_many_calls() {
    let server = Running::start(Faults::none()).await;
    let mut stream = server.connect().await;
    let body = r#"{"query": "q"}"#;
    for _ in 0..3 {
        let head =
            format!("POST /call HTTP/1.1\r\nhost: tool\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
        }
    }
    // One that is idle does not keep the server from stopping.
    server.stop().await;
    assert_eq!(Wire::read(stream).await.0, "");
}

#[tokio::test]
async fn failures_have_their_status() {
    for (kind, status) in [
        (FailKind::Reset, 502),
        (FailKind::Timeout, 504),
        (FailKind::Unavailable, 503),
        (FailKind::BadRequest, 400),
        (FailKind::Quota, 402),
        (FailKind::Mystery, 500),
    ] {
        let server = Running::start(always(fail(kind))).await;
        let answer = server.call().await;
        assert_eq!(answer.status(), status, "{kind:?}");
        assert_eq!(answer.json()["error"], kind.to_string());
        assert_eq!(server.stats().await["failed"][kind.as_str()], 1);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_throttled_call_says_when_to_come_back() {
    for (wait, seconds, millis) in [
        (Some(Duration::from_millis(1_500)), Some("2"), Some("1500")),
        (Some(Duration::ZERO), Some("0"), Some("0")),
        (None, None, None),
    ] {
        let throttle = Fate::Throttle { retry_after: wait, after: Takes::NOTHING };
        let server = Running::start(always(throttle)).await;
        let answer = server.call().await;
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.header("retry-after"), seconds);
        assert_eq!(answer.header("retry-after-ms"), millis);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_failed_connection_gives_no_answer() {
    let server = Running::start(always(fail(FailKind::Connect))).await;
    assert_eq!(server.call().await.0, "");
    assert_eq!(server.stats().await["failed"]["connect"], 1);
    server.stop().await;
}

#[tokio::test]
async fn a_crashed_tool_answers_again_after_a_restart() {
    let first = When::Calls(Calls::between(1, 1).unwrap());
    let crash = Rule::new(first, Fate::Crash { restart_after: None });
    let server = Running::start(Faults::none().rule(crash)).await;
    assert_eq!(server.call().await.0, "");
    assert_eq!(server.call().await.0, "");
    assert_eq!(server.send("POST /restart", "").await.status(), 204);
    assert_eq!(server.call().await.status(), 200);
    assert_eq!(server.stats().await["crashed"], 2);
    server.stop().await;
}

#[tokio::test]
async fn a_dropped_answer_breaks_off_in_the_body() {
    let server = Running::start(always(Fate::DropMidAnswer { after: Takes::NOTHING })).await;
    let answer = server.call().await;
    assert_eq!(answer.status(), 200);
    let promised: usize = answer.header("content-length").unwrap().parse().unwrap();
    assert!(answer.body().starts_with(r#"{"instance":"#));
    assert_eq!(answer.body().len(), promised / 2);
    server.stop().await;
}

#[tokio::test]
async fn a_corrupt_answer_looks_like_any_other() {
    let server = Running::start(Faults::none()).await;
    let right = server.call().await;
    server.stop().await;
    let server = Running::start(always(Fate::Corrupt { takes: Takes::NOTHING })).await;
    let wrong = server.call().await;
    server.stop().await;
    assert_eq!(wrong.status(), 200);
    assert_eq!(wrong.json()["instance"], right.json()["instance"]);
    assert_ne!(wrong.json()["text"], right.json()["text"]);
    let names = |wire: &Wire| {
        let (head, _) = wire.0.split_once("\r\n\r\n").unwrap();
        head.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&wrong), names(&right));
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_call() {
    let server = Running::start(always(Fate::Hang)).await;
    let mut stream = server.connect().await;
    stream.write_all(&request("POST /call", r#"{"query": "q"}"#)).await.unwrap();
    while server.stats().await["in_flight"] != 1 {}
    drop(stream);
    while server.stats().await["cancelled"] != 1 {}
    server.stop().await;
}

#[tokio::test]
async fn what_hangs_does_not_keep_the_server_from_stopping() {
    let server = Running::start(always(Fate::Hang)).await;
    let mut stream = server.connect().await;
    stream.write_all(&request("POST /call", r#"{"query": "q"}"#)).await.unwrap();
    while server.stats().await["in_flight"] != 1 {}
    let addr = server.addr;
    server.stop().await;
    assert_eq!(Wire::read(stream).await.0, "");
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn what_is_no_question_is_no_call() {
    let server = Running::start(Faults::none()).await;
    for bad in ["", "{", r#"{"query": 7}"#, r#"{"question": "q"}"#] {
        let answer = server.send("POST /call", bad).await;
        assert_eq!(answer.status(), 400, "{bad}");
        assert!(answer.json()["error"].as_str().unwrap().starts_with("not a question"));
    }
    let large = format!(r#"{{"query": "{}"}}"#, "q".repeat(65 * 1024));
    assert_eq!(server.send("POST /call", &large).await.status(), 413);
    let fits = format!(r#"{{"query": "{}"}}"#, "q".repeat(63 * 1024));
    assert_eq!(server.send("POST /call", &fits).await.status(), 200);
    assert_eq!(server.send("GET /call", "").await.status(), 405);
    assert_eq!(server.send("GET /", "").await.status(), 404);
    assert_eq!(server.stats().await["launched"], 1);
    server.stop().await;
}
