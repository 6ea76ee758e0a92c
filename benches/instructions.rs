//! Makes calls of one subject, for callgrind to count. Run by `scripts/instructions`.

use std::error::Error;

use buttress_benches::{Kind, Subject, runtime};
use clap::Parser;

/// Makes calls of one subject, for callgrind to count.
#[derive(Debug, Parser)]
struct Arguments {
    /// Which subject; lists them if there is none.
    subject: Option<String>,
    /// How many calls.
    #[arg(default_value_t = 1)]
    calls: u64,
    /// Lists the peers too.
    #[arg(long)]
    peers: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { subject, calls, peers } = Arguments::parse();
    let Some(id) = subject else {
        for subject in Subject::ALL.iter().filter(|s| s.kind == Kind::Ours || peers) {
            println!("{}", subject.id());
        }
        return Ok(());
    };
    let subject = Subject::ALL
        .iter()
        .find(|subject| subject.id() == id)
        .ok_or_else(|| format!("there is no subject `{id}`"))?;
    let runtime = runtime()?;
    let _inside = runtime.enter();
    let mut run = subject.build();
    // What is made once, on the first calls, is not what a call costs.
    run.calls(calls);
    run.calls_counted(calls);
    Ok(())
}
