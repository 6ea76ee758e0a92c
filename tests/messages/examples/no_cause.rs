//! An error that cannot be kept among others, where all causes are told.
use buttress::{AllTransient, FallbackLayer, Rejection};
use tower::{Service, ServiceBuilder, service_fn};

enum MyError {
    Empty,
    Rejected(Rejection),
}

impl From<Rejection> for MyError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

fn call(_: impl Service<u32>) {}

fn main() {
    let rule = service_fn(async |n: u32| if n > 0 { Ok(n) } else { Err(MyError::Empty) });
    call(
        ServiceBuilder::new()
            .layer(FallbackLayer::to(rule).classify(AllTransient))
            .service(service_fn(async |n: u32| Ok::<_, MyError>(n))),
    );
}

//~ the error type `MyError` cannot be kept as one cause among several
//~ implement `std::error::Error` for it
//~ FallbackLayer::last_error
