//! Makes the requests of an experiment, and measures.

mod driver;
mod stop;

use std::{fmt, io, time::Duration};

use buttress_sim::{Tool, http::Server};
use tokio::{runtime, time::Instant};

use self::driver::{Samples, Task, drive};
pub use self::stop::Stop;
use crate::{
    meter::Meter,
    plan::{Arm, Load, Plan},
    seed,
    series::{Recorder, Series},
    stack::{self, Stack, Tools},
    stats::{Sample, Summary},
    wire::Wire,
};

/// How time passes, and what is between the stack and the tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum World {
    /// Waiting takes no time: the clock jumps to the next timer. Reproducible bit for bit.
    #[default]
    Virtual,
    /// Seconds are seconds.
    RealTime,
    /// Seconds are seconds, and the tool is called over HTTP on a loopback port.
    OverHttp,
}

impl World {
    /// When requests are made in this world.
    const fn load(self, planned: Load) -> Load {
        match (self, planned) {
            // One after another they would take a day.
            (Self::RealTime | Self::OverHttp, Load::Alone) => Load::Concurrency(AT_A_TIME),
            _ => planned,
        }
    }
}

impl World {
    /// How far apart the first requests of a concurrency begin.
    const fn stagger(self) -> Duration {
        match self {
            // Hundreds of connections at once overflow the listener's queue, and the kernel tries
            // again only after a second.
            Self::OverHttp => Duration::from_millis(2),
            Self::Virtual | Self::RealTime => Duration::ZERO,
        }
    }

    fn runtime(self) -> io::Result<runtime::Runtime> {
        let mut builder = runtime::Builder::new_current_thread();
        match self {
            // Without sockets: an idle runtime with a paused clock does not wait for them.
            Self::Virtual => builder.enable_time().start_paused(true),
            Self::RealTime | Self::OverHttp => builder.enable_all(),
        };
        builder.build()
    }
}

/// How many requests run at a time in real time, where the plan does not say.
pub const AT_A_TIME: usize = 100;

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Virtual => "virtual time",
            Self::RealTime => "real time",
            Self::OverHttp => "real time, over HTTP",
        })
    }
}

/// How an experiment is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Requests per arm.
    pub requests: u64,
    /// Where all randomness comes from.
    pub seed: u64,
    /// How time passes.
    pub world: World,
}

impl Settings {
    /// As the plan has it, in virtual time.
    pub const fn of(plan: &Plan) -> Self {
        Self { requests: plan.requests, seed: plan.seed, world: World::Virtual }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What the experiment is called.
    pub experiment: String,
    /// What it shows.
    pub description: String,
    /// How it was run.
    pub settings: Settings,
    /// From when on requests were measured apart, too, if they were.
    pub after: Option<Duration>,
    /// Whether it was ended early; the arms hold what was measured until then.
    pub interrupted: bool,
    /// The arms that were not begun before that.
    pub unreached: Vec<String>,
    /// The arms that were begun, in order.
    pub arms: Vec<MeasuredArm>,
}

/// What was measured of an arm.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredArm {
    /// What it is called.
    pub name: String,
    /// When its requests were made.
    pub load: Load,
    /// The numbers.
    pub numbers: Summary,
    /// Those of the requests that were made from a certain time on.
    pub later: Option<Later>,
    /// What happened when, if that was written down.
    pub series: Option<Series>,
}

/// What was measured of the requests that were made from a certain time on.
#[derive(Clone, Debug, PartialEq)]
pub struct Later {
    /// That time.
    pub from: Duration,
    /// When the last request was made.
    pub to: Duration,
    /// The numbers.
    pub numbers: Summary,
}

impl Later {
    fn of(from: Duration, sample: Sample) -> Self {
        Self { from, to: sample.last().max(from), numbers: sample.summary() }
    }

    /// Requests made per second.
    pub fn offered(&self) -> f64 {
        self.per_second(self.numbers.requests)
    }

    /// Requests answered rightly, per second in which requests were made.
    pub fn goodput(&self) -> f64 {
        self.per_second(self.numbers.successes)
    }

    fn per_second(&self, count: u64) -> f64 {
        let seconds = (self.to - self.from).as_secs_f64();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }
}

/// Is told how far an experiment has come.
pub trait Progress {
    /// An arm begins.
    fn arm(&mut self, name: &str);
    /// So many requests of the arm have ended.
    fn requests(&mut self, ended: u64);
}

/// Takes no notice.
impl Progress for () {
    fn arm(&mut self, _: &str) {}
    fn requests(&mut self, _: u64) {}
}

/// Runs an experiment, arm by arm.
///
/// # Errors
/// If a runtime, or over HTTP a server, cannot be had from the operating system.
pub fn run(
    plan: &Plan,
    settings: Settings,
    stop: &Stop,
    progress: &mut dyn Progress,
) -> io::Result<Measured> {
    let mut arms = Vec::new();
    for arm in &plan.arms {
        if stop.is_requested() {
            break;
        }
        progress.arm(&arm.name);
        let done = run_arm(plan, arm, settings, stop, &mut |ended| progress.requests(ended))?;
        arms.push(MeasuredArm {
            name: arm.name.clone(),
            load: settings.world.load(arm.load),
            numbers: done.samples.all.summary(),
            later: plan.after.map(|after| Later::of(after, done.samples.later)),
            series: done.series,
        });
    }
    let unreached = plan.arms.iter().skip(arms.len()).map(|arm| arm.name.clone()).collect();
    Ok(Measured {
        experiment: plan.name.clone(),
        description: plan.description.clone(),
        settings,
        after: plan.after,
        interrupted: stop.is_requested(),
        unreached,
        arms,
    })
}

/// How many requests of an arm are tried in virtual time to foretell how long all will take.
const TRIED: u64 = 2_000;

/// How long an experiment would take in real time.
///
/// # Errors
/// If a runtime cannot be had from the operating system.
pub fn foretell(plan: &Plan, settings: Settings) -> io::Result<Duration> {
    let requests = settings.requests.min(TRIED);
    let mut total = Duration::ZERO;
    for arm in &plan.arms {
        let arm = Arm { load: settings.world.load(arm.load), ..arm.clone() };
        let tried = Settings { requests, world: World::Virtual, ..settings };
        let done = run_arm(plan, &arm, tried, &Stop::new(), &mut |_| ())?;
        let all = done.took.mul_f64(settings.requests as f64 / requests.max(1) as f64);
        total += plan.duration.map_or(all, |most| all.min(most));
    }
    Ok(total)
}

/// An arm that was run.
struct Done {
    samples: Samples,
    series: Option<Series>,
    /// How long it took by the clock of its world.
    took: Duration,
}

/// Runs one arm in a world of its own.
fn run_arm(
    plan: &Plan,
    arm: &Arm,
    settings: Settings,
    stop: &Stop,
    told: &mut dyn FnMut(u64),
) -> io::Result<Done> {
    let Settings { requests, seed, world } = settings;
    let seed = seed::named(seed, &arm.name);
    let runtime = world.runtime()?;
    runtime.block_on(async {
        let recorder = plan.series.map(Recorder::start);
        let mut tools = Tools::new();
        for name in arm.tools() {
            let is_own = name == arm.tool;
            let seed =
                if is_own { seed::word(seed, 1) } else { seed::named(seed::word(seed, 4), name) };
            let tool = plan.tools.get(name).cloned().unwrap_or_default();
            let tool = tool.build(seed).name(name.to_owned());
            let recorder = recorder.clone().filter(|_| is_own);
            tools.insert(name.to_owned(), metered(world, tool, is_own, recorder).await?);
        }
        let stack = stack::build(arm, &tools, seed::word(seed, 2))?;
        let task = Task {
            stack,
            load: world.load(arm.load),
            requests,
            duration: plan.duration,
            seed: seed::word(seed, 3),
            patience: plan.patience,
            stagger: world.stagger(),
            after: plan.after,
            recorder: recorder.clone(),
        };
        let start = Instant::now();
        let samples = drive(task, stop, told).await;
        let series = recorder.map(|recorder| recorder.series());
        Ok(Done { samples, series, took: start.elapsed() })
    })
}

/// A tool whose calls are on the bill of the requests that make them; only those of the arm's own
/// tool are counted.
async fn metered(
    world: World,
    tool: Tool,
    is_own: bool,
    recorder: Option<Recorder>,
) -> io::Result<Stack> {
    Ok(match world {
        World::Virtual | World::RealTime => Stack::new(Meter::new(tool, is_own, recorder)),
        World::OverHttp => {
            let server = Server::on_loopback(tool, 0).await?;
            let address = server.addr()?;
            // It lives as long as the runtime, which is as long as the arm.
            tokio::spawn(server.run_until(std::future::pending::<()>()));
            Stack::new(Meter::new(Wire::to(address), is_own, recorder))
        }
    })
}
