//! The commands of `lab drill`.

use std::{env, error::Error, fs, process::ExitCode};

use buttress_lab::{
    drill::{self, Cluster, Drilled, Orders, SERVER, Settings},
    run::Stop,
    store::At,
};
use tokio::runtime;

use crate::{
    cli::{DrillCommand, DrillFormat, Engines},
    output::Output,
    progress::Counter,
    signal::{self, Signals},
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
        DrillCommand::Crash { kills, seed, store, kill_server, format } => {
            runtime.block_on(async {
                let signals = Signals::listen()?;
                let stop = Stop::new();
                let drilling = drill(kills, seed, store, kill_server, &stop);
                // At the second signal all is dropped as it is, and so killed and removed.
                let drilled = tokio::select! {
                    biased;
                    drilled = drilling => drilled?,
                    () = signals.stop(&stop) => return Ok(ExitCode::from(signal::INTERRUPTED)),
                };
                let text = match format {
                    DrillFormat::Table => drill::table(&drilled),
                    DrillFormat::Json => drill::json(&drilled)?,
                };
                Output::Stdout.write(&text)?;
                Ok(match (drilled.is_well(), drilled.interrupted) {
                    (false, _) => ExitCode::FAILURE,
                    (true, true) => ExitCode::from(signal::INTERRUPTED),
                    (true, false) => ExitCode::SUCCESS,
                })
            })
        }
    }
}

async fn drill(
    kills: u64,
    seed: u64,
    store: Engines,
    kill_server: bool,
    stop: &Stop,
) -> Result<Drilled, Box<dyn Error>> {
    if kill_server && store == Engines::Redb {
        return Err("there is no server to be killed with --store redb".into());
    }
    let mut place = tempfile::Builder::new().prefix("buttress-drill").tempdir()?;
    let file = At::File(place.path().join("drill.redb"));
    let cluster = if kill_server { Some(Cluster::start().await?) } else { None };
    let server = || cluster.as_ref().map_or_else(server, |cluster| Ok(cluster.at()));
    let stores = match store {
        Engines::Redb => vec![file],
        Engines::Postgres => vec![server()?],
        Engines::Both => vec![file, server()?],
    };
    let bar = Counter::of(kills, "killed");
    let settings = Settings { kills, seed, stores, cluster };
    let drilled = drill::crash(&settings, stop, |done| bar.at(done)).await;
    drop(bar);
    let files = fs::read_dir(place.path())?.count();
    if files > 0 && !drilled.is_well() {
        place.disable_cleanup(true);
        eprintln!("what was in the files is kept in {}", place.path().display());
    }
    Ok(drilled)
}

fn server() -> Result<At, String> {
    env::var(SERVER).map(At::Postgres).map_err(|_| {
        format!(
            "set {SERVER} to the URL of a PostgreSQL server, run this under `scripts/postgres run`, which makes \
             one for the time being, or leave it out with `--store redb`"
        )
    })
}
