//! Criterion: retry, beside its peers.

mod compare;

fn main() {
    compare::compare("retry");
}
