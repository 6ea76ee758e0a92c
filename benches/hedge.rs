//! Criterion: hedge, beside its peers.

mod compare;

fn main() {
    compare::compare("hedge");
}
