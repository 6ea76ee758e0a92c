//! How often our layers allocate while nothing goes wrong.

use buttress_benches::{Kind, Subject, runtime};

/// Calls that are counted, after as many that are not.
const CALLS: u64 = 1_000;

fn allocations(subject: &Subject) -> u64 {
    let runtime = runtime().expect("the system has a clock");
    let _inside = runtime.enter();
    let mut run = subject.build();
    run.calls(CALLS);
    allocation_counter::measure(|| run.calls(CALLS)).count_total
}

#[test]
fn no_layer_of_ours_allocates() {
    for subject in Subject::ALL.iter().filter(|subject| subject.kind != Kind::Peer) {
        assert_eq!(allocations(subject), 0, "{}", subject.id());
    }
}

/// That the counting counts.
#[test]
fn a_peer_known_to_allocate_is_seen_to() {
    let peer = Subject::ALL.iter().find(|subject| subject.id() == "timeout/tower-resilience");
    assert_eq!(allocations(peer.expect("it is in the table")), CALLS);
}
