//! Crash drills: a process that does steps with effects is killed, again and again, and the books are
//! compared: nothing that was acknowledged may be lost, and nothing be done twice.
//!
//! A batch of workflows is done by a child process against a tool in this one. The child dies by SIGKILL at
//! a named point, or at any time; another takes its place, until all is done. The tool counts what it was
//! asked and with which keys, and this process what it was told.

mod child;
mod engine;
mod point;
mod report;
mod tool;

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    fmt, io,
    net::SocketAddr,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    sync::{broadcast::error::RecvError, oneshot},
    time::sleep,
};

use self::{
    child::{Trade, Work, at_the_tool, work, workflow},
    point::{Fate, Point},
    tool::{Moment, Tool},
};
pub use self::{
    engine::SERVER,
    report::{json, table},
};
use crate::{run::Stop, store::At};

/// What is to be drilled.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many processes are to be killed, over all stores.
    pub kills: u64,
    /// Where all that is random comes from: where the processes die. When they are killed at any time, the
    /// time they take decides too.
    pub seed: u64,
    /// The stores that are written.
    pub stores: Vec<At>,
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

/// Holds a drill; `progress` is told how many have been killed.
pub async fn crash(
    settings: &Settings,
    stop: &Stop,
    mut progress: impl FnMut(u64),
) -> Result<Drilled, Box<dyn Error>> {
    let mut drilled = Drilled { seed: settings.seed, ..Drilled::default() };
    let mut random = StdRng::seed_from_u64(settings.seed);
    let stores = settings.stores.len() as u64;
    for (number, at) in settings.stores.iter().enumerate() {
        // What does not divide falls to the first.
        let share = settings.kills / stores + u64::from((number as u64) < settings.kills % stores);
        let before = drilled.total.kills;
        let mut tally = Tally::default();
        let mut batch = 0;
        while tally.kills < share && !stop.is_requested() {
            batch += 1;
            let name = format!("{}-{}-{batch}", settings.seed, at.engine());
            let deaths = DEATHS.min(share - tally.kills);
            let mut drill = Batch::new(at, name);
            drill.hold(deaths, &mut random, |kills| progress(before + tally.kills + kills)).await?;
            tally.add(&drill.settle().await?);
        }
        drilled.total.add(&tally);
        drilled.stores.insert(at.engine().to_owned(), tally);
    }
    drilled.interrupted = stop.is_requested();
    Ok(drilled)
}

/// What the child of a drill does: see [`crash`].
pub async fn obey(orders: &Orders) -> Result<(), Box<dyn Error + Send + Sync>> {
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

/// Some workflows, from their beginning to their end.
struct Batch<'a> {
    at: &'a At,
    name: String,
    tool: Tool,
    told: HashMap<String, Told>,
    tally: Tally,
}

/// What was acknowledged of a step.
#[derive(Clone, Copy, Debug)]
struct Told {
    receipt: u64,
    /// How many requests the tool had by then.
    requests: u64,
}

impl<'a> Batch<'a> {
    fn new(at: &'a At, name: String) -> Self {
        let steps = u64::from(WORKFLOWS * STEPS);
        let tally = Tally { steps, ..Tally::default() };
        Self { at, name, tool: Tool::new(), told: HashMap::new(), tally }
    }

    /// Lets processes work at it, and up to `deaths` of them die.
    async fn hold(
        &mut self,
        deaths: u64,
        random: &mut StdRng,
        mut progress: impl FnMut(u64),
    ) -> Result<(), Box<dyn Error>> {
        loop {
            let death = (self.tally.kills < deaths).then(|| Death::draw(self.at, random));
            if self.run(death).await? {
                return Ok(());
            }
            if let Some(death) = death {
                self.tally.kills += 1;
                *self.tally.points.entry(death.point.to_string()).or_default() += 1;
                progress(self.tally.kills);
            }
        }
    }

    /// Lets one process work; whether it came to the end.
    async fn run(&mut self, death: Option<Death>) -> Result<bool, Box<dyn Error>> {
        // A tool's server of its own for each process: when it has ended, no request is left on the way.
        let (end, ended) = oneshot::channel();
        let (at, serving) = self.tool.serve(ended).await?;
        let serving = tokio::spawn(serving);
        let mut child = self.spawn(at, death)?;
        let striking = strike(self.tool.clone(), death);
        let lines =
            child.stdout.take().ok_or_else(|| Failure("no pipe to the child".to_owned()))?;
        let mut lines = BufReader::new(lines).lines();
        let mut striking = std::pin::pin!(striking);
        let mut struck = false;
        loop {
            tokio::select! {
                biased;
                line = lines.next_line() => match line? {
                    Some(line) => self.hear(&line)?,
                    None => break,
                },
                () = &mut striking, if !struck => {
                    struck = true;
                    child.start_kill()?;
                }
            }
        }
        let status = child.wait().await?;
        let _ = end.send(());
        serving.await??;
        if status.success() {
            return Ok(true);
        }
        if status.code().is_none() && death.is_some() {
            return Ok(false);
        }
        let mut words = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut words).await?;
        }
        let words = words.trim();
        Err(Failure(format!("a process of the drill ended by itself, with {status}: {words}"))
            .into())
    }

    fn spawn(&self, tool: SocketAddr, death: Option<Death>) -> io::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["drill", "child"]);
        match self.at {
            At::File(path) => command.arg("--file").arg(path),
            // Others can read a command line, and a URL may have a password.
            At::Postgres(url) => command.env(SERVER, url),
        };
        command.args(["--tool", &tool.to_string(), "--batch", &self.name]);
        if let Some(Death { point, nth, .. }) = death
            && !point.at_the_tool()
        {
            command.args(["--die-at", point.as_str(), "--nth", &nth.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true).spawn()
    }

    /// Takes down what the child says.
    fn hear(&mut self, line: &str) -> Result<(), Failure> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["told", workflow, step, receipt] => {
                let (Ok(step), Ok(receipt)) = (step.parse(), receipt.parse()) else {
                    return Err(Failure(format!("a child said {line:?}")));
                };
                let step = at_the_tool(workflow, step);
                let requests = self.tool.asked(&step).requests;
                let told = Told { receipt, requests };
                match self.told.insert(step, told) {
                    None => self.tally.acknowledged += 1,
                    // Told again, from what was recorded: the same, and the tool was left alone.
                    Some(before) => {
                        let same = before.receipt == receipt && before.requests == requests;
                        self.tally.lost += u64::from(!same);
                    }
                }
                Ok(())
            }
            ["doubt", _, _] => {
                self.tally.in_doubt += 1;
                Ok(())
            }
            _ => Err(Failure(format!("a child said {line:?}"))),
        }
    }

    /// Compares the books when all is done.
    async fn settle(mut self) -> Result<Tally, Box<dyn Error>> {
        let store = engine::open(self.at, &Arc::new(Fate::new(None, 0))).await?;
        for number in 0..WORKFLOWS {
            let name = workflow(&self.name, number);
            let id = buttress::store::WorkflowId::new("drill", &*name);
            let summary = store.summary(&id).await?;
            self.tally.unresolved += summary.map_or(0, |summary| u64::from(summary.pending));
            for step in 0..STEPS {
                let step_there = at_the_tool(&name, step);
                let asked = self.tool.asked(&step_there);
                if !self.told.contains_key(&step_there) {
                    self.tally.unresolved += 1;
                }
                let wanted = u64::from(Trade::of(step) != Trade::Read);
                self.tally.duplicated_effects += asked.effects.saturating_sub(wanted);
                // One key for a step, whoever does it.
                self.tally.duplicated_effects += (asked.keys.len() as u64).saturating_sub(1);
                // An effect that was told of and never came is lost as well.
                self.tally.lost += wanted.saturating_sub(asked.effects);
            }
        }
        Ok(self.tally)
    }
}

/// How a process is to die.
#[derive(Clone, Copy, Debug)]
struct Death {
    point: Point,
    nth: u32,
    /// For one that may die at any time: when.
    after: Duration,
}

impl Death {
    fn draw(at: &At, random: &mut StdRng) -> Self {
        let points = engine::points(at);
        let point = points[random.random_range(0..points.len())];
        Self {
            point,
            // Not so late that most processes would come to the end before.
            nth: random.random_range(1..=WORKFLOWS * 2),
            after: Duration::from_millis(random.random_range(0..120)),
        }
    }
}

/// Ready when a process that does not kill itself is to be killed.
async fn strike(tool: Tool, death: Option<Death>) {
    let Some(Death { point, nth, after }) = death else { return std::future::pending().await };
    let wanted = match point {
        Point::Whenever => return sleep(after).await,
        Point::Asked => Moment::Asked,
        Point::Done => Moment::Done,
        _ => return std::future::pending().await,
    };
    let mut moments = tool.moments();
    let mut left = nth;
    loop {
        match moments.recv().await {
            Ok(moment) if moment == wanted => {
                left -= 1;
                if left == 0 {
                    return;
                }
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}
