//! Criterion: timeout, beside its peers.

mod compare;

fn main() {
    compare::compare("timeout");
}
