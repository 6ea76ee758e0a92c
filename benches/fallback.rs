//! Criterion: fallback with a fine primary, beside its peer.

mod compare;

fn main() {
    compare::compare("fallback");
}
