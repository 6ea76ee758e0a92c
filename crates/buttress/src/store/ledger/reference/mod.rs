//! The decisions held against a naive reference, over random histories of several owners.
//!
//! Whatever is done (time passes, all processes die, records rot, old leases and tickets are used again),
//! the ledger must answer as the [naive](naive) rules do, and keep what they say is kept.

mod canary;
mod machine;
mod naive;

use proptest::prelude::*;

use self::machine::{By, Decide, Expect, Machine, Operation, Outcome};

/// The last of them is where copies go.
const FLOWS: usize = 3;
const OWNERS: usize = 3;
/// Two steps and a state; now and then one is taken for the other.
const STEPS: usize = 3;

fn operations() -> impl Strategy<Value = Operation> {
    let flow = prop_oneof![5 => Just(0), 4 => Just(1), 2 => Just(FLOWS - 1)];
    let ttl = || prop_oneof![1 => 0_u64..3, 4 => 10_u64..80];
    let by = || {
        prop_oneof![
            2 => Just(By::Shared),
            4 => (0..OWNERS, ttl()).prop_map(|(owner, ttl)| By::Take { owner, ttl }),
            3 => any::<prop::sample::Index>().prop_map(By::Held),
        ]
    };
    let step = || prop_oneof![8 => 0..STEPS - 1, 1 => Just(STEPS - 1)];
    let state = || prop_oneof![12 => Just(STEPS - 1), 1 => 0..STEPS - 1];
    let pick = any::<prop::sample::Index>;
    let expect = || {
        prop_oneof![
            5 => Just(Expect::Nothing),
            3 => Just(Expect::Newest),
            1 => (0..9_u64).prop_map(Expect::Version),
        ]
    };
    let outcome = prop_oneof![
        6 => Just(Outcome::Done),
        2 => Just(Outcome::Failed),
        2 => Just(Outcome::Withdrawn),
        1 => Just(Outcome::DoneAndEnd),
    ];
    prop_oneof![
        6 => (flow.clone(), 0..OWNERS, ttl())
            .prop_map(|(flow, owner, ttl)| Operation::Acquire { flow, owner, ttl }),
        4 => (pick(), ttl()).prop_map(|(lease, ttl)| Operation::Renew { lease, ttl }),
        2 => pick().prop_map(|lease| Operation::Release { lease }),
        4 => (0..OWNERS, ttl()).prop_map(|(owner, ttl)| Operation::Claim { owner, ttl }),
        26 => (flow.clone(), step(), 0..16_u8, by(), prop::bool::weighted(0.7), expect()).prop_map(
            |(flow, step, request, by, intent, restart)| {
                // Nearly always the same.
                let request = request / 15;
                Operation::Begin { flow, step, request, by, intent, restart }
            }
        ),
        20 => (pick(), outcome)
            .prop_map(|(ticket, outcome)| Operation::Complete { ticket, outcome }),
        16 => (flow.clone(), state(), by(), expect())
            .prop_map(|(flow, step, by, expect)| Operation::Append { flow, step, by, expect }),
        2 => (flow.clone(), by()).prop_map(|(flow, by)| Operation::Finish { flow, by }),
        1 => flow.clone().prop_map(|flow| Operation::Delete { flow }),
        3 => Just(Operation::Prune),
        5 => (0..FLOWS - 1, pick(), prop::bool::weighted(0.8))
            .prop_map(|(from, at, forget)| Operation::Fork { from, at, forget }),
        12 => (1..90_u64).prop_map(Operation::Pass),
        2 => Just(Operation::Crash),
        3 => (flow, pick(), any::<bool>())
            .prop_map(|(flow, version, lose)| Operation::Rot { flow, version, lose }),
    ]
}

fn histories() -> impl Strategy<Value = Vec<Operation>> {
    prop::collection::vec(operations(), 1..60)
}

/// Does all of it, and says at what the ledger and the reference part.
fn run(history: &[Operation], decide: &Decide) -> Result<(), String> {
    let mut machine = Machine::new(*decide);
    for (at, operation) in history.iter().enumerate() {
        machine
            .act(operation)
            .and_then(|()| machine.check())
            .map_err(|parted| format!("operation {at}, {operation:?}: {parted}"))?;
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_ledger_decides_as_the_rules_say(history in histories()) {
        let told = run(&history, &Decide::default());
        prop_assert!(told.is_ok(), "{}", told.unwrap_err());
    }
}
