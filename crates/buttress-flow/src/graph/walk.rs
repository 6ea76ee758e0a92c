//! A run: node after node, in the task of the caller.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
};

use buttress::{
    Cause, Effect, Fault, FromRejection, IntoCause, Name, Observe, Verdict, store::StepId,
};
use pin_project::pin_project;
use tokio::time::Instant;
use tower::util::Oneshot;
use tower_service::Service;

use super::{
    RunError,
    cursor::{Bounds, Cursor, Next},
    node::{Broken, Member, Visit},
    plan::{Exit, Plan, Target},
    progress::{Context, News, Presence},
};

/// Which of the labelled edges out of a node, by its place among them; or a label that none has.
pub(super) type Choose<S> = Arc<dyn Fn(&S) -> Result<usize, String> + Send + Sync>;

/// All that a run needs of a graph.
pub(super) struct Runner<S, E> {
    pub(super) shared: Arc<Shared<S>>,
    /// One for each node.
    pub(super) members: Arc<[Member<S, E>]>,
    /// Whether what was done before a failure is done again after it.
    pub(super) forgets: bool,
}

/// What does not depend on where results are kept.
pub(super) struct Shared<S> {
    pub(super) plan: Arc<Plan>,
    /// One for each node; for those whose edges depend on the state.
    pub(super) chooses: Vec<Option<Choose<S>>>,
    pub(super) bounds: Bounds,
    /// The version of the state's type.
    pub(super) schema: u32,
    /// Who listens to checkpoints, if not `tracing`.
    pub(super) observe: Option<Arc<dyn Observe>>,
}

impl<S, E> Clone for Runner<S, E> {
    fn clone(&self) -> Self {
        let Self { shared, members, forgets } = self;
        Self { shared: shared.clone(), members: members.clone(), forgets: *forgets }
    }
}

impl<S, E> Runner<S, E> {
    /// A run of the whole, whose steps are named after their nodes.
    pub(super) fn whole(&self, run: Arc<Context>, state: S) -> Walk<S, E> {
        self.walk(run, "".into(), state, true)
    }

    fn walk(&self, run: Arc<Context>, prefix: Arc<str>, state: S, whole: bool) -> Walk<S, E> {
        let plan = &self.shared.plan;
        Walk {
            runner: self.clone(),
            run,
            prefix,
            cursor: Cursor::new(plan),
            since: whole.then_some(Since::NotYet),
            stage: Stage::Between { to: Target::Node(plan.start), state: Some(state) },
        }
    }

    fn node(&self, node: usize) -> Name {
        self.shared.plan.label(Target::Node(node))
    }
}

/// A graph as a node of another: its steps are named after its visit.
impl<S, E> Service<Visit<S>> for Runner<S, E>
where
    E: FromRejection + Fault + IntoCause,
{
    type Response = S;
    type Error = Broken<E>;
    type Future = Walk<S, E>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Broken<E>>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, visit: Visit<S>) -> Walk<S, E> {
        visit.enter();
        let run = Context {
            graph: self.shared.plan.name.clone(),
            workflow: visit.run.workflow.clone(),
            follow: visit.run.follow.clone(),
            trail: visit.run.trail.clone(),
        };
        let prefix = format!("{}/", visit.step).into();
        self.walk(Arc::new(run), prefix, visit.state, false)
    }
}

/// A run under way.
#[pin_project]
pub(super) struct Walk<S, E> {
    runner: Runner<S, E>,
    run: Arc<Context>,
    /// What stands before the names of the nodes.
    prefix: Arc<str>,
    cursor: Cursor,
    /// When it began, if that is told.
    since: Option<Since>,
    #[pin]
    stage: Stage<S, E>,
}

enum Since {
    NotYet,
    At(Instant),
}

#[pin_project(project = StageProj)]
enum Stage<S, E> {
    /// Where to go next.
    Between {
        to: Target,
        state: Option<S>,
    },
    /// A node is at work.
    Visiting {
        node: usize,
        presence: Presence,
        #[pin]
        future: Oneshot<Member<S, E>, Visit<S>>,
    },
    Done,
}

/// After so many visits in one poll others get a turn.
const BREATH: u32 = 32;

impl<S, E> Future for Walk<S, E>
where
    E: FromRejection + Fault + IntoCause,
{
    type Output = Result<S, Broken<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(since @ Since::NotYet) = this.since {
            *since = Since::At(Instant::now());
            this.run.tell(None, News::Started);
        }
        let start = this.cursor.steps();
        let mut halted = false;
        let outcome = loop {
            match this.stage.as_mut().project() {
                StageProj::Between { to, state } => {
                    if this.cursor.steps() - start >= BREATH {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    let next = this.cursor.follow(*to, this.runner.shared.bounds);
                    let Some(state) = state.take() else { return Poll::Pending };
                    match next {
                        Next::Visit { node, visit } => {
                            match depart(this.runner, this.run, this.prefix, node, visit, state) {
                                Some(Ok(stage)) => this.stage.set(stage),
                                Some(Err(error)) => {
                                    halted = true;
                                    break Err(error);
                                }
                                // There is a member for each node.
                                None => return Poll::Pending,
                            }
                        }
                        Next::End => {
                            let passed_by = this.run.passed_by(within(this.prefix));
                            halted = passed_by.is_some();
                            break passed_by.map_or(Ok(state), Err);
                        }
                        Next::TooOften { node, most } => {
                            let (graph, node) = (this.run.graph.clone(), this.runner.node(node));
                            break Err(RunError::TooOften { graph, node, most });
                        }
                        Next::TooMany { node, most } => {
                            let (graph, node) = (this.run.graph.clone(), this.runner.node(node));
                            break Err(RunError::TooMany { graph, node, most });
                        }
                    }
                }
                StageProj::Visiting { node, presence, future } => {
                    let Poll::Ready(outcome) = future.poll(cx) else { return Poll::Pending };
                    presence.end(outcome.as_ref().err().map(Fault::verdict));
                    let visit = presence.step().occurrence;
                    let arrived = match outcome {
                        Ok(state) => arrive(this.runner, this.run, presence.step(), *node, state),
                        Err(error) => {
                            halted = error.is_halted();
                            let repeats = this.runner.forgets && this.cursor.steps() > 1;
                            Err(failed(this.runner, this.run, *node, visit, repeats, error))
                        }
                    };
                    match arrived {
                        Ok(stage) => this.stage.set(stage),
                        Err(error) => break Err(error),
                    }
                }
                // Polled again after it was done, which no future owes an answer to.
                StageProj::Done => return Poll::Pending,
            }
        };
        this.stage.set(Stage::Done);
        if let Some(Since::At(since)) = this.since {
            let (after, steps) = (since.elapsed(), this.cursor.steps());
            let ended = outcome.is_ok();
            let news =
                if ended { News::Ended { after, steps } } else { News::Stopped { after, steps } };
            this.run.tell(None, news);
        }
        Poll::Ready(outcome.map_err(|error| Broken::of(error, halted)))
    }
}

/// The visit that steps of this prefix are part of.
fn within(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or_default()
}

/// Sets out for a node.
fn depart<S, E>(
    runner: &Runner<S, E>,
    run: &Arc<Context>,
    prefix: &str,
    node: usize,
    visit: u32,
    state: S,
) -> Option<Result<Stage<S, E>, RunError>> {
    let member = runner.members.get(node)?.clone();
    let step = StepId::new(format!("{prefix}{}", runner.node(node))).occurrence(visit);
    if !run.come_to(&step)
        && let Some(changed) = run.passed_by(within(prefix))
    {
        return Some(Err(changed));
    }
    let (visit, presence) = Visit::new(run.clone(), step, state);
    Some(Ok(Stage::Visiting { node, presence, future: Oneshot::new(member, visit) }))
}

/// Chooses the way out of a node.
fn arrive<S, E>(
    runner: &Runner<S, E>,
    run: &Context,
    step: &StepId,
    node: usize,
    state: S,
) -> Result<Stage<S, E>, RunError> {
    let Shared { plan, chooses, .. } = &*runner.shared;
    let no_way = |label| {
        let (graph, node) = (run.graph.clone(), runner.node(node));
        RunError::NoWay { graph, node, label }
    };
    let to = match (plan.exits.get(node), chooses.get(node)) {
        (Some(Exit::Always(to)), _) => *to,
        (Some(Exit::Labelled(ways)), Some(Some(choose))) => {
            let way = choose(&state).map_err(no_way)?;
            let Some((label, to)) = ways.get(way) else { return Err(no_way(way.to_string())) };
            run.tell(Some(step), News::Chose { label, to: plan.label(*to).as_str() });
            *to
        }
        // A graph without flaws has an edge out of every node.
        _ => Target::End,
    };
    Ok(Stage::Between { to, state: Some(state) })
}

fn failed<S, E>(
    runner: &Runner<S, E>,
    run: &Context,
    node: usize,
    visit: u32,
    repeats: bool,
    error: Broken<E>,
) -> RunError
where
    E: FromRejection + Fault + IntoCause,
{
    let mut verdict: Verdict = error.verdict();
    if repeats {
        // To run the graph again is to do again what was done before this node.
        verdict.effect = verdict.effect.max(Effect::Maybe);
    }
    let cause = Cause::new(runner.node(node), verdict, error.into_cause());
    RunError::Node { graph: run.graph.clone(), visit, cause }
}

impl<S, E> fmt::Debug for Walk<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = match &self.stage {
            Stage::Between { .. } => "between",
            Stage::Visiting { presence, .. } => &presence.step().name,
            Stage::Done => "done",
        };
        f.debug_struct("Walk")
            .field("run", &self.run)
            .field("at", &at)
            .field("steps", &self.cursor.steps())
            .finish_non_exhaustive()
    }
}
