//! Graphs whose results are kept.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
};

use buttress::{
    CheckpointLayer, Event, Fault, FromRejection, IntoCause, Name, Observe, Rejection, Teller,
    checkpoint::{Effects, Halt, fingerprint},
    store::{Journal, StepId},
};
use serde::{Serialize, de::DeserializeOwned};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    BoxNode, END, Flaw, Follow, Graph, GraphError, START,
    book::{Book, Opened, Started},
    fan::{Branch, Fan},
    node::{Broken, Mark, Member},
    outline::Outline,
    progress::{Context, News},
    service::{Kind, Node, caught},
    walk::Runner,
};

/// A graph whose results are kept: a service of [`Run`]s. Made by [`Graph::durable`].
///
/// # Clone
/// Clones are the same graph over the same journal.
pub struct DurableGraph<S, E> {
    runner: Runner<S, E>,
    settings: Arc<Settings>,
    /// How a run begins; as that of a graph without a store.
    start: fn(&Self, Run<S>) -> DurableFuture<S, E>,
}

struct Settings {
    journal: Journal,
    outline: Outline,
    schema: u32,
    follow: Arc<dyn Follow>,
    observe: Option<Arc<dyn Observe>>,
}

impl<S, E> Clone for DurableGraph<S, E> {
    fn clone(&self) -> Self {
        let Self { runner, settings, start } = self;
        Self { runner: runner.clone(), settings: settings.clone(), start: *start }
    }
}

/// A workflow to run, or to go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run<S> {
    /// The workflow, in the namespace of the journal.
    pub workflow: Arc<str>,
    /// What it begins with; `None` for what was recorded when it began.
    pub input: Option<S>,
}

impl<S> Run<S> {
    /// Runs a workflow, or goes on with it: with the same input, it is the same run.
    pub fn new(workflow: impl Into<Arc<str>>, input: S) -> Self {
        Self { workflow: workflow.into(), input: Some(input) }
    }

    /// Goes on with a workflow that was begun, or submitted, before.
    pub fn resume(workflow: impl Into<Arc<str>>) -> Self {
        Self { workflow: workflow.into(), input: None }
    }
}

impl<S, E> Graph<S, E>
where
    S: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    E: FromRejection + Fault + IntoCause + Send + 'static,
{
    /// Keeps the result of every node, so that a run goes on where it, or another process, had come to.
    ///
    /// See the [module](super#results-that-are-kept). A graph can be made durable over several journals:
    /// a worker has [one](crate::worker::Task::journal) for each workflow that it holds.
    ///
    /// # Errors
    /// [`Flaw::Undeclared`] for each node and branch that was not added with its effects.
    pub fn durable(&self, journal: impl Into<Journal>) -> Result<DurableGraph<S, E>, GraphError> {
        let settings = Settings {
            journal: journal.into(),
            outline: Outline::of(self.plan()),
            schema: self.shared().schema,
            follow: self.follower().clone(),
            observe: self.shared().observe.clone(),
        };
        let mut flaws = Vec::new();
        let runner = settings.keep(self, &mut flaws);
        if flaws.is_empty() {
            let settings = Arc::new(settings);
            Ok(DurableGraph { runner, settings, start: DurableGraph::start })
        } else {
            Err(GraphError::new(self.name().clone(), flaws))
        }
    }
}

impl Settings {
    /// The nodes of a graph, each with its checkpoint outside of all that it is wrapped in.
    fn keep<S, E>(&self, graph: &Graph<S, E>, flaws: &mut Vec<Flaw>) -> Runner<S, E>
    where
        S: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
        E: FromRejection + Fault + IntoCause + Send + 'static,
    {
        let mut members = Vec::new();
        for Node { name, kind, fold } in graph.nodes() {
            let fold = fold.as_ref();
            members.push(match kind {
                Kind::Single(effects, node) => {
                    let effects = declared(*effects, name, flaws);
                    self.checkpoint(name, effects, caught(fold, marked(node)))
                }
                // What is put together is kept too: it may have been made without some of the branches.
                Kind::Fan(branches, join) => {
                    let mut kept = Vec::new();
                    for Branch { name: branch, effects, service } in branches {
                        let path = Name::from(format!("{name}/{branch}"));
                        let effects = declared(*effects, &path, flaws);
                        let member = self.checkpoint(&path, effects, marked(service));
                        kept.push((branch.clone(), member));
                    }
                    let fan = Fan { branches: kept.into(), join: join.clone(), patient: true };
                    self.checkpoint(name, Effects::Idempotent, caught(fold, Member::new(fan)))
                }
                Kind::Nested(inner) => {
                    let inner = Member::new(self.keep(inner, flaws));
                    self.checkpoint(name, Effects::Idempotent, caught(fold, inner))
                }
            });
        }
        Runner { shared: graph.shared().clone(), members: members.into(), forgets: false }
    }

    fn checkpoint<S, E>(&self, name: &Name, effects: Effects, member: Member<S, E>) -> Member<S, E>
    where
        S: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
        E: Fault + Send + 'static,
    {
        let layer = CheckpointLayer::new(self.journal.clone(), effects);
        let mut layer = layer.schema(self.schema).name(name.clone());
        if let Some(observe) = self.observe.clone() {
            let observe = move |teller: Teller<'_>, event: &Event| observe.event(teller, event);
            layer = layer.observe(observe);
        }
        Member::new(layer.layer(member))
    }
}

fn marked<S, E>(node: &BoxNode<S, E>) -> Member<S, E>
where
    S: Send + 'static,
    E: Send + 'static,
{
    Member::new(Mark(node.clone()))
}

fn declared(effects: Option<Effects>, node: &Name, flaws: &mut Vec<Flaw>) -> Effects {
    effects.unwrap_or_else(|| {
        flaws.push(Flaw::Undeclared { node: node.clone() });
        Effects::Idempotent
    })
}

impl<S, E> DurableGraph<S, E>
where
    S: Serialize + DeserializeOwned + Send + Sync + 'static,
    E: FromRejection + Fault + IntoCause + Send + 'static,
{
    /// The journal that results are kept in.
    pub fn journal(&self) -> &Journal {
        &self.settings.journal
    }

    /// Records what a workflow is to begin with, for whoever [resumes](Run::resume) it: a worker, perhaps.
    ///
    /// Submitting the same once more is no error and changes nothing.
    ///
    /// # Errors
    /// [`Halt::Mismatch`] if the workflow exists with another input, and what the store says.
    pub async fn submit(&self, workflow: impl Into<Arc<str>>, input: S) -> Result<(), Halt> {
        let book = self.book(workflow.into());
        let of = fingerprint(&input);
        match book.open::<Started<S>>(START, of).await? {
            Opened::Written(_) => Ok(()),
            Opened::Fresh(ticket) => {
                book.write(&ticket, self.started(input), false).await.map(|_| ())
            }
        }
    }

    fn started(&self, input: S) -> Started<S> {
        Started { graph: self.settings.outline.clone(), input }
    }

    fn book(&self, workflow: Arc<str>) -> Book {
        let Settings { journal, schema, .. } = &*self.settings;
        let workflow = journal.workflow(workflow);
        Book { journal: journal.clone(), workflow, schema: *schema }
    }

    fn start(&self, run: Run<S>) -> DurableFuture<S, E> {
        let running = self.clone().run(run);
        DurableFuture(Box::pin(async { running.await.map_err(Broken::into_error) }))
    }

    async fn run(self, Run { workflow, input }: Run<S>) -> Result<S, Broken<E>> {
        let name = self.runner.shared.plan.name.clone();
        let halted = |halt| Broken::Halted(Rejection::halted(name.clone(), halt));
        let book = self.book(workflow.clone());
        let end = StepId::new(END);
        let journal = &self.settings.journal;
        let Ok(_place) = journal.enter(&book.workflow, &end) else {
            return Err(halted(Halt::InFlight { step: end }));
        };
        let known = input.is_some();
        let input = match input {
            Some(input) => input,
            None => book.started().await.map_err(&halted)?.input,
        };
        let of = fingerprint(&input);
        let follow = self.settings.follow.clone();
        let mut run = Context { graph: name.clone(), workflow, follow, trail: None };
        let result = match book.open(END, of).await.map_err(&halted)? {
            Opened::Written(result) => {
                run.tell(Some(&end), News::Replayed);
                return Ok(result);
            }
            Opened::Fresh(ticket) => ticket,
        };
        let (graph, input) = match book.open::<Started<S>>(START, of).await.map_err(&halted)? {
            Opened::Fresh(ticket) if known => {
                let started = book.write(&ticket, self.started(input), false);
                let Started { graph, input } = started.await.map_err(&halted)?;
                (Some(graph), input)
            }
            Opened::Written(Started { graph, .. }) => (Some(graph), input),
            Opened::Fresh(_) => (None, input),
        };
        let outline = &self.settings.outline;
        if let Some(begun) = graph.filter(|begun| begun != outline) {
            run.trail = book.trail([&begun, outline]).await.map_err(&halted)?.map(Arc::new);
        }
        let run = Arc::new(run);
        let state = self.runner.whole(run, input).await?;
        // Whoever keeps the lease has more to write.
        let ours = journal.lease().is_none();
        book.write(&result, state, ours).await.map_err(halted)
    }
}

impl<S, E> Service<Run<S>> for DurableGraph<S, E> {
    type Response = S;
    type Error = E;
    type Future = DurableFuture<S, E>;

    /// Ready at once: what was done is answered while nodes are down.
    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, run: Run<S>) -> DurableFuture<S, E> {
        (self.start)(self, run)
    }
}

/// The future of a [`DurableGraph`].
pub struct DurableFuture<S, E>(Pin<Box<dyn Future<Output = Result<S, E>> + Send>>);

impl<S, E> Future for DurableFuture<S, E> {
    type Output = Result<S, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<S, E> fmt::Debug for DurableGraph<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableGraph")
            .field("name", &self.runner.shared.plan.name)
            .field("journal", &self.settings.journal)
            .finish_non_exhaustive()
    }
}

impl<S, E> fmt::Debug for DurableFuture<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableFuture").finish_non_exhaustive()
    }
}
