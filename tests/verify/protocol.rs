//! Every course that two-phase commit can take: lost, repeated and reordered messages, crashes, two
//! coordinators. `PROTOCOL_CRASHES` says how many crashes (1 by default), `PROTOCOL_PARTICIPANTS` how many
//! participants at most (3).

mod commit;

use commit::{Fault, Settings, check};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let number = |name, default| {
        std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
    };
    let crashes = number("PROTOCOL_CRASHES", 1);
    let most = usize::from(number("PROTOCOL_PARTICIPANTS", 3));
    let plain = Settings { participants: 2, crashes, heuristics: false, fault: None };
    let mut trials = Vec::new();
    for participants in 2..=most {
        let settings = Settings { participants, ..plain };
        trials.push(Trial::test(
            format!("commit: {participants} participants come to one outcome"),
            move || holds(settings),
        ));
    }
    let settings = Settings { heuristics: true, ..plain };
    trials.push(Trial::test("commit: who decides alone is told of", move || holds(settings)));
    for (fault, name, breaks) in Fault::ALL {
        // One that needs a crash finds it, whatever the number asked for.
        let settings = Settings { fault: Some(fault), crashes: 1, ..plain };
        trials.push(Trial::test(format!("canary: {name} is found"), move || {
            // A check that does not find this one finds nothing.
            match check(settings).broken.iter().any(|(name, _)| *name == breaks) {
                true => Ok(()),
                false => Err(Failed::from(format!("nobody noticed that it breaks: {breaks}"))),
            }
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn holds(settings: Settings) -> Result<(), Failed> {
    let found = check(settings);
    println!("  {settings:?}: {} states", found.states);
    if found.broken.is_empty() && found.never.is_empty() {
        return Ok(());
    }
    let broken: Vec<_> =
        found.broken.iter().map(|(name, way)| format!("{name}: broken by {way}")).collect();
    Err(Failed::from(format!("{}\nnever seen: {:?}", broken.join("\n"), found.never)))
}
