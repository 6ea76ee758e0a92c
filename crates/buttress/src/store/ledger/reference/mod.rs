//! The decisions held against a naive reference, over random histories of several owners.
//!
//! Whatever is done (time passes, all processes die, records rot, old leases and tickets are used again),
//! the ledger must answer as the [naive](naive) rules do, and keep what they say is kept.

mod canary;
mod check;
mod fork;
mod lines;
mod machine;
mod naive;
mod operation;
mod steps;
mod told;

use proptest::prelude::*;

use self::{
    machine::{Decide, Machine},
    operation::{Operation, histories},
};

/// The last of them is where copies go.
const FLOWS: usize = 3;
const OWNERS: usize = 3;
/// Two steps and a state; now and then one is taken for the other.
const STEPS: usize = 3;

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
