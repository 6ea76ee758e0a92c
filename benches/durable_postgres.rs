//! What a durable step costs on PostgreSQL, beside its own commits, in one run on one server.
//!
//! Needs a server: `scripts/postgres run cargo run --release --package buttress-benches --bin durable_postgres`.
//! Subjects take turns, so that all suffer from the same disturbances; a row is the median. Throughputs
//! are over a fixed number of steps of workflows that run at once, each with a connection.

use std::{env, error::Error, num::NonZeroUsize, sync::Arc, time::Duration};

use buttress::store::{Begin, Begun, Claim, Digest, Entry, Payload, StepId, Store, WorkflowId};
use buttress_store::{PostgresStore, postgres::Options};
use clap::Parser;
use tokio::{task::JoinSet, time::Instant};
use tokio_postgres::{Client, NoTls, Statement};

type Failure = Box<dyn Error + Send + Sync>;

/// Measures what durable steps cost on PostgreSQL, beside PostgreSQL itself.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server; BUTTRESS_POSTGRES by default.
    #[arg(long)]
    url: Option<String>,
    /// Measures a tenth.
    #[arg(long)]
    quick: bool,
}

const SCHEMA: &str = "buttress_bench";

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let url = match arguments.url.or_else(|| env::var("BUTTRESS_POSTGRES").ok()) {
        Some(url) => url,
        None => return Err("give a server: scripts/postgres run .., or --url".into()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let admin = connect(&url).await?;
        admin.batch_execute(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")).await?;
        let done = measure(&url, if arguments.quick { 10 } else { 1 }).await;
        admin.batch_execute(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")).await?;
        done
    })
}

async fn connect(url: &str) -> Result<Client, Failure> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn measure(url: &str, share: usize) -> Result<(), Failure> {
    let lanes = NonZeroUsize::MIN.saturating_add(15);
    let store = Options::new().schema(SCHEMA).pool_size(lanes).connect(url).await?;
    for size in [1 << 10, 64 << 10] {
        alone(url, &store, size, 500 / share).await?;
    }
    for size in [1 << 10, 64 << 10] {
        for lanes in [1, 16] {
            together(url, &store, size, lanes, 1_600 / share).await?;
        }
    }
    resume(url).await
}

/// The engine by itself: a connection that inserts a row, and commits.
struct Raw {
    client: Client,
    insert: Statement,
}

impl Raw {
    async fn new(url: &str) -> Result<Self, Failure> {
        let client = connect(url).await?;
        let table = format!(
            "CREATE TABLE IF NOT EXISTS {SCHEMA}.raw (n bigserial PRIMARY KEY, bytes bytea)"
        );
        client.batch_execute(&table).await?;
        let insert =
            client.prepare(&format!("INSERT INTO {SCHEMA}.raw (bytes) VALUES ($1)")).await?;
        Ok(Self { client, insert })
    }

    async fn commit(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.client.execute(&self.insert, &[&bytes]).await?;
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
    store: &PostgresStore,
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

/// Bytes that do not compress: the server would write fewer than it is given.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..size).map(|_| next()).collect()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

fn row(what: &str, value: f64, unit: &str, ratio: Option<(f64, &str)>) {
    let ratio = ratio.map_or(String::new(), |(ratio, to)| format!("{ratio:>8.2} x {to}"));
    println!("{what:<48} {value:>10.1} {unit:<4}{ratio}");
}

/// One workflow, beside the engine's own commit.
async fn alone(url: &str, store: &PostgresStore, size: usize, times: usize) -> Result<(), Failure> {
    let raw = Raw::new(url).await?;
    let bytes = noise(size);
    let kib = size >> 10;
    let once = WorkflowId::new("bench", format!("once-{size}"));
    let twice = WorkflowId::new("bench", format!("twice-{size}"));
    let (mut trips, mut raws, mut ones, mut twos, mut replays) =
        (vec![], vec![], vec![], vec![], vec![]);
    for n in 0..times {
        let started = Instant::now();
        raw.client.simple_query("").await?;
        trips.push(started.elapsed());
        let started = Instant::now();
        raw.commit(&bytes).await?;
        raws.push(started.elapsed());
        let started = Instant::now();
        step(store, &once, n.to_string(), false, &bytes).await?;
        ones.push(started.elapsed());
        let started = Instant::now();
        step(store, &twice, n.to_string(), true, &bytes).await?;
        twos.push(started.elapsed());
        let again = begin(&twice, (n / 2).to_string(), true);
        let started = Instant::now();
        let begun = store.begin(&again).await?;
        replays.push(started.elapsed());
        let Begun::Completed { .. } = begun else { return Err(format!("{begun:?}").into()) };
    }
    let (raw, one, two) = (median(raws), median(ones), median(twos));
    row("a round trip", median(trips), "us", None);
    row(&format!("PostgreSQL: INSERT and COMMIT, {kib} KiB"), raw, "us", None);
    let to = "PostgreSQL, a commit";
    row(&format!("step without effect: one commit, {kib} KiB"), one, "us", Some((one / raw, to)));
    row(
        &format!("step with effect: two commits, {kib} KiB"),
        two,
        "us",
        Some((two / raw / 2.0, to)),
    );
    row(&format!("replay of a step that was done, {kib} KiB"), median(replays), "us", None);
    Ok(())
}

/// Several workflows at once, beside as many connections that insert.
async fn together(
    url: &str,
    store: &PostgresStore,
    size: usize,
    lanes: usize,
    steps: usize,
) -> Result<(), Failure> {
    let bytes: Arc<[u8]> = noise(size).into();
    let (kib, each) = (size >> 10, steps.div_ceil(lanes).min(steps / 4));
    let mut connections = Vec::new();
    for _ in 0..lanes {
        connections.push(Raw::new(url).await?);
    }
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for raw in connections {
        let bytes = bytes.clone();
        tasks.spawn(async move {
            for _ in 0..each {
                raw.commit(&bytes).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    let raw = (lanes * each) as f64 / started.elapsed().as_secs_f64();
    row(&format!("PostgreSQL: commits, {lanes} connections, {kib} KiB"), raw, "/s", None);
    for effect in [false, true] {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for lane in 0..lanes {
            let (store, bytes) = (store.clone(), bytes.clone());
            let workflow = WorkflowId::new("bench", format!("{size}-{lanes}-{effect}-{lane}"));
            tasks.spawn(async move {
                for n in 0..each {
                    step(&store, &workflow, n.to_string(), effect, &bytes).await?;
                }
                Ok::<_, Failure>(())
            });
        }
        while let Some(task) = tasks.join_next().await {
            task??;
        }
        let rate = (lanes * each) as f64 / started.elapsed().as_secs_f64();
        let commits = if effect { 2.0 } else { 1.0 };
        let what = if effect { "with effect" } else { "without effect" };
        row(
            &format!("steps {what}, {lanes} workflows, {kib} KiB"),
            rate,
            "/s",
            Some((raw / (rate * commits), "PostgreSQL, a commit")),
        );
    }
    Ok(())
}

const RESUMED: usize = 1_000;

/// A workflow of a thousand steps, taken up by another process.
async fn resume(url: &str) -> Result<(), Failure> {
    let workflow = WorkflowId::new("bench", "long");
    let options = Options::new().schema(SCHEMA);
    let store = options.clone().connect(url).await?;
    for n in 0..RESUMED {
        step(&store, &workflow, n.to_string(), false, &[7; 1024]).await?;
    }
    drop(store);
    let started = Instant::now();
    let store = options.connect(url).await?;
    row("resume: connecting", started.elapsed().as_secs_f64() * 1e3, "ms", None);
    for n in 0..RESUMED {
        let begun = store.begin(&begin(&workflow, n.to_string(), false)).await?;
        let Begun::Completed { .. } = begun else { return Err(format!("{begun:?}").into()) };
    }
    row("resume: and replaying 1000 steps", started.elapsed().as_secs_f64() * 1e3, "ms", None);
    Ok(())
}
