//! Criterion: several replicas behind one call, beside its peers.

mod compare;

fn main() {
    compare::compare("failover");
}
