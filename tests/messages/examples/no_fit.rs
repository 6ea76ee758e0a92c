//! A tier that does not give what the primary gives.
use buttress::{FallbackLayer, Rejection};
use tower::{Service, ServiceBuilder, service_fn};

fn call(_: impl Service<u32>) {}

fn main() {
    call(
        ServiceBuilder::new()
            .layer(FallbackLayer::to_value("none"))
            .service(service_fn(async |n: u32| Ok::<_, Rejection>(n))),
    );
}

//~ a tier of this fallback does not fit the service below it
//~ a value is a `u32`, and `Clone`
