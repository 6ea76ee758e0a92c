//! Durable steps, and what they cost beside the commits of an engine: the same for every engine.

use std::{
    error::Error,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use buttress::store::{Begin, Begun, Claim, Digest, Entry, Payload, StepId, Store, WorkflowId};
use clap::ValueEnum;
use serde::Serialize;
use tokio::{task::JoinSet, time::Instant};

/// Why nothing could be measured.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How to print rows.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// For a terminal.
    Table,
    /// For programs.
    Json,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What.
    pub what: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// How it compares, and with what.
    pub ratio: Option<(f64, &'static str)>,
}

impl Row {
    /// A row that is compared with nothing.
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, ratio: None }
    }

    /// How it compares, and with what.
    #[must_use]
    pub fn beside(mut self, ratio: f64, what: &'static str) -> Self {
        self.ratio = Some((ratio, what));
        self
    }
}

/// Prints rows.
pub fn print(rows: &[Row], format: Format) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, rows)?;
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

/// The median, in microseconds.
pub fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

/// Bytes that do not compress: a server would write fewer than it is given.
pub fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..size).map(|_| next()).collect()
}

fn begin(workflow: &WorkflowId, number: usize, effect: bool) -> Begin {
    let claim = if effect {
        Claim::Take { owner: "bench".into(), ttl: Duration::from_secs(60) }
    } else {
        Claim::Shared
    };
    Begin {
        workflow: workflow.clone(),
        step: StepId::new(number.to_string()),
        fingerprint: Digest::default(),
        claim,
        intent: effect,
        restart: None,
        mark: None,
    }
}

/// Does a step: one commit, two if it has an effect.
pub async fn step(
    store: &dyn Store,
    workflow: &WorkflowId,
    number: usize,
    effect: bool,
    bytes: &[u8],
) -> Result<(), Failure> {
    let Begun::Fresh(ticket) = store.begin(&begin(workflow, number, effect)).await? else {
        return Err("the step is not new".into());
    };
    let payload = Payload { codec: Payload::BYTES, schema: 1, bytes: bytes.to_vec() };
    store.complete(&ticket, Entry::done(payload)).await?;
    Ok(())
}

/// Asks for a step that was done.
pub async fn replay(
    store: &dyn Store,
    workflow: &WorkflowId,
    number: usize,
    effect: bool,
) -> Result<(), Failure> {
    match store.begin(&begin(workflow, number, effect)).await? {
        Begun::Completed { .. } => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// What steps of one workflow took, one after the other.
#[derive(Debug, Default)]
pub struct Alone {
    raws: Vec<Duration>,
    ones: Vec<Duration>,
    twos: Vec<Duration>,
    replays: Vec<Duration>,
}

impl Alone {
    /// Takes down a commit of the engine itself, and does a step of each kind after it.
    pub async fn turn(
        &mut self,
        raw: Duration,
        store: &dyn Store,
        number: usize,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let name = |kind: &str| WorkflowId::new("bench", format!("{kind}-{}", bytes.len()));
        let (once, twice) = (name("once"), name("twice"));
        self.raws.push(raw);
        let started = Instant::now();
        step(store, &once, number, false, bytes).await?;
        self.ones.push(started.elapsed());
        let started = Instant::now();
        step(store, &twice, number, true, bytes).await?;
        self.twos.push(started.elapsed());
        let started = Instant::now();
        replay(store, &twice, number / 2, true).await?;
        self.replays.push(started.elapsed());
        Ok(())
    }

    /// What came of it, for payloads of `size` bytes; `raw` is what a commit of the engine is called.
    pub fn rows(self, size: usize, raw: &'static str) -> [Row; 4] {
        let row = |what: &str, value| Row::new(format!("{what}, {} KiB", size >> 10), value, "us");
        let [raws, one, two, replays] = [self.raws, self.ones, self.twos, self.replays].map(median);
        [
            row(raw, raws),
            row("step without effect: one commit", one).beside(one / raws, raw),
            row("step with effect: two commits", two).beside(two / raws / 2.0, raw),
            row("replay of a step that was done", replays),
        ]
    }
}

/// How many steps of so many workflows at once are done in a second.
pub async fn together(
    store: &Arc<dyn Store>,
    lanes: usize,
    each: usize,
    effect: bool,
    bytes: &Arc<[u8]>,
) -> Result<f64, Failure> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for lane in 0..lanes {
        let (store, bytes) = (store.clone(), bytes.clone());
        let name = format!("{}-{lanes}-{effect}-{lane}", bytes.len());
        let workflow = WorkflowId::new("bench", name);
        tasks.spawn(async move {
            for number in 0..each {
                step(&store, &workflow, number, effect, &bytes).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok((lanes * each) as f64 / started.elapsed().as_secs_f64())
}

/// The row of that, beside `naive` commits of the engine in a second.
pub fn throughput(
    lanes: usize,
    effect: bool,
    bytes: &[u8],
    rate: f64,
    naive: f64,
    raw: &'static str,
) -> Row {
    let (what, commits) = if effect { ("with effect", 2.0) } else { ("without effect", 1.0) };
    let what = format!("steps {what}, {lanes} workflows, {} KiB", bytes.len() >> 10);
    Row::new(what, rate, "/s").beside(rate * commits / naive, raw)
}

const RESUMED: usize = 1_000;

fn long() -> WorkflowId {
    WorkflowId::new("bench", "long")
}

/// Does a workflow of a thousand steps.
pub async fn run(store: &dyn Store) -> Result<(), Failure> {
    for number in 0..RESUMED {
        step(store, &long(), number, false, &[7; 1024]).await?;
    }
    Ok(())
}

/// Takes it up again in a store that was opened at `started`, as another process does.
pub async fn resume(store: &dyn Store, started: Instant) -> Result<[Row; 2], Failure> {
    let opened = started.elapsed();
    for number in 0..RESUMED {
        replay(store, &long(), number, false).await?;
    }
    let row = |what, time: Duration| Row::new(what, time.as_secs_f64() * 1e3, "ms");
    Ok([row("resume: opening", opened), row("resume: and replaying 1000 steps", started.elapsed())])
}
