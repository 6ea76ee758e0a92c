//! Criterion: checkpoint over a store in memory; there is no peer.

mod compare;

fn main() {
    compare::compare("checkpoint");
}
