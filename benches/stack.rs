//! Criterion: stack, beside its peers.

mod compare;

fn main() {
    compare::compare("stack");
}
