//! Crash drills: a process that does steps with effects is killed, again and again, and the books are
//! compared: nothing that was acknowledged may be lost, and nothing be done twice.
//!
//! A batch of workflows is done by a child process against a tool in this one. The child dies by SIGKILL at
//! a named point, or at any time, or the database server does; another takes its place, until all is done. The
//! tool counts what it was asked and with which keys, and this process what it was told.

mod batch;
mod child;
mod cluster;
mod death;
mod engine;
mod point;
mod report;
mod tool;

use std::{collections::BTreeMap, error::Error, fmt, io, net::SocketAddr, sync::Arc, thread};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Serialize;

use self::{
    batch::Batch,
    child::{Work, work},
    point::{Fate, Point},
};
pub use self::{
    cluster::Cluster,
    engine::SERVER,
    report::{json, table},
};
use crate::{run::Stop, store::At};

/// What is to be drilled.
#[derive(Debug)]
pub struct Settings {
    /// How many processes are to be killed, over all stores.
    pub kills: u64,
    /// Where all that is random comes from: where the processes die. When they are killed at any time, the
    /// time they take decides too.
    pub seed: u64,
    /// The stores that are written.
    pub stores: Vec<At>,
    /// The server of the one on PostgreSQL, if it may be killed as well.
    pub cluster: Option<Cluster>,
}

/// Workflows of a batch, which one process does at once.
const WORKFLOWS: u32 = 4;
/// Steps of a workflow.
const STEPS: u32 = 8;
/// How many processes may die over one batch before one is left alone.
const DEATHS: u64 = 12;

/// What came of a drill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Processes killed.
    pub kills: u64,
    /// Outcomes that a process told after it was told itself.
    pub acknowledged: u64,
    /// Acknowledged outcomes that a later process did not find, or found to be others.
    pub lost: u64,
    /// Effects beyond the one that each step is to have.
    pub duplicated_effects: u64,
    /// Times that a step was found begun and without an outcome, and was refused as declared.
    pub in_doubt: u64,
    /// Steps without an outcome when all was done.
    pub unresolved: u64,
    /// Steps that were to be done.
    pub steps: u64,
    /// Processes killed at each point.
    pub points: BTreeMap<String, u64>,
    /// Every promise that was broken, in words.
    pub breaches: Vec<String>,
}

impl Tally {
    /// Whether every promise was kept.
    pub const fn is_well(&self) -> bool {
        self.lost == 0 && self.duplicated_effects == 0 && self.unresolved == 0
    }

    fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.duplicated_effects += other.duplicated_effects;
        self.in_doubt += other.in_doubt;
        self.unresolved += other.unresolved;
        self.steps += other.steps;
        for (point, kills) in &other.points {
            *self.points.entry(point.clone()).or_default() += kills;
        }
        self.breaches.extend_from_slice(&other.breaches);
    }
}

/// What came of a drill, for each store and together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drilled {
    /// Together.
    #[serde(flatten)]
    pub total: Tally,
    /// Where all that is random came from.
    pub seed: u64,
    /// Whether it was ended early.
    pub interrupted: bool,
    /// Why it could not go on to its end.
    pub failure: Option<String>,
    /// For each store, by the name of its engine.
    pub stores: BTreeMap<String, Tally>,
}

/// A drill that could not be held.
#[derive(Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}

impl Drilled {
    /// Whether the drill was held, and every promise kept.
    pub const fn is_well(&self) -> bool {
        self.total.is_well() && self.failure.is_none()
    }
}

/// Holds a drill; `progress` is told how many have been killed.
pub async fn crash(settings: &Settings, stop: &Stop, mut progress: impl FnMut(u64)) -> Drilled {
    let mut drilled = Drilled { seed: settings.seed, ..Drilled::default() };
    // On a server that was drilled before with the same seed, all would be done already.
    let mark = rand::rng().random::<u32>();
    let mut random = StdRng::seed_from_u64(settings.seed);
    let stores = settings.stores.len() as u64;
    for (number, at) in settings.stores.iter().enumerate() {
        // What does not divide falls to the first.
        let share = settings.kills / stores + u64::from((number as u64) < settings.kills % stores);
        let before = drilled.total.kills;
        let mut tally = Tally::default();
        let mut batches = 0;
        while tally.kills < share && !stop.is_requested() && drilled.failure.is_none() {
            batches += 1;
            let name = format!("{}-{mark:08x}-{batches}", settings.seed);
            let deaths = DEATHS.min(share - tally.kills);
            let cluster = settings.cluster.as_ref().filter(|_| matches!(at, At::Postgres(_)));
            let at = rolled(at, batches);
            let mut batch = Batch::new(&at, cluster, name);
            let killed = |kills| progress(before + tally.kills + kills);
            let held = match batch.hold(deaths, &mut random, stop, killed).await {
                Ok(()) => batch.settle().await,
                Err(error) => Err(error),
            };
            drilled.failure = held.err().map(|error| error.to_string());
            tally.add(&batch.tally);
        }
        drilled.total.add(&tally);
        drilled.stores.insert(at.engine().to_owned(), tally);
    }
    drilled.interrupted = stop.is_requested();
    drilled
}

/// The store of a batch: of files another every so often, since all of a file is checked whenever it is opened
/// after a kill.
fn rolled(at: &At, batch: u64) -> At {
    const BATCHES: u64 = 50;
    match at {
        At::File(path) => At::File(path.with_extension(format!("{}.redb", batch / BATCHES))),
        At::Postgres(_) => at.clone(),
    }
}

/// What the child of a drill does: see [`crash`].
pub async fn obey(orders: &Orders) -> Result<(), Box<dyn Error + Send + Sync>> {
    thread::Builder::new().spawn(|| {
        // Whoever gave the orders holds the other end; without them there is nobody to tell.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        point::die()
    })?;
    let fate = Arc::new(Fate::new(orders.point()?, orders.nth));
    let store = engine::open(&orders.at, &fate).await?;
    let Orders { tool, batch, .. } = orders;
    let work_of = Work { tool: *tool, batch: batch.clone(), workflows: WORKFLOWS, steps: STEPS };
    work(store, work_of, fate).await
}

/// What a child is told on its command line.
#[derive(Clone, Debug)]
pub struct Orders {
    /// The store to write.
    pub at: At,
    /// Where the tool is.
    pub tool: SocketAddr,
    /// The name of the batch.
    pub batch: String,
    /// Where to die, if not anywhere.
    pub die_at: Option<String>,
    /// At which time of coming there, from 1.
    pub nth: u32,
}

impl Orders {
    fn point(&self) -> Result<Option<Point>, Failure> {
        self.die_at.as_ref().map(|word| word.parse().map_err(Failure)).transpose()
    }
}
