//! An axum router with a limit and a breaker around a handler that hangs: clients get 503 at once
//! instead of waiting.
//!
//! Prints status and time of each request. The clock is simulated, and no port is opened.

use std::{convert::Infallible, error::Error, num::NonZeroU32, time::Duration};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
    routing::get,
};
use buttress::{BreakerLayer, Rejection, RespondLayer, TimeoutLayer, Trigger, never};
use http::{Request, StatusCode};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt};

fn refuse(rejection: Rejection) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, rejection.to_string()).into_response()
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let layers = ServiceBuilder::new()
        .layer(RespondLayer::new(refuse))
        .layer(
            BreakerLayer::new(Trigger::consecutive(NonZeroU32::MIN.saturating_add(2)))
                .name("agent"),
        )
        .layer(TimeoutLayer::new(Duration::from_secs(2)))
        .map_err(never::<Rejection>);
    let router: Router = Router::new()
        .route("/agent", get(async || std::future::pending::<&'static str>().await))
        .layer(layers);
    for number in 1..=5 {
        let start = Instant::now();
        let request = Request::get("/agent").body(Body::empty())?;
        let response = router.clone().oneshot(request).await.map_err(|e: Infallible| e)?;
        println!("request {number}: {} after {:?}", response.status(), start.elapsed());
    }
    Ok(())
}
