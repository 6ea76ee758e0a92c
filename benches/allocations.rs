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

/// How often so many calls may allocate.
fn allowed(subject: &Subject) -> u64 {
    match (subject.pattern, subject.name) {
        // Draws its survival curve anew every hundred calls or so.
        ("hedge", "buttress learned") => CALLS / 20,
        _ => 0,
    }
}

#[test]
fn our_layers_do_not_allocate() {
    for subject in Subject::ALL.iter().filter(|subject| subject.kind != Kind::Peer) {
        let (allocations, allowed) = (allocations(subject), allowed(subject));
        assert!(
            allocations <= allowed,
            "{} allocates {allocations} times in {CALLS} calls, not {allowed}",
            subject.id()
        );
    }
}

/// That what is counted above is counted at all.
#[test]
fn peers_that_box_their_futures_are_found_out() {
    let id = "timeout/tower-resilience";
    let peer = Subject::ALL.iter().find(|subject| subject.id() == id).expect("it is listed");
    assert!(allocations(peer) >= CALLS);
}
