//! Criterion: the breaker closed and open, beside its peers.

mod compare;

fn main() {
    compare::compare("breaker");
    compare::compare("breaker-open");
}
