//! A hyper client, protected: it talks to an unreliable server on a port of this machine.
//!
//! Prints how many requests succeed bare and protected. Real sockets and real time.

use std::{error::Error, time::Duration};

use buttress::{
    Backoff, BreakerLayer, CallError, HedgeLayer, RetryLayer, TimeoutLayer,
    http::{BufferBodyLayer, ByStatus, Idempotent},
};
use buttress_sim::{FailKind, Faults, Shares, Takes, Tool, http::Server};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{Service, ServiceBuilder, ServiceExt};

const CALLS: u32 = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // 20 % answer 503, 10 % take about 60 ms, the rest 2 ms.
    let faults = Faults::new(Shares::new(0.2, 0.1)?)
        .fail_kind(FailKind::Unavailable)
        .slow_takes(Takes::seconds(0.05, 0.07)?)
        .fast_takes(Takes::seconds(0.001, 0.003)?);
    let server = Server::on_loopback(Tool::new(faults, 7), 0).await?;
    let uri = format!("http://{}/call", server.addr()?);
    let serving = tokio::spawn(server.run_until(std::future::pending::<()>()));

    let request = || {
        Request::post(&uri)
            .header("content-type", "application/json")
            // The tool may be called twice with the same key: without it a POST is sent once.
            .header("idempotency-key", "weather-today")
            .body(Full::new(Bytes::from_static(br#"{"query":"the weather"}"#)))
    };

    let client = Client::builder(TokioExecutor::new()).build_http();
    println!("bare:      {:5.1} % succeed", success(client, request).await?);

    let client = Client::builder(TokioExecutor::new()).build_http();
    let protected = ServiceBuilder::new()
        .layer(BufferBodyLayer::new(64 * 1024))
        .layer(TimeoutLayer::new(Duration::from_secs(5)))
        .layer(
            RetryLayer::new()
                .backoff(Backoff::exponential(Duration::from_millis(5), Duration::from_millis(100)))
                .classify(ByStatus)
                .replay(Idempotent),
        )
        .layer(HedgeLayer::after(Duration::from_millis(10)).classify(ByStatus).replay(Idempotent))
        .layer(BreakerLayer::default().classify(ByStatus))
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .map_err(CallError::Service)
        .service(client);
    println!("protected: {:5.1} % succeed", success(protected, request).await?);
    serving.abort();
    Ok(())
}

async fn success<S, B>(
    mut service: S,
    request: impl Fn() -> Result<Request<Full<Bytes>>, http::Error>,
) -> Result<f64, Box<dyn Error>>
where
    S: Service<Request<Full<Bytes>>, Response = http::Response<B>, Error: Error + 'static>,
{
    let mut successes = 0;
    for _ in 0..CALLS {
        let outcome = service.ready().await?.call(request()?).await;
        successes += u32::from(outcome.is_ok_and(|response| response.status() == StatusCode::OK));
    }
    Ok(100.0 * f64::from(successes) / f64::from(CALLS))
}
