//! What a durable step costs, beside the engine's own commit, in one run on one disk.
//!
//! Subjects take turns, so that all suffer from the same disturbances; a row is the median. Throughputs
//! are over a fixed number of steps of workflows that run at once.

use std::{
    error::Error,
    fs,
    io::{self, BufRead as _, Write},
    num::NonZeroU64,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use buttress::store::{
    Begin, Begun, Claim, Digest, Entry, Payload, Retention, StepId, Store, WorkflowId,
};
use buttress_store::{RedbStore, redb::Options};
use clap::{Parser, ValueEnum};
use redb::{Database, TableDefinition};
use serde::Serialize;
use tokio::{runtime::Runtime, time::Instant};

type Failure = Box<dyn Error + Send + Sync>;

/// Measures what durable steps cost, beside redb itself.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to write: the disk that is measured.
    #[arg(long, default_value = ".")]
    directory: PathBuf,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Measures a tenth.
    #[arg(long)]
    quick: bool,
    /// Fills a store with versions until it is killed: what this program tells a child of its own.
    #[arg(long, hide = true)]
    fill: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Debug, Serialize)]
struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    /// How it compares, and with what.
    ratio: Option<(f64, &'static str)>,
}

const RAW: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("raw");

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
    if let Some(path) = arguments.fill {
        return runtime.block_on(fill(&path));
    }
    let directory = tempfile::tempdir_in(&arguments.directory)?;
    let rows = measure(&runtime, directory.path(), if arguments.quick { 10 } else { 1 })?;
    let mut out = io::stdout().lock();
    match arguments.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &rows)?;
            writeln!(out)?;
        }
        Format::Table => {
            for Row { what, value, unit, ratio } in rows {
                let ratio =
                    ratio.map_or(String::new(), |(ratio, to)| format!("{ratio:>8.2} x {to}"));
                writeln!(out, "{what:<58} {value:>10.1} {unit:<8}{ratio}")?;
            }
        }
    }
    Ok(())
}

fn measure(runtime: &Runtime, directory: &Path, share: usize) -> Result<Vec<Row>, Failure> {
    let mut rows = vec![Row {
        what: "sync of a file after 4 KiB".into(),
        value: median(sync(directory, 400 / share)?),
        unit: "us",
        ratio: None,
    }];
    for size in [1 << 10, 64 << 10] {
        alone(runtime, directory, size, 1_000 / share, &mut rows)?;
    }
    for size in [1 << 10, 64 << 10] {
        together(runtime, directory, size, 4_000 / share, &mut rows)?;
    }
    resume(runtime, directory, &mut rows)?;
    killed(runtime, directory, &mut rows)?;
    Ok(rows)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

/// The disk by itself.
fn sync(directory: &Path, times: usize) -> Result<Vec<Duration>, Failure> {
    let mut file = fs::File::create(directory.join("sync"))?;
    let mut taken = Vec::new();
    for _ in 0..times {
        let started = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        taken.push(started.elapsed());
    }
    Ok(taken)
}

struct Raw {
    database: Database,
    next: u64,
}

impl Raw {
    fn new(path: PathBuf) -> Result<Self, Failure> {
        Ok(Self { database: Database::create(path)?, next: 0 })
    }

    /// One commit of so many bytes. All are kept, as the newest record of each step is.
    fn commit(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(RAW)?.insert(self.next, bytes)?;
        transaction.commit()?;
        self.next += 1;
        Ok(())
    }
}

fn begin(workflow: &WorkflowId, step: String, effect: bool) -> Begin {
    let claim = if effect {
        Claim::Take { owner: "bench".into(), ttl: Duration::from_secs(60) }
    } else {
        Claim::Shared
    };
    Begin {
        workflow: workflow.clone(),
        step: StepId::new(step),
        fingerprint: Digest::default(),
        claim,
        intent: effect,
        restart: None,
        mark: None,
    }
}

async fn step(
    store: &dyn Store,
    workflow: &WorkflowId,
    name: String,
    effect: bool,
    bytes: &[u8],
) -> Result<(), Failure> {
    let Begun::Fresh(ticket) = store.begin(&begin(workflow, name, effect)).await? else {
        return Err("the step is not new".into());
    };
    let payload = Payload { codec: Payload::BYTES, schema: 1, bytes: bytes.to_vec() };
    store.complete(&ticket, Entry::done(payload)).await?;
    Ok(())
}

/// One workflow, beside the engine's own commit.
fn alone(
    runtime: &Runtime,
    directory: &Path,
    size: usize,
    times: usize,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let store = RedbStore::open(directory.join(format!("alone-{size}.redb")))?;
    let mut raw = Raw::new(directory.join(format!("alone-raw-{size}.redb")))?;
    let bytes = vec![7; size];
    let (once, twice) = (WorkflowId::new("bench", "once"), WorkflowId::new("bench", "twice"));
    let (mut raws, mut ones, mut twos, mut replays) = (vec![], vec![], vec![], vec![]);
    for n in 0..times {
        let started = Instant::now();
        raw.commit(&bytes)?;
        raws.push(started.elapsed());
        runtime.block_on(async {
            let (one, two) = (format!("{n}"), format!("{n}"));
            let started = Instant::now();
            step(&store, &once, one, false, &bytes).await?;
            ones.push(started.elapsed());
            let started = Instant::now();
            step(&store, &twice, two, true, &bytes).await?;
            twos.push(started.elapsed());
            let again = begin(&twice, format!("{}", n / 2), true);
            let started = Instant::now();
            let begun = store.begin(&again).await?;
            replays.push(started.elapsed());
            match begun {
                Begun::Completed { .. } => Ok(()),
                other => Err(Failure::from(format!("{other:?}"))),
            }
        })?;
    }
    let kib = size >> 10;
    let raw = median(raws);
    let to = "redb";
    let mut row = |what: &str, value: f64, ratio: Option<(f64, &'static str)>| {
        rows.push(Row { what: format!("{what}, {kib} KiB"), value, unit: "us", ratio });
    };
    let (one, two) = (median(ones), median(twos));
    row("redb: one commit", raw, None);
    row("step without effect: one commit", one, Some((one / raw, to)));
    row("step with effect: two commits", two, Some((two / raw / 2.0, "redb, a commit")));
    row("replay of a step that was done", median(replays), None);
    Ok(())
}

/// Several workflows at once, beside one commit each.
fn together(
    runtime: &Runtime,
    directory: &Path,
    size: usize,
    steps: usize,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let bytes: Arc<[u8]> = vec![7; size].into();
    let kib = size >> 10;
    let mut raw = Raw::new(directory.join(format!("together-raw-{size}.redb")))?;
    let started = Instant::now();
    let naive = steps / 8;
    for _ in 0..naive {
        raw.commit(&bytes)?;
    }
    let naive = naive as f64 / started.elapsed().as_secs_f64();
    rows.push(Row {
        what: format!("redb: a commit for each, {kib} KiB"),
        value: naive,
        unit: "/s",
        ratio: None,
    });
    for lanes in [1, 16] {
        for effect in [false, true] {
            let name = format!("together-{size}-{lanes}-{effect}.redb");
            let store = RedbStore::open(directory.join(name))?;
            let each = if lanes == 1 { steps / 8 } else { steps / lanes };
            let started = Instant::now();
            let tasks: Vec<_> = (0..lanes)
                .map(|lane| {
                    let (store, bytes) = (store.clone(), bytes.clone());
                    let workflow = WorkflowId::new("bench", lane.to_string());
                    runtime.spawn(async move {
                        for n in 0..each {
                            step(&store, &workflow, n.to_string(), effect, &bytes).await?;
                        }
                        Ok::<_, Failure>(())
                    })
                })
                .collect();
            for task in tasks {
                runtime.block_on(task)??;
            }
            let commits = if effect { 2 } else { 1 };
            let rate = (lanes * each) as f64 / started.elapsed().as_secs_f64();
            let what = if effect { "with effect" } else { "without effect" };
            rows.push(Row {
                what: format!("steps {what}, {lanes} workflows, {kib} KiB"),
                value: rate,
                unit: "/s",
                ratio: Some((rate * f64::from(commits) / naive, "redb, a commit for each")),
            });
        }
    }
    Ok(())
}

const RESUMED: usize = 1_000;

/// A workflow of a thousand steps, taken up by another process.
fn resume(runtime: &Runtime, directory: &Path, rows: &mut Vec<Row>) -> Result<(), Failure> {
    let path = directory.join("resume.redb");
    let workflow = WorkflowId::new("bench", "long");
    let store = RedbStore::open(&path)?;
    runtime.block_on(async {
        for n in 0..RESUMED {
            step(&store, &workflow, n.to_string(), false, &[7; 1024]).await?;
        }
        Ok::<_, Failure>(())
    })?;
    drop(store);
    let started = Instant::now();
    let store = RedbStore::open(&path)?;
    let opened = started.elapsed();
    runtime.block_on(async {
        for n in 0..RESUMED {
            match store.begin(&begin(&workflow, n.to_string(), false)).await? {
                Begun::Completed { .. } => {}
                other => return Err(Failure::from(format!("{other:?}"))),
            }
        }
        Ok(())
    })?;
    let taken = started.elapsed();
    for (what, time) in [("opening the file", opened), ("and replaying 1000 steps", taken)] {
        rows.push(Row {
            what: format!("resume: {what}"),
            value: time.as_secs_f64() * 1e3,
            unit: "ms",
            ratio: None,
        });
    }
    Ok(())
}

const VERSIONS: usize = 100_000;
const WORKFLOWS: usize = 100;

fn kept() -> Options {
    let ten = NonZeroU64::MIN.saturating_add(9);
    Options::new().retention(Retention { versions: ten, ..Retention::default() })
}

/// What the child does.
async fn fill(path: &Path) -> Result<(), Failure> {
    let store = kept().open(path)?;
    let lanes: Vec<_> = (0..WORKFLOWS)
        .map(|lane| {
            let store = store.clone();
            tokio::spawn(async move {
                let workflow = WorkflowId::new("bench", lane.to_string());
                for n in 0..VERSIONS / WORKFLOWS {
                    let append = buttress::store::Append {
                        workflow: workflow.clone(),
                        step: "state".into(),
                        claim: Claim::Shared,
                        expect: None,
                        parent: None,
                        fingerprint: Digest::default(),
                        entry: Entry::state(Payload {
                            codec: Payload::BYTES,
                            schema: 1,
                            bytes: vec![n as u8; 1024],
                        }),
                    };
                    store.append(append).await?;
                }
                Ok::<_, Failure>(())
            })
        })
        .collect();
    for lane in lanes {
        lane.await??;
    }
    println!("full");
    // Not closed: it is to be killed.
    std::future::pending().await
}

fn killed(runtime: &Runtime, directory: &Path, rows: &mut Vec<Row>) -> Result<(), Failure> {
    let path = directory.join("full.redb");
    let started = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--fill")
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let out = child.stdout.take().ok_or("no output")?;
    io::BufReader::new(out).read_line(&mut line)?;
    let taken = started.elapsed();
    child.kill()?;
    child.wait()?;
    let size = fs::metadata(&path)?.len();
    let started = Instant::now();
    let store = kept().open(&path)?;
    let reopened = started.elapsed();
    let workflows = runtime.block_on(store.list(None, None, usize::MAX))?;
    if workflows.iter().any(|summary| summary.latest != (VERSIONS / WORKFLOWS) as u64) {
        return Err("versions were lost".into());
    }
    for (what, value, unit) in [
        ("versions written", VERSIONS as f64 / taken.as_secs_f64(), "/s"),
        ("file", size as f64 / 1e6, "MB"),
        ("reopened after SIGKILL in", reopened.as_secs_f64() * 1e3, "ms"),
    ] {
        let what = format!("100000 versions, 100 workflows, keep 10: {what}");
        rows.push(Row { what, value, unit, ratio: None });
    }
    Ok(())
}
