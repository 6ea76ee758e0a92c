//! What a durable step costs, beside the engine's own commit, in one run on one disk.
//!
//! Subjects take turns, so that all suffer from the same disturbances; a row is the median. Throughputs
//! are over a fixed number of steps of workflows that run at once.

use std::{
    fs,
    io::{self, BufRead as _, Write},
    num::NonZeroU64,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use buttress::store::{Claim, Digest, Entry, Payload, Retention, Store, WorkflowId};
use buttress_benches::steps::{self, Alone, Failure, Format, Row, median, throughput};
use buttress_store::{RedbStore, redb::Options};
use clap::Parser;
use redb::{Builder, Database, StorageBackend, TableDefinition, backends::FileBackend};
use tokio::{runtime::Runtime, time::Instant};

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
    /// Has every sync of steps and commits take so many milliseconds more, as on other disks.
    #[arg(long, default_value_t = 0)]
    sync: u64,
    /// Fills a store with versions until it is killed: what this program tells a child of its own.
    #[arg(long, hide = true)]
    fill: Option<PathBuf>,
}

const RAW: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("raw");

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
    if let Some(path) = arguments.fill {
        return runtime.block_on(fill(&path));
    }
    let directory = tempfile::tempdir_in(&arguments.directory)?;
    let disk = Disk { directory: directory.path(), sync: Duration::from_millis(arguments.sync) };
    let rows = measure(&runtime, disk, if arguments.quick { 10 } else { 1 })?;
    steps::print(&rows, arguments.format)
}

fn measure(runtime: &Runtime, disk: Disk<'_>, share: usize) -> Result<Vec<Row>, Failure> {
    let synced = median(sync(disk.directory, 400 / share)?) + disk.sync.as_secs_f64() * 1e6;
    let mut rows = vec![Row::new("sync of a file after 4 KiB", synced, "us")];
    for size in [1 << 10, 64 << 10] {
        alone(runtime, disk, size, 1_000 / share, &mut rows)?;
    }
    for size in [1 << 10, 64 << 10] {
        together(runtime, disk, size, 4_000 / share, &mut rows)?;
    }
    resume(runtime, disk.directory, &mut rows)?;
    killed(runtime, disk.directory, &mut rows)?;
    Ok(rows)
}

/// Where to write, and how much longer a sync takes there than it does.
#[derive(Clone, Copy)]
struct Disk<'a> {
    directory: &'a Path,
    sync: Duration,
}

impl Disk<'_> {
    fn file(self, name: &str) -> Result<Synced, Failure> {
        let mut options = fs::OpenOptions::new();
        let file =
            options.read(true).write(true).create_new(true).open(self.directory.join(name))?;
        Ok(Synced { file: FileBackend::new(file)?, sync: self.sync })
    }

    fn store(self, name: &str) -> Result<RedbStore, Failure> {
        Ok(Options::new().open_backend(self.file(name)?)?)
    }
}

#[derive(Debug)]
struct Synced {
    file: FileBackend,
    sync: Duration,
}

impl StorageBackend for Synced {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    #[expect(clippy::disallowed_methods, reason = "it stands for the time that a disk takes")]
    fn sync_data(&self) -> io::Result<()> {
        if !self.sync.is_zero() {
            std::thread::sleep(self.sync);
        }
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
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
    fn new(file: Synced) -> Result<Self, Failure> {
        Ok(Self { database: Builder::new().create_with_backend(file)?, next: 0 })
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

/// One workflow, beside the engine's own commit.
fn alone(
    runtime: &Runtime,
    disk: Disk<'_>,
    size: usize,
    times: usize,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let store = disk.store(&format!("alone-{size}.redb"))?;
    let mut raw = Raw::new(disk.file(&format!("alone-raw-{size}.redb"))?)?;
    let bytes = steps::noise(size);
    let mut alone = Alone::default();
    for number in 0..times {
        let started = Instant::now();
        raw.commit(&bytes)?;
        runtime.block_on(alone.turn(started.elapsed(), &store, number, &bytes))?;
    }
    rows.extend(alone.rows(size, "redb: one commit"));
    Ok(())
}

/// Several workflows at once, beside one commit each.
fn together(
    runtime: &Runtime,
    disk: Disk<'_>,
    size: usize,
    steps: usize,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let bytes: Arc<[u8]> = steps::noise(size).into();
    let mut raw = Raw::new(disk.file(&format!("together-raw-{size}.redb"))?)?;
    let started = Instant::now();
    let naive = steps / 8;
    for _ in 0..naive {
        raw.commit(&bytes)?;
    }
    let naive = naive as f64 / started.elapsed().as_secs_f64();
    let to = "redb: a commit for each";
    rows.push(Row::new(format!("{to}, {} KiB", size >> 10), naive, "/s"));
    for lanes in [1, 16] {
        for effect in [false, true] {
            let name = format!("together-{size}-{lanes}-{effect}.redb");
            let store: Arc<dyn Store> = Arc::new(disk.store(&name)?);
            let each = if lanes == 1 { steps / 8 } else { steps / lanes };
            let rate = runtime.block_on(steps::together(&store, lanes, each, effect, &bytes))?;
            rows.push(throughput(lanes, effect, &bytes, rate, naive, to));
        }
    }
    Ok(())
}

/// A workflow of a thousand steps, taken up by another process.
fn resume(runtime: &Runtime, directory: &Path, rows: &mut Vec<Row>) -> Result<(), Failure> {
    let path = directory.join("resume.redb");
    let store = RedbStore::open(&path)?;
    runtime.block_on(steps::run(&store))?;
    drop(store);
    let started = Instant::now();
    let store = RedbStore::open(&path)?;
    rows.extend(runtime.block_on(steps::resume(&store, started))?);
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
        rows.push(Row::new(what, value, unit));
    }
    Ok(())
}
