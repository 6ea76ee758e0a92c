//! A reqwest client, protected. Its requests and responses are not those of `http`, so the
//! replay rule and the classifier are closures.
//!
//! Prints how many requests succeed bare and protected. Real sockets and real time.

use std::{error::Error, time::Duration};

use buttress::{Backoff, CallError, Fault, HedgeLayer, RetryLayer, TimeoutLayer, http::of_status};
use buttress_sim::{FailKind, Faults, Shares, Takes, Tool, http::Server};
use reqwest::{Client, Request, Response};
use tower::{Service, ServiceBuilder, ServiceExt};

const CALLS: u32 = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let faults = Faults::new(Shares::new(0.2, 0.1)?)
        .fail_kind(FailKind::Unavailable)
        .slow_takes(Takes::seconds(0.05, 0.07)?)
        .fast_takes(Takes::seconds(0.001, 0.003)?);
    let server = Server::on_loopback(Tool::new(faults, 7), 0).await?;
    let uri = format!("http://{}/call", server.addr()?);
    let serving = tokio::spawn(server.run_until(std::future::pending::<()>()));

    let client = Client::new();
    let request = || client.post(&uri).body(r#"{"query":"the weather"}"#).build();

    println!("bare:      {:5.1} % succeed", success(client.clone(), request).await?);

    let classify = |outcome: Result<&Response, &CallError<reqwest::Error>>| match outcome {
        Ok(response) => of_status(response.status(), None),
        Err(error) => error.verdict(),
    };
    let protected = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(5)))
        .layer(
            RetryLayer::new()
                .backoff(Backoff::exponential(Duration::from_millis(5), Duration::from_millis(100)))
                .classify(classify)
                .replay(Request::try_clone),
        )
        .layer(
            HedgeLayer::after(Duration::from_millis(10))
                .classify(classify)
                .replay(Request::try_clone),
        )
        .map_err(CallError::Service)
        .service(client.clone());
    println!("protected: {:5.1} % succeed", success(protected, request).await?);
    serving.abort();
    Ok(())
}

async fn success<S>(
    mut service: S,
    request: impl Fn() -> reqwest::Result<Request>,
) -> Result<f64, Box<dyn Error>>
where
    S: Service<Request, Response = Response, Error: Error + 'static>,
{
    let mut successes = 0;
    for _ in 0..CALLS {
        let outcome = service.ready().await?.call(request()?).await;
        successes += u32::from(outcome.is_ok_and(|response| response.status().is_success()));
    }
    Ok(100.0 * f64::from(successes) / f64::from(CALLS))
}
