//! Makes the requests of one arm.

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use buttress_sim::ToolRequest;
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tower::{Service, ServiceExt};

use super::Stop;
use crate::{
    meter::metered,
    plan::{Arrivals, Load},
    seed,
    series::Recorder,
    stack::{Stack, kind_of},
    stats::{Cost, Outcome, Sample},
};

/// How many requests may be under way: enough for any load that is not lost anyhow.
const MOST_IN_FLIGHT: usize = 100_000;

/// After how many requests progress is told.
const STRIDE: u64 = 500;

/// What one arm is asked to do.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) stack: Stack,
    pub(super) load: Load,
    pub(super) requests: u64,
    /// For how long requests are made.
    pub(super) duration: Option<Duration>,
    pub(super) seed: u64,
    pub(super) patience: Duration,
    /// How far apart the first requests of a concurrency begin.
    pub(super) stagger: Duration,
    /// From when on requests are measured apart, too.
    pub(super) after: Option<Duration>,
    pub(super) recorder: Option<Recorder>,
}

/// What was measured of the requests of an arm.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) all: Sample,
    /// Those that began after a certain time.
    pub(super) later: Sample,
}

/// Makes the requests and measures them, until all are done or a stop is requested.
pub(super) async fn drive(task: Task, stop: &Stop, told: &mut dyn FnMut(u64)) -> Samples {
    let stopped = pin!(stop.requested());
    let (start, samples) = (Instant::now(), Samples::default());
    let mut run = Run { task, start, running: JoinSet::new(), samples, told, stopped };
    let _ = match run.task.load {
        Load::Alone => run.closed(1).await,
        Load::Concurrency(most) => run.closed(most).await,
        Load::Rate { per_second, arrivals } => run.open(per_second, arrivals).await,
    };
    (run.told)(run.samples.all.requests());
    run.samples
}

struct Run<'a, S> {
    task: Task,
    start: Instant,
    running: JoinSet<Outcome>,
    samples: Samples,
    told: &'a mut dyn FnMut(u64),
    stopped: Pin<&'a mut S>,
}

/// A stop was requested.
struct Stopped;

impl<S: Future<Output = ()>> Run<'_, S> {
    /// The next request begins when one of `most` has ended.
    async fn closed(&mut self, most: usize) -> Result<(), Stopped> {
        for number in 0..self.task.requests {
            if !self.task.stagger.is_zero() && (1..most as u64).contains(&number) {
                self.wait_until(Instant::now() + self.task.stagger).await?;
            }
            while self.running.len() >= most {
                self.one_ends().await?;
            }
            let now = Instant::now();
            if self.is_over(now.saturating_duration_since(self.start)) {
                break;
            }
            self.begin(now);
        }
        self.all_end().await
    }

    /// Requests begin at their times. Latency counts from there even if the machine is late, or
    /// what is slow would be measured less often than what is fast.
    async fn open(&mut self, per_second: f64, arrivals: Arrivals) -> Result<(), Stopped> {
        let mut due = 0.0;
        for number in 0..self.task.requests {
            due += match arrivals {
                Arrivals::Fixed => 1.0,
                Arrivals::Poisson => -(1.0 - seed::unit(self.task.seed, number)).ln(),
            } / per_second;
            let due = Duration::from_secs_f64(due);
            if self.is_over(due) {
                break;
            }
            let at = self.start + due;
            self.wait_until(at).await?;
            if self.running.len() < MOST_IN_FLIGHT {
                self.begin(at);
            } else {
                self.offer(at);
                self.add(&unsent("overflow", due));
            }
        }
        self.all_end().await
    }

    /// Whether no request is made any more after so long.
    fn is_over(&self, elapsed: Duration) -> bool {
        self.task.duration.is_some_and(|duration| elapsed >= duration)
    }

    fn offer(&self, at: Instant) {
        if let Some(recorder) = &self.task.recorder {
            recorder.offered(at);
        }
    }

    fn begin(&mut self, at: Instant) {
        self.offer(at);
        let (stack, patience) = (self.task.stack.clone(), self.task.patience);
        let since_start = at.saturating_duration_since(self.start);
        self.running.spawn(async move {
            let (latency, failure, cost) = request(stack, at, patience).await;
            Outcome { at: since_start, latency, failure, cost }
        });
    }

    async fn wait_until(&mut self, at: Instant) -> Result<(), Stopped> {
        let mut arrival = pin!(sleep_until(at));
        loop {
            tokio::select! {
                biased;
                () = &mut self.stopped => return Err(Stopped),
                Some(ended) = self.running.join_next() => self.ended(ended),
                () = &mut arrival => return Ok(()),
            }
        }
    }

    async fn one_ends(&mut self) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = &mut self.stopped => Err(Stopped),
            Some(ended) = self.running.join_next() => {
                self.ended(ended);
                Ok(())
            }
            else => Ok(()),
        }
    }

    async fn all_end(&mut self) -> Result<(), Stopped> {
        while !self.running.is_empty() {
            self.one_ends().await?;
        }
        Ok(())
    }

    fn ended(&mut self, ended: Result<Outcome, JoinError>) {
        match ended {
            Ok(outcome) => self.add(&outcome),
            Err(_) => self.add(&unsent("panicked", self.start.elapsed())),
        }
    }

    fn add(&mut self, outcome: &Outcome) {
        if let Some(recorder) = &self.task.recorder {
            recorder.ended(self.start + outcome.at + outcome.latency, outcome.failure.is_none());
        }
        self.samples.all.add(outcome);
        if self.task.after.is_some_and(|after| outcome.at >= after) {
            self.samples.later.add(outcome);
        }
        let ended = self.samples.all.requests();
        if ended.is_multiple_of(STRIDE) {
            (self.told)(ended);
        }
    }
}

/// A request whose end nobody saw.
fn unsent(kind: &'static str, at: Duration) -> Outcome {
    Outcome { at, latency: Duration::ZERO, failure: Some(kind), cost: Cost::default() }
}

/// One request, from its intended start to whatever becomes of it.
async fn request(
    mut stack: Stack,
    at: Instant,
    patience: Duration,
) -> (Duration, Option<&'static str>, Cost) {
    let call = async { stack.ready().await?.call(ToolRequest::new(QUERY)).await };
    let (answer, cost) = metered(timeout(patience, call)).await;
    let failure = match answer {
        Ok(Ok(reply)) if reply.correct => None,
        Ok(Ok(_)) => Some("corrupt"),
        Ok(Err(error)) => Some(kind_of(&error)),
        Err(_) => Some("unanswered"),
    };
    (at.elapsed(), failure, cost)
}

/// What is asked in the documents.
const QUERY: &str = "user profile";
