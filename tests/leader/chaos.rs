//! Several candidates over a store that fails, in processes that are stopped and die.

use proptest::prelude::*;

use super::*;
use crate::support::simulate;

/// What happens to one of the processes.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Fault(Fault),
    Stop,
    Wake,
    Die,
    StepDown,
}

fn blows() -> impl Strategy<Value = Vec<(usize, Blow, u64)>> {
    let blow = prop_oneof![
        1 => Just(Blow::Fault(Fault::Down)),
        1 => Just(Blow::Fault(Fault::AnswersLost)),
        1 => Just(Blow::Fault(Fault::Silent)),
        3 => Just(Blow::Fault(Fault::None)),
        2 => Just(Blow::Stop),
        3 => Just(Blow::Wake),
        1 => Just(Blow::Die),
        1 => Just(Blow::StepDown),
    ];
    prop::collection::vec((0..3_usize, blow, 0..12_000_u64), 1..25)
}

async fn play(blows: &[(usize, Blow, u64)]) {
    let store = MemoryStore::new();
    let mut processes: Vec<_> = (0..3).map(|_| Process::new(&store)).collect();
    let stops: Vec<_> = (0..3).map(|_| watch::Sender::new(false)).collect();
    let start = |process: &Process, n: usize| {
        tokio::spawn(stoppable(process.layer.campaign(pending()), stops[n].subscribe()))
    };
    let mut running: Vec<_> = processes.iter().enumerate().map(|(n, p)| start(p, n)).collect();
    let mut greatest = 0;
    let mut look = |processes: &[Process], case: &str| {
        let leaders: Vec<u64> = processes.iter().filter_map(|p| p.handle.epoch()).collect();
        assert!(leaders.len() <= 1, "{case}: {leaders:?} lead at once");
        for epoch in leaders {
            assert!(epoch >= greatest, "{case}: {epoch} after {greatest}");
            greatest = epoch;
        }
    };
    for (number, (n, blow, wait)) in blows.iter().enumerate() {
        match blow {
            Blow::Fault(fault) => processes[*n].store.set(*fault),
            Blow::Stop => stops[*n].send(true).unwrap_or_default(),
            Blow::Wake => stops[*n].send(false).unwrap_or_default(),
            Blow::StepDown => {
                processes[*n].handle.step_down();
            }
            Blow::Die => {
                running[*n].abort();
                settle().await;
                processes[*n] = Process::new(&store);
                running[*n] = start(&processes[*n], *n);
            }
        }
        let end = Instant::now() + Duration::from_millis(*wait);
        while Instant::now() < end {
            sleep(Duration::from_millis(50)).await;
            look(&processes, &format!("after blow {number}, {blow:?} of {n}"));
        }
    }
    // All is well again: somebody leads.
    processes.iter().for_each(|process| process.store.set(Fault::None));
    stops.iter().for_each(|stop| stop.send(false).unwrap_or_default());
    sleep(TTL + TTL / 3 + 4 * POLL).await;
    look(&processes, "healed");
    assert_eq!(processes.iter().filter(|process| process.handle.is_leader()).count(), 1);
}

#[test]
fn never_do_two_lead_and_in_the_end_one_does() {
    simulate(&blows(), 20, async |blows| play(&blows).await);
}
