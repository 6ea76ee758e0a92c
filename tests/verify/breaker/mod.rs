//! The circuit as threads share it, and what must hold of it.

#[path = "../../../crates/buttress/src/breaker/circuit.rs"]
mod circuit;
#[path = "../../../crates/buttress/src/breaker/cusum.rs"]
mod cusum;
#[path = "../../../crates/buttress/src/breaker/probes.rs"]
mod probes;
#[path = "../../../crates/buttress/src/breaker/shared.rs"]
mod shared;
#[path = "../../../crates/buttress/src/breaker/trigger.rs"]
mod trigger;
#[path = "../../../crates/buttress/src/breaker/window.rs"]
mod window;

use std::{num::NonZeroU32, time::Duration};

use buttress::{Backoff, Jitter};

use self::{
    circuit::{Admission, Cause, Fate, Outcome, Pass, Terms},
    probes::Probes,
    shared::{Mode, Shared},
    trigger::Trigger,
    window::Window,
};
use crate::{
    ratio::Ratio,
    run::Scenario,
    scenarios::{together, twice},
    sync::{Arc, explore},
};

const OPEN: u64 = 1_000_000_000;

fn circuit(trigger: Trigger, probes: Probes) -> Arc<Shared> {
    Arc::new(Shared::new(Terms {
        trigger,
        open_for: Backoff::constant(Duration::from_nanos(OPEN)).jitter(Jitter::None),
        probes,
        memory: u64::MAX,
        patience: u64::MAX,
        max_retry_after: u64::MAX,
    }))
}

fn streak(failures: u32) -> Trigger {
    Trigger::consecutive(NonZeroU32::new(failures).expect("not zero"))
}

fn pass(shared: &Shared, now: u64) -> Option<Pass> {
    match shared.admit(now, false, &|| 0.0).0 {
        Admission::Pass(pass) => Some(pass),
        Admission::Reject { .. } => None,
    }
}

fn record(shared: &Shared, pass: Pass, outcome: Outcome) -> Fate {
    // As the switch does: a success is told only if it must be.
    if outcome == Outcome::Good && shared.succeed(pass, None) {
        return Fate::Counted;
    }
    shared.record(1, pass, outcome, 0, &|| 0.0).0
}

fn mode(shared: &Shared) -> Mode {
    shared.gate().mode()
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("breaker: the last place is given to one probe", || {
        explore(|| {
            let shared = circuit(streak(1), Probes::new(1, 1));
            record(&shared, pass(&shared, 0).expect("closed"), Outcome::Bad);
            let probes = together(twice(&shared, |shared| pass(shared, 2 * OPEN)));
            assert_eq!(probes.iter().flatten().count(), 1);
            assert_eq!(mode(&shared), Mode::Full);
        });
    }),
    ("breaker: no failure of two is lost", || {
        explore(|| {
            let shared = circuit(streak(2), Probes::new(2, 3));
            together(twice(&shared, |shared| {
                let pass = pass(shared, 0).expect("closed");
                record(shared, pass, Outcome::Bad);
            }));
            assert_eq!(mode(&shared), Mode::Open);
        });
    }),
    ("breaker: whoever sees it open is told until when", || {
        explore(|| {
            let shared = circuit(streak(1), Probes::new(1, 1));
            let (one, two) = (shared.clone(), shared.clone());
            together::<()>(vec![
                Box::new(move || {
                    let pass = pass(&one, 0).expect("closed");
                    record(&one, pass, Outcome::Bad);
                }),
                Box::new(move || match two.admit(1, false, &|| 0.0).0 {
                    Admission::Pass(pass) => {
                        assert_eq!(pass.slot, None, "no probe before its time");
                    }
                    Admission::Reject { wait } => assert_eq!(wait, Some(OPEN)),
                }),
            ]);
        });
    }),
    ("breaker: a result from before a trip changes nothing", || {
        explore(|| {
            let shared = circuit(streak(1), Probes::new(1, 1));
            let (early, late) =
                (pass(&shared, 0).expect("closed"), pass(&shared, 0).expect("closed"));
            let (one, two) = (shared.clone(), shared.clone());
            let fates = together(vec![
                Box::new(move || record(&one, early, Outcome::Bad))
                    as Box<dyn FnOnce() -> Fate + Send>,
                Box::new(move || record(&two, late, Outcome::Bad)),
            ]);
            assert_eq!(fates.iter().filter(|fate| **fate == Fate::Stale).count(), 1);
            assert_eq!((mode(&shared), shared.gate().generation()), (Mode::Open, 1));
        });
    }),
    ("breaker: a late success does not close it", || {
        explore(|| {
            let shared = circuit(streak(1), Probes::new(1, 1));
            let (bad, good) =
                (pass(&shared, 0).expect("closed"), pass(&shared, 0).expect("closed"));
            let (one, two) = (shared.clone(), shared.clone());
            together(vec![
                Box::new(move || record(&one, bad, Outcome::Bad))
                    as Box<dyn FnOnce() -> Fate + Send>,
                Box::new(move || record(&two, good, Outcome::Good)),
            ]);
            assert_eq!(mode(&shared), Mode::Open);
        });
    }),
    ("breaker: successes that were only counted are not lost", || {
        explore(|| {
            let window = Window::calls(NonZeroU32::new(10).expect("not zero"));
            let rate = Trigger::failure_rate(Ratio::percent(50), window);
            let shared = circuit(rate, Probes::new(1, 1));
            together(twice(&shared, |shared| {
                let pass = pass(shared, 0).expect("closed");
                record(shared, pass, Outcome::Good);
            }));
            // A failure makes the circuit look at all that came before.
            record(&shared, pass(&shared, 0).expect("closed"), Outcome::Bad);
            assert_eq!(shared.calm(), 2);
            assert_eq!(mode(&shared), Mode::Closed);
        });
    }),
    ("breaker: a command and a trip leave it as commanded", || {
        explore(|| {
            let shared = circuit(streak(1), Probes::new(1, 1));
            let bad = pass(&shared, 0).expect("closed");
            let (one, two) = (shared.clone(), shared.clone());
            together::<()>(vec![
                Box::new(move || {
                    record(&one, bad, Outcome::Bad);
                }),
                Box::new(move || {
                    two.command(1, Cause::ForceClosed, &|| 0.0);
                }),
            ]);
            assert_eq!(mode(&shared), Mode::ForcedClosed);
        });
    }),
];
