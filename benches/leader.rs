//! Criterion: the leader who leads, and the one who does not.

mod compare;

fn main() {
    compare::compare("leader");
}
