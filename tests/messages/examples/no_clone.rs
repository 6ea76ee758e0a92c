//! A request that cannot be sent twice.
use buttress::{HedgeLayer, Rejection};
use tower::{Service, ServiceBuilder, service_fn};

struct Unique;

fn call(_: impl Service<Unique>) {}

fn main() {
    call(
        ServiceBuilder::new()
            .layer(HedgeLayer::immediate(2))
            .service(service_fn(async |_: Unique| Ok::<_, Rejection>(()))),
    );
}

//~ a request of type `Unique` cannot be sent twice
//~ derive `Clone` for the request
