//! Criterion: quorum; there is no peer.

mod compare;

fn main() {
    compare::compare("quorum");
}
