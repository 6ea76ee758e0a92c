//! The commands of `lab drill`.

use std::{env, error::Error, process::ExitCode};

use buttress_lab::{
    drill::{self, Orders, SERVER, Settings},
    run::Stop,
    store::At,
};
use tokio::runtime;

use crate::{
    cli::{DrillCommand, DrillFormat, Engines},
    output::Output,
    progress::Counter,
    signal,
};

pub(crate) fn obey(command: DrillCommand) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        DrillCommand::Child { file, tool, batch, die_at, nth } => {
            let at = file.map_or_else(server, |file| Ok(At::File(file)))?;
            let orders = Orders { at, tool, batch, die_at, nth };
            runtime.block_on(drill::obey(&orders)).map_err(|error| error.to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        DrillCommand::Crash { kills, seed, store, format } => {
            let place = tempfile::Builder::new().prefix("buttress-drill").tempdir()?;
            let mut stores = Vec::new();
            if store != Engines::Postgres {
                stores.push(At::File(place.path().join("drill.redb")));
            }
            if store != Engines::Redb {
                stores.push(server()?);
            }
            let stop = Stop::new();
            signal::stop_on_ctrl_c(&stop)?;
            let bar = Counter::of(kills, "killed");
            let settings = Settings { kills, seed, stores };
            let drilled = runtime.block_on(drill::crash(&settings, &stop, |done| bar.at(done)))?;
            drop(bar);
            let text = match format {
                DrillFormat::Table => drill::table(&drilled),
                DrillFormat::Json => drill::json(&drilled)?,
            };
            Output::Stdout.write(&text)?;
            Ok(match (drilled.total.is_well(), drilled.interrupted) {
                (false, _) => ExitCode::FAILURE,
                (true, true) => ExitCode::from(signal::INTERRUPTED),
                (true, false) => ExitCode::SUCCESS,
            })
        }
    }
}

fn server() -> Result<At, String> {
    env::var(SERVER).map(At::Postgres).map_err(|_| {
        format!(
            "set {SERVER} to the URL of a PostgreSQL server, run this under `scripts/postgres run`, which makes \
             one for the time being, or leave it out with `--store redb`"
        )
    })
}
