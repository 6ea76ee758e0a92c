//! The run of all scenarios, as the standard harness would do it.

use crate::{breaker, degrade, limit, scenarios};

/// What must hold, and a check that panics if it does not.
pub(crate) type Scenario = (&'static str, fn());

pub(crate) fn all() {
    let arguments = libtest_mimic::Arguments::from_args();
    let trials = scenarios::SCENARIOS
        .iter()
        .chain(breaker::SCENARIOS)
        .chain(degrade::SCENARIOS)
        .chain(limit::SCENARIOS)
        .map(|(name, check)| {
            libtest_mimic::Trial::test(*name, || {
                check();
                Ok(())
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
