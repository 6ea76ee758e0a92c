//! Answers that nobody can compare, and ones that are not kept to choose from.
use buttress::{Disagreement, QuorumLayer};
use tower::{BoxError, Service, ServiceBuilder, service_fn};

struct Reply;

fn call(_: impl Service<u32>) {}

fn main() {
    let model = || service_fn(async |_: u32| Ok::<_, BoxError>(Reply));
    call(ServiceBuilder::new().layer(QuorumLayer::of(3)).service(model()));
    let layer = QuorumLayer::of(3).agree_by(|_: &Reply| 7).otherwise(Disagreement::plurality);
    call(ServiceBuilder::new().layer(layer).service(model()));
}

//~ nobody says when answers of type `Reply` agree
//~ derive `PartialEq` for the response, or say what counts
//~ the answers are not kept until the vote has ended
