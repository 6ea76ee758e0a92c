// The rest of both checkers: the cores by path, and the run.

mod breaker;
#[path = "../../crates/buttress/src/budget/bucket.rs"]
mod bucket;
#[path = "../../crates/buttress/src/ratio.rs"]
mod ratio;
mod scenarios;

// What the cores take from the crate they live in.
use buttress::{Backoff, Why};
use ratio::{OutOfRange, Ratio};

/// What must hold, and a check that panics if it does not.
type Scenario = (&'static str, fn());

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let trials = scenarios::SCENARIOS
        .iter()
        .chain(breaker::SCENARIOS)
        .map(|(name, check)| {
            libtest_mimic::Trial::test(*name, || {
                check();
                Ok(())
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
