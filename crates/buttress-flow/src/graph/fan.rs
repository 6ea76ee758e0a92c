//! Several branches at once, and their results put together.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
};

use buttress::{
    Cause, Causes, Fault, FromRejection, IntoCause, Name,
    checkpoint::{Effects, Step},
    store::StepId,
};
use tower::util::{BoxCloneSyncService, MapRequest, Oneshot};
use tower_service::Service;

use super::{
    BoxNode, RunError,
    node::{Broken, Member, Visit},
    progress::Presence,
};

/// Branches that all start from the same state, and the function that makes one state of theirs.
///
/// They run at once, in the task of the run. See [`Draft::fan_out`](super::Draft::fan_out).
///
/// ```
/// use buttress_flow::graph::{END, FanOut, Graph};
/// use tower::{BoxError, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let agent = |answer: &'static str| service_fn(move |mut state: Vec<String>| async move {
///     state.push(format!("{answer} for {}", state[0]));
///     Ok::<_, BoxError>(state)
/// });
/// let ask = FanOut::new(|task: Vec<String>, answers: Vec<Vec<String>>| {
///     task.into_iter().chain(answers.into_iter().flat_map(|answer| answer.into_iter().skip(1))).collect()
/// });
/// let graph = Graph::new("orchestrator")
///     .fan_out("ask", ask.node("weather", agent("sun")).node("news", agent("none")))
///     .edge("ask", END)
///     .build()
///     .unwrap();
/// let state = graph.oneshot(vec!["Rome".to_owned()]).await.unwrap();
/// assert_eq!(state, ["Rome", "sun for Rome", "none for Rome"]);
/// # }
/// ```
#[must_use = "it is added to a graph by `fan_out`"]
pub struct FanOut<S, E> {
    pub(super) branches: Vec<Branch<S, E>>,
    pub(super) join: Join<S, E>,
}

pub(super) struct Branch<S, E> {
    pub(super) name: Name,
    /// What it does to the world, if that was said.
    pub(super) effects: Option<Effects>,
    pub(super) service: BoxNode<S, E>,
}

/// How one state is made of those of the branches.
pub(super) enum Join<S, E> {
    /// All are needed.
    All(Arc<dyn Fn(S, Vec<S>) -> S + Send + Sync>),
    /// It looks at failures too.
    Settled(Arc<dyn Fn(S, Vec<Result<S, E>>) -> Result<S, E> + Send + Sync>),
}

impl<S, E> Clone for Join<S, E> {
    fn clone(&self) -> Self {
        match self {
            Self::All(join) => Self::All(join.clone()),
            Self::Settled(join) => Self::Settled(join.clone()),
        }
    }
}

impl<S, E> FanOut<S, E>
where
    S: Send + 'static,
    E: 'static,
{
    /// Needs the results of all branches: `join` gets the state before them, and theirs in the order
    /// in which they were added.
    ///
    /// When one fails the others are dropped, unless their results are kept: then they are let finish,
    /// and only what failed runs again.
    pub fn new(join: impl Fn(S, Vec<S>) -> S + Send + Sync + 'static) -> Self {
        Self { branches: Vec::new(), join: Join::All(Arc::new(join)) }
    }

    /// Makes do with what the branches come to: `join` gets their outcomes in the order in which
    /// they were added, failures included, and says what the whole comes to.
    pub fn settled(
        join: impl Fn(S, Vec<Result<S, E>>) -> Result<S, E> + Send + Sync + 'static,
    ) -> Self {
        Self { branches: Vec::new(), join: Join::Settled(Arc::new(join)) }
    }

    /// Adds a branch whose results are not kept.
    pub fn node<T>(self, name: impl Into<Name>, service: T) -> Self
    where
        T: Service<S, Response = S, Error = E, Future: Send> + Clone + Send + Sync + 'static,
    {
        self.add(name.into(), None, plain(service))
    }

    /// Adds a branch, and says what it does to the world.
    pub fn step<T>(self, name: impl Into<Name>, effects: Effects, service: T) -> Self
    where
        T: Service<S, Response = S, Error = E, Future: Send> + Clone + Send + Sync + 'static,
    {
        self.add(name.into(), Some(effects), plain(service))
    }

    /// Adds a branch that is told which step it is, and its idempotency key.
    pub fn keyed_step<T>(self, name: impl Into<Name>, effects: Effects, service: T) -> Self
    where
        T: Service<Step<S>, Response = S, Error = E, Future: Send> + Clone + Send + Sync + 'static,
    {
        self.add(name.into(), Some(effects), BoxNode::new(service))
    }

    fn add(mut self, name: Name, effects: Option<Effects>, service: BoxNode<S, E>) -> Self {
        self.branches.push(Branch { name, effects, service });
        self
    }
}

/// A service of the state alone.
pub(super) fn plain<S, E, T>(service: T) -> BoxNode<S, E>
where
    T: Service<S, Response = S, Error = E, Future: Send> + Clone + Send + Sync + 'static,
    S: Send + 'static,
    E: 'static,
{
    let alone: fn(Step<S>) -> S = Step::into_request;
    BoxCloneSyncService::new(MapRequest::new(service, alone))
}

/// The branches as one node.
pub(super) struct Fan<S, E> {
    pub(super) branches: Arc<[(Name, Member<S, E>)]>,
    pub(super) join: Join<S, E>,
    /// Whether the others go on when one has failed, since their results are kept.
    pub(super) patient: bool,
}

impl<S, E> Clone for Fan<S, E> {
    fn clone(&self) -> Self {
        let Self { branches, join, patient } = self;
        Self { branches: branches.clone(), join: join.clone(), patient: *patient }
    }
}

impl<S, E> Service<Visit<S>> for Fan<S, E>
where
    S: Clone,
    E: FromRejection + Fault + IntoCause,
{
    type Response = S;
    type Error = Broken<E>;
    type Future = FanFuture<S, E>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Broken<E>>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, visit: Visit<S>) -> FanFuture<S, E> {
        visit.enter();
        FanFuture { fan: self.clone(), visit: Some(visit), lanes: Vec::new() }
    }
}

/// The future of a fan-out: its branches are called when it is first polled.
pub(super) struct FanFuture<S, E> {
    fan: Fan<S, E>,
    /// Until they have all ended.
    visit: Option<Visit<S>>,
    lanes: Vec<Lane<S, E>>,
}

enum Lane<S, E> {
    Running(Pin<Box<Oneshot<Member<S, E>, Visit<S>>>>, Presence),
    Ended(Result<S, Broken<E>>),
}

// The futures are boxed, and nothing else is pinned.
impl<S, E> Unpin for FanFuture<S, E> {}

impl<S, E> Future for FanFuture<S, E>
where
    S: Clone,
    E: FromRejection + Fault + IntoCause,
{
    type Output = Result<S, Broken<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(visit) = &this.visit else { return Poll::Pending };
        if this.lanes.is_empty() {
            let lanes = this.fan.branches.iter();
            this.lanes = lanes.map(|(name, member)| start(visit, name, member)).collect();
            if let Some(changed) = visit.run.passed_by(&visit.step.to_string()) {
                (this.visit, this.lanes) = (None, Vec::new());
                return Poll::Ready(Err(Broken::of(changed, true)));
            }
        }
        let hasty = matches!(this.fan.join, Join::All(_)) && !this.fan.patient;
        let mut running = false;
        for lane in &mut this.lanes {
            let Lane::Running(future, presence) = lane else { continue };
            let Poll::Ready(outcome) = future.as_mut().poll(cx) else {
                running = true;
                continue;
            };
            presence.end(outcome.as_ref().err().map(Fault::verdict));
            let failed = outcome.is_err();
            *lane = Lane::Ended(outcome);
            if failed && hasty {
                running = false;
                break;
            }
        }
        if running {
            return Poll::Pending;
        }
        let Some(visit) = this.visit.take() else { return Poll::Pending };
        let lanes = std::mem::take(&mut this.lanes);
        let names = this.fan.branches.iter().map(|(name, _)| name);
        Poll::Ready(join(&this.fan.join, visit.state, names, lanes))
    }
}

fn start<S: Clone, E>(visit: &Visit<S>, name: &Name, member: &Member<S, E>) -> Lane<S, E> {
    let step = StepId::new(format!("{}/{name}", visit.step.name));
    let step = step.occurrence(visit.step.occurrence);
    visit.run.come_to(&step);
    let (visit, presence) = Visit::new(visit.run.clone(), step, visit.state.clone());
    Lane::Running(Box::pin(Oneshot::new(member.clone(), visit)), presence)
}

/// What the branches come to. Those that still run are dropped before anything is returned.
fn join<'a, S, E>(
    join: &Join<S, E>,
    state: S,
    names: impl Iterator<Item = &'a Name>,
    lanes: Vec<Lane<S, E>>,
) -> Result<S, Broken<E>>
where
    E: FromRejection + Fault + IntoCause,
{
    let ended = names.zip(lanes).filter_map(|(name, lane)| match lane {
        Lane::Ended(outcome) => Some((name, outcome)),
        Lane::Running(..) => None,
    });
    match join {
        Join::All(join) => {
            let (mut results, mut failures) = (Vec::new(), Vec::new());
            for (name, outcome) in ended {
                match outcome {
                    Ok(result) => results.push(result),
                    Err(error) => failures.push((name, error)),
                }
            }
            if failures.is_empty() { Ok(join(state, results)) } else { Err(failed(failures)) }
        }
        Join::Settled(join) => {
            let (mut outcomes, mut halted) = (Vec::new(), Vec::new());
            for (name, outcome) in ended {
                match outcome {
                    Ok(result) => outcomes.push(Ok(result)),
                    Err(Broken::Failed(error)) => outcomes.push(Err(error)),
                    // That a result cannot be kept is nothing to make do with.
                    Err(error @ Broken::Halted(_)) => halted.push((name, error)),
                }
            }
            if !halted.is_empty() {
                return Err(failed(halted));
            }
            join(state, outcomes).map_err(Broken::Failed)
        }
    }
}

fn failed<E>(failures: Vec<(&Name, Broken<E>)>) -> Broken<E>
where
    E: FromRejection + Fault + IntoCause,
{
    let halted = failures.iter().any(|(_, error)| error.is_halted());
    let cause = |(name, error): (&Name, Broken<E>)| {
        Cause::new(name.clone(), error.verdict(), error.into_cause())
    };
    let causes: Causes = failures.into_iter().map(cause).collect();
    Broken::of(RunError::Branches { causes }, halted)
}

impl<S, E> fmt::Debug for FanOut<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let branches = self.branches.iter().map(|branch| (&branch.name, &branch.effects));
        f.debug_map().entries(branches).finish()
    }
}
