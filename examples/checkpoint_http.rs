//! A charge over HTTP, in processes that are killed: the bank is charged once, and the answer is in a file.
//!
//! The program is the bank, and starts itself three times to charge one order. The first process is killed while
//! it waits for the answer. The second asks again under the same `Idempotency-Key`, and the third finds
//! the bank away. Prints what each was answered. Real processes, sockets and time, and a file.

use std::{
    collections::HashSet,
    env, fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, http::HeaderMap, routing::post};
use buttress::{
    CheckpointLayer, RetryLayer,
    checkpoint::{Effects, Http, InDoubt, StepOf},
    http::{ByStatus, Idempotent},
    store::Journal,
};
use buttress_store::RedbStore;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    time::sleep,
};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

/// One of the processes: knows the file, the bank and the name of the order.
async fn charge(file: &Path, uri: &str) -> Result<(), BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    // What is recorded must be all there: the body is collected inside of the checkpoint.
    let bank = service_fn(move |request| {
        let answer = client.request(request);
        async move {
            let (parts, body) = answer.await?.into_parts();
            Ok::<_, BoxError>(Response::from_parts(parts, body.collect().await?.to_bytes()))
        }
    });
    let journal = Journal::new(RedbStore::open(file)?).namespace("shop");
    let bank = ServiceBuilder::new()
        .layer(
            CheckpointLayer::new(journal, Effects::SideEffect(InDoubt::Retry))
                .codec(Http)
                .classify(ByStatus), // 5xx is no answer to keep
        )
        // With the key in its header even a POST may be repeated.
        .layer(RetryLayer::new().classify(ByStatus).replay(Idempotent))
        .service(bank);

    let mut request = Request::post(uri).body(Full::new(Bytes::from("1200 cents")))?;
    request.extensions_mut().insert(StepOf::new("order-17", "charge"));
    let answer = bank.oneshot(request).await?;
    println!("  {}: {}", answer.status(), String::from_utf8_lossy(answer.body()));
    Ok(())
}

/// What the bank wrote down: every key that it was asked under, and how often it was asked.
type Books = Arc<Mutex<(HashSet<String>, u32)>>;

async fn bank(books: Books) -> Result<(String, tokio::task::JoinHandle<()>), BoxError> {
    let handler = async move |headers: HeaderMap, cents: String| {
        let Some(key) = headers.get("idempotency-key").and_then(|key| key.to_str().ok()) else {
            return (StatusCode::BAD_REQUEST, "a charge needs a key".to_owned());
        };
        {
            let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
            books.1 += 1;
            books.0.insert(key.to_owned());
        }
        sleep(Duration::from_millis(500)).await;
        (StatusCode::CREATED, format!("{cents}, once, under {key:.8}.."))
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let uri = format!("http://{}/charges", listener.local_addr()?);
    let router: Router = Router::new().route("/charges", post(handler));
    let serving = async move { axum::serve(listener, router).await.unwrap_or_default() };
    Ok((uri, tokio::spawn(serving)))
}

async fn watch(file: &Path) -> Result<(), BoxError> {
    let books = Books::default();
    let (uri, serving) = bank(books.clone()).await?;
    let program = env::current_exe()?;
    let start = || -> std::io::Result<Child> {
        Command::new(&program).arg(file).arg(&uri).kill_on_drop(true).spawn()
    };

    println!("the first process:");
    let mut first = start()?;
    while books.lock().unwrap_or_else(PoisonError::into_inner).1 == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    first.kill().await?;
    println!("  is killed while it waits for the answer");
    println!("the second process:");
    start()?.wait().await?;
    serving.abort();
    println!("the third process, with the bank away:");
    start()?.wait().await?;

    let books = books.lock().unwrap_or_else(PoisonError::into_inner);
    println!("the bank was asked {} times, under {} key", books.1, books.0.len());
    if books.0.len() == 1 { Ok(()) } else { Err("that is not one charge".into()) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    match env::args().collect::<Vec<_>>().as_slice() {
        [_, file, uri] => charge(Path::new(file), uri).await,
        _ => {
            let directory: PathBuf = env::temp_dir().join(format!("checkpoint-{}", process::id()));
            fs::create_dir(&directory)?;
            let outcome = watch(&directory.join("shop.redb")).await;
            fs::remove_dir_all(&directory)?;
            outcome
        }
    }
}
