//! An error that does not say what it means.
use buttress::RetryLayer;
use tower::{Service, ServiceBuilder, service_fn};

#[derive(Debug)]
struct MyError;

fn call(_: impl Service<u32>) {}

fn main() {
    call(
        ServiceBuilder::new()
            .layer(RetryLayer::new())
            .service(service_fn(async |n: u32| if n > 0 { Ok(n) } else { Err(MyError) })),
    );
}

//~ nobody says what a failure of type `MyError` means
//~ implement `buttress::Fault` for `MyError`, or give the layer a classifier
