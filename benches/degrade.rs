//! Criterion: degrade, with three members.

mod compare;

fn main() {
    compare::compare("degrade");
}
