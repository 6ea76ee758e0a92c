//! The commands of `lab store`.

use std::{error::Error, fs::File, io, process::ExitCode, time::Duration};

use buttress::store::{StoreError, Summary};
use buttress_lab::store::{self, Ages, At, Look};
use buttress_store::RedbStore;
use tokio::runtime;

use crate::{
    cli::{Kept, StoreCommand},
    output::Output,
};

const DAY: u64 = 24 * 3_600;

pub(crate) fn obey(command: StoreCommand) -> Result<ExitCode, Box<dyn Error>> {
    // What cannot be opened can still be exported.
    if let StoreCommand::Export { kept: Kept { path: At::File(path), .. }, out } = &command {
        return export(path, out.as_deref());
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(command))
}

async fn ask(command: StoreCommand) -> Result<ExitCode, Box<dyn Error>> {
    let text = match command {
        StoreCommand::Ls { kept, namespace } => {
            let (store, look) = open(&kept, Ages::default()).await?;
            look.workflows(&store::list(&*store, namespace.as_deref()).await?)
        }
        StoreCommand::Show { kept, workflow, version } => {
            let workflow = store::workflow(&workflow)?;
            let (store, look) = open(&kept, Ages::default()).await?;
            let (record, skipped) = store::version(&*store, &workflow, version).await?;
            look.version(&record, &skipped)
        }
        StoreCommand::History { kept, workflow } => {
            let workflow = store::workflow(&workflow)?;
            let (store, look) = open(&kept, Ages::default()).await?;
            look.versions(&store::history(&*store, &workflow).await?)
        }
        StoreCommand::Verify { kept, workflow } => {
            let workflow = workflow.as_deref().map(store::workflow).transpose()?;
            let (store, look) = open(&kept, Ages::default()).await?;
            let bar = crate::progress::Counter::new("workflows");
            let seen = |checked: &store::Checked| bar.at(checked.workflows);
            let checked = store::verify(&*store, workflow.as_ref(), seen).await?;
            drop(bar);
            Output::Stdout.write(&look.checked(&checked))?;
            return Ok(ExitCode::from(u8::from(!checked.is_well())));
        }
        StoreCommand::Fork { kept, workflow, version, to } => {
            let (from, to) = (store::workflow(&workflow)?, store::workflow(&to)?);
            let (store, look) = open(&kept, Ages::default()).await?;
            let forked: Summary = store.fork(&from, version, &to).await?;
            look.workflows(&[forked])
        }
        StoreCommand::Prune { kept, namespace, ended, open: open_for } => {
            let days = |days: u64| Duration::from_secs(days.saturating_mul(DAY));
            let ages = Ages { ended: Some(days(ended)), open: open_for.map(days) };
            let (store, look) = open(&kept, ages).await?;
            let pruned = store.prune(namespace.as_deref()).await?;
            look.pruned(&pruned)
        }
        StoreCommand::Export { kept, out } => {
            let (store, _) = open(&kept, Ages::default()).await?;
            let output = Output::open(out)?;
            let (text, damaged) = store::export(&*store).await?;
            output.write(&text)?;
            return Ok(ExitCode::from(u8::from(damaged > 0)));
        }
    };
    Output::Stdout.write(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn open(
    kept: &Kept,
    ages: Ages,
) -> Result<(std::sync::Arc<dyn buttress::store::Store>, Look), StoreError> {
    let look = if kept.json { Look::Json } else { Look::Table };
    Ok((store::open(&kept.path, ages).await?, look))
}

/// Writes down what is intact in a file; 1 if something is not.
fn export(
    path: &std::path::Path,
    out: Option<&std::path::Path>,
) -> Result<ExitCode, Box<dyn Error>> {
    let found = match out {
        Some(out) => {
            let file = File::create_new(out).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", out.display()))
            })?;
            let mut file = io::BufWriter::new(file);
            let found = RedbStore::export(path, &mut file)?;
            file.into_inner()?.sync_all()?;
            found
        }
        None => RedbStore::export(path, &mut io::stdout().lock())?,
    };
    if let Some(trouble) = &found.trouble {
        eprintln!("{trouble}");
    }
    eprintln!(
        "{} workflows, {} records, {} damaged, {} found by a search through the bytes of the file",
        found.workflows, found.records, found.damaged, found.salvaged
    );
    Ok(ExitCode::from(u8::from(found.damaged > 0 || found.trouble.is_some())))
}
