//! What a durable step costs on PostgreSQL, beside its own commits, in one run on one server.
//!
//! Needs a server: `scripts/postgres run cargo run --release --package buttress-benches --bin durable_postgres`.
//! Subjects take turns, so that all suffer from the same disturbances; a row is the median. Throughputs
//! are over a fixed number of steps of workflows that run at once, each with a connection.

use std::{env, num::NonZeroUsize, sync::Arc};

use buttress::store::Store;
use buttress_benches::steps::{self, Alone, Failure, Format, Row, median, throughput};
use buttress_store::postgres::Options;
use clap::Parser;
use tokio::{task::JoinSet, time::Instant};
use tokio_postgres::{Client, NoTls, Statement};

/// Measures what durable steps cost on PostgreSQL, beside PostgreSQL itself.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server; BUTTRESS_POSTGRES by default.
    #[arg(long)]
    url: Option<String>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
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
        steps::print(&done?, arguments.format)
    })
}

async fn connect(url: &str) -> Result<Client, Failure> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn measure(url: &str, share: usize) -> Result<Vec<Row>, Failure> {
    let lanes = NonZeroUsize::MIN.saturating_add(15);
    let options = Options::new().schema(SCHEMA);
    let store = options.clone().pool_size(lanes).connect(url).await?;
    let store: Arc<dyn Store> = Arc::new(store);
    let mut rows = Vec::new();
    for size in [1 << 10, 64 << 10] {
        alone(url, &*store, size, 500 / share, &mut rows).await?;
    }
    for size in [1 << 10, 64 << 10] {
        for lanes in [1, 16] {
            together(url, &store, size, lanes, 1_600 / share, &mut rows).await?;
        }
    }
    steps::run(&*store).await?;
    let started = Instant::now();
    let store = options.connect(url).await?;
    rows.extend(steps::resume(&store, started).await?);
    Ok(rows)
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

/// One workflow, beside the engine's own commit.
async fn alone(
    url: &str,
    store: &dyn Store,
    size: usize,
    times: usize,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let raw = Raw::new(url).await?;
    let bytes = steps::noise(size);
    let (mut alone, mut trips) = (Alone::default(), Vec::new());
    for number in 0..times {
        let started = Instant::now();
        raw.client.simple_query("").await?;
        trips.push(started.elapsed());
        let started = Instant::now();
        raw.commit(&bytes).await?;
        alone.turn(started.elapsed(), store, number, &bytes).await?;
    }
    rows.push(Row::new("a round trip", median(trips), "us"));
    rows.extend(alone.rows(size, "PostgreSQL: INSERT and COMMIT"));
    Ok(())
}

/// Several workflows at once, beside as many connections that insert.
async fn together(
    url: &str,
    store: &Arc<dyn Store>,
    size: usize,
    lanes: usize,
    steps: usize,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let bytes: Arc<[u8]> = steps::noise(size).into();
    let each = steps.div_ceil(lanes).min(steps / 4);
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
    let what = format!("PostgreSQL: commits, {lanes} connections, {} KiB", size >> 10);
    rows.push(Row::new(what, raw, "/s"));
    for effect in [false, true] {
        let rate = steps::together(store, lanes, each, effect, &bytes).await?;
        let to = "as many connections that commit";
        rows.push(throughput(lanes, effect, &bytes, rate, raw, to));
    }
    Ok(())
}
