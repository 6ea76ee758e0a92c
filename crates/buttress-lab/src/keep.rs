//! The commands of `lab store`.

use std::{
    collections::BTreeSet,
    error::Error,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use buttress::store::{Store, StoreError, Summary};
use buttress_lab::store::{self, Ages, At, Look, Word};
use buttress_store::{RedbStore, redb::Exported};
use tokio::runtime;

use crate::{
    cli::{Kept, StoreCommand},
    output::{Output, about},
};

const DAY: u64 = 24 * 3_600;

pub(crate) fn obey(command: StoreCommand) -> Result<ExitCode, Box<dyn Error>> {
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
        StoreCommand::Resolve { kept, workflow, step, landed, absent, schema, begun_in } => {
            let workflow = store::workflow(&workflow)?;
            let begun_in = begun_in.as_deref().map(store::workflow).transpose()?;
            let word = match landed {
                Some(file) => Some(Word::Landed { answer: read(&file)?, schema }),
                None => absent.then_some(Word::Absent),
            };
            let (store, look) = open(&kept, Ages::default()).await?;
            match word {
                Some(word) => {
                    let begun_in = begun_in.as_ref();
                    let written = store::resolve(&*store, &workflow, &step, begun_in, word).await?;
                    look.version(&written, &[])
                }
                None => {
                    let (doubt, key) = store::in_doubt(&*store, &workflow, &step).await?;
                    look.doubt(&doubt, key)
                }
            }
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
        StoreCommand::Export { kept, out } => return export(&kept.path, out.as_deref()).await,
    };
    Output::Stdout.write(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn open(kept: &Kept, ages: Ages) -> Result<(Arc<dyn Store>, Look), StoreError> {
    let look = if kept.json { Look::Json } else { Look::Table };
    let before = set_aside(&kept.path);
    let store = store::open(&kept.path, ages).await?;
    for old in set_aside(&kept.path).difference(&before) {
        eprintln!(
            "the file was damaged: what is intact is in a new one in its place, the old one is kept as {}",
            old.display()
        );
    }
    Ok((store, look))
}

/// The files that were damaged and were kept when the store was made anew of what is intact in them.
fn set_aside(at: &At) -> BTreeSet<PathBuf> {
    let At::File(path) = at else { return BTreeSet::new() };
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { return BTreeSet::new() };
    let beside = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let begins = format!("{name}.damaged");
    let files = fs::read_dir(beside).into_iter().flatten().flatten();
    files
        .filter(|file| file.file_name().to_str().is_some_and(|name| name.starts_with(&begins)))
        .map(|file| file.path())
        .collect()
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match file.to_str() {
        Some("-") => io::stdin().lock().read_to_end(&mut bytes),
        _ => File::open(file).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    read.map_err(|error| about(file, &error))?;
    Ok(bytes)
}

/// Writes down what is intact; 1 if something is not.
async fn export(at: &At, out: Option<&Path>) -> Result<ExitCode, Box<dyn Error>> {
    let exported = match out {
        Some(out) => {
            // What was rescued before is not overwritten.
            let named = |error: io::Error| about(out, &error);
            let mut file = io::BufWriter::new(File::create_new(out).map_err(named)?);
            let exported = write_down(at, &mut file).await;
            let file = file.into_inner().map_err(|error| named(error.into_error()))?;
            if exported.is_err() && file.metadata()?.len() == 0 {
                fs::remove_file(out)?;
            }
            file.sync_all().map_err(named)?;
            exported
        }
        None => write_down(at, &mut io::BufWriter::new(io::stdout().lock())).await,
    };
    let found = match exported {
        // Whoever reads has read enough, as `head` has.
        Err(error) if broken_pipe(&error) => return Ok(ExitCode::SUCCESS),
        exported => exported?,
    };
    if let Some(trouble) = &found.trouble {
        eprintln!("{trouble}");
    }
    eprint!("{} workflows, {} records, {} damaged", found.workflows, found.records, found.damaged);
    match found.trouble {
        Some(_) => {
            eprintln!(", {} found by a search through the bytes of the file", found.salvaged);
        }
        None => eprintln!(),
    }
    Ok(ExitCode::from(u8::from(found.damaged > 0 || found.trouble.is_some())))
}

async fn write_down(at: &At, sink: &mut impl Write) -> Result<Exported, StoreError> {
    match at {
        // What cannot be opened can still be exported.
        At::File(path) => RedbStore::export(path, sink),
        At::Postgres(_) => store::export(&*store::open(at, Ages::default()).await?, sink).await,
    }
}

fn broken_pipe(error: &StoreError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
