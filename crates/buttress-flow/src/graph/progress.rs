//! How a run tells how far it is.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buttress::{Name, Verdict, store::StepId};
use tokio::time::Instant;

use super::{RunError, outline::Trail};

/// Something that happened in a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress<'a> {
    /// The graph.
    pub graph: &'a str,
    /// The workflow that is run; empty where nothing is kept.
    pub workflow: &'a str,
    /// The node, with `/` before branches and the nodes of graphs within; empty for the run as a whole.
    pub node: &'a str,
    /// Which visit of it, from 1; 0 for the run as a whole.
    pub visit: u32,
    /// What happened.
    pub news: News<'a>,
}

/// What happened at a node, or to a run as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum News<'a> {
    /// The run began.
    Started,
    /// The node is called.
    Entered,
    /// The node answered.
    Left {
        /// How long it took.
        after: Duration,
    },
    /// The node was done in an earlier run, and is not called.
    Replayed,
    /// The node failed.
    Failed {
        /// How long it took.
        after: Duration,
        /// What its error means.
        verdict: Verdict,
    },
    /// The node failed, and that became part of the state.
    Caught {
        /// What its error means.
        verdict: Verdict,
    },
    /// The run was dropped while the node was at work.
    Abandoned {
        /// How long it had been.
        after: Duration,
    },
    /// An edge was chosen out of several.
    Chose {
        /// Its label.
        label: &'a str,
        /// Where it leads.
        to: &'a str,
    },
    /// The run came to its end.
    Ended {
        /// How long it took.
        after: Duration,
        /// How many nodes were visited, those that were replayed included.
        steps: u32,
    },
    /// The run failed.
    Stopped {
        /// How long it took.
        after: Duration,
        /// How many nodes were visited, those that were replayed included.
        steps: u32,
    },
}

/// Listens to the progress of runs.
///
/// Called on the path of the run, from any thread: be quick, and leave waiting to others. Closures
/// listen too.
///
/// ```
/// use buttress_flow::graph::{Follow, News, Progress};
///
/// fn follow() -> impl Follow {
///     |progress: &Progress<'_>| if let News::Left { after } = progress.news {
///         println!("{} took {after:?}", progress.node);
///     }
/// }
/// # follow();
/// ```
pub trait Follow: Send + Sync {
    /// Takes note of what happened.
    fn progress(&self, progress: &Progress<'_>);
}

impl<F: Fn(&Progress<'_>) + Send + Sync> Follow for F {
    fn progress(&self, progress: &Progress<'_>) {
        self(progress);
    }
}

/// Writes progress to `tracing`: the default.
///
/// Target `buttress`, fields `pattern` (`graph`), `name`, `workflow`, `node`, `visit`, `event` and, where they
/// apply, `after` (seconds), `kind`, `label`, `to`, `steps`. All are debug events: whoever failed is
/// told to the caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracing;

impl Follow for Tracing {
    fn progress(&self, progress: &Progress<'_>) {
        let &Progress { graph: name, workflow, node, visit, news } = progress;
        macro_rules! tell {
            ($what:expr $(, $field:ident = $value:expr)*) => {
                tracing::debug!(
                    target: "buttress", pattern = "graph", name, workflow, node, visit,
                    event = $what $(, $field = $value)*
                )
            };
        }
        match news {
            News::Started => tell!("started"),
            News::Entered => tell!("entered"),
            News::Left { after } => tell!("left", after = after.as_secs_f64()),
            News::Replayed => tell!("replayed"),
            News::Failed { after, verdict } => {
                tell!("failed", after = after.as_secs_f64(), kind = verdict.kind.as_str());
            }
            News::Caught { verdict } => tell!("caught", kind = verdict.kind.as_str()),
            News::Abandoned { after } => tell!("abandoned", after = after.as_secs_f64()),
            News::Chose { label, to } => tell!("chose", label = label, to = to),
            News::Ended { after, steps } => {
                tell!("ended", after = after.as_secs_f64(), steps = steps);
            }
            News::Stopped { after, steps } => {
                tell!("stopped", after = after.as_secs_f64(), steps = steps);
            }
        }
    }
}

/// Which run it is, and who listens.
pub(super) struct Context {
    pub(super) graph: Name,
    pub(super) workflow: Arc<str>,
    pub(super) follow: Arc<dyn Follow>,
    /// What another graph has recorded of it.
    pub(super) trail: Option<Arc<Trail>>,
}

impl Context {
    /// Comes to a visit, and says whether another graph has recorded something of it.
    pub(super) fn come_to(&self, visit: &StepId) -> bool {
        self.trail.as_ref().is_some_and(|trail| trail.come_to(visit))
    }

    /// What is to be said if another graph has recorded something that this one does not come to.
    pub(super) fn passed_by(&self, within: &str) -> Option<RunError> {
        let step = self.trail.as_ref()?.passed_by(within)?;
        Some(RunError::Changed { graph: self.graph.clone(), step })
    }

    pub(super) fn tell(&self, step: Option<&StepId>, news: News<'_>) {
        self.follow.progress(&Progress {
            graph: self.graph.as_str(),
            workflow: &self.workflow,
            node: step.map_or("", |step| &step.name),
            visit: step.map_or(0, |step| step.occurrence),
            news,
        });
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.graph, self.workflow)
    }
}

/// Tells how one visit ends, or that it was dropped.
pub(super) struct Presence {
    run: Arc<Context>,
    step: StepId,
    since: Instant,
    /// Whether the node was called, and not answered for by the store.
    called: Arc<AtomicBool>,
    ended: bool,
}

impl Presence {
    pub(super) fn new(run: Arc<Context>, step: StepId, called: Arc<AtomicBool>) -> Self {
        Self { run, step, since: Instant::now(), called, ended: false }
    }

    pub(super) const fn step(&self) -> &StepId {
        &self.step
    }

    /// Tells how it ended; `None` for well.
    pub(super) fn end(&mut self, failure: Option<Verdict>) {
        self.ended = true;
        let after = self.since.elapsed();
        let news = match failure {
            Some(verdict) => News::Failed { after, verdict },
            None if self.called.load(Ordering::Relaxed) => News::Left { after },
            None => News::Replayed,
        };
        self.run.tell(Some(&self.step), news);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if !self.ended && self.called.load(Ordering::Relaxed) {
            let after = self.since.elapsed();
            self.run.tell(Some(&self.step), News::Abandoned { after });
        }
    }
}
