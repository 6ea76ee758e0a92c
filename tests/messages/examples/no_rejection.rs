//! An error that no layer can refuse with, where a service is asked for.
use std::time::Duration;

use buttress::TimeoutLayer;
use tower::{Service, ServiceBuilder, service_fn};

#[derive(Debug)]
struct MyError;

fn call(_: impl Service<u32>) {}

fn main() {
    call(
        ServiceBuilder::new()
            .layer(TimeoutLayer::new(Duration::from_secs(1)))
            .service(service_fn(async |n: u32| if n > 0 { Ok(n) } else { Err(MyError) })),
    );
}

//~ the error type `MyError` cannot carry a layer's refusal
//~ Rejected(#[from] buttress::Rejection)
//~ .map_err(buttress::CallError::Service)
