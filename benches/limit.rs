//! Criterion: the limit with room and without, beside its peers.

mod compare;

fn main() {
    compare::compare("limit");
    compare::compare("limit-full");
}
