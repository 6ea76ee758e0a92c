use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
};

use buttress::{Fault, FromRejection, IntoCause, Name, checkpoint::Effects};
use tower_service::Service;

use super::{
    BoxNode, Draft, Follow,
    fan::{Branch, Fan, Join},
    mermaid,
    node::{Broken, Catch, Fold, Mark, Member},
    plan::Plan,
    progress::Context,
    walk::{Runner, Shared},
};

/// A workflow as a service of its state. See the [module](super).
pub struct Graph<S, E> {
    inner: Arc<Inner<S, E>>,
}

struct Inner<S, E> {
    nodes: Vec<Node<S, E>>,
    /// Without a store.
    runner: Runner<S, E>,
    follow: Arc<dyn Follow>,
    /// How a run begins. With what is asked of errors settled here, the service need not ask for it: where a graph
    /// is called in a block that is spawned, the compiler would not find it for boxed ones
    /// (<https://github.com/rust-lang/rust/issues/110338>).
    start: fn(&Graph<S, E>, S) -> RunFuture<S, E>,
}

/// A node, before it is known whether its results are kept.
pub(super) struct Node<S, E> {
    pub(super) name: Name,
    pub(super) kind: Kind<S, E>,
    pub(super) fold: Option<Fold<S, E>>,
}

pub(super) enum Kind<S, E> {
    Single(Option<Effects>, BoxNode<S, E>),
    Fan(Vec<Branch<S, E>>, Join<S, E>),
    Nested(Graph<S, E>),
}

impl<S, E> Graph<S, E>
where
    S: Send + 'static,
    E: FromRejection + Fault + IntoCause + Send + 'static,
{
    /// Begins a graph. The name is told in errors and events.
    #[expect(clippy::new_ret_no_self, reason = "a graph is made by `build`, after it was checked")]
    pub fn new(name: impl Into<Name>) -> Draft<S, E> {
        Draft::new(name.into())
    }
}

impl<S, E> Graph<S, E> {
    /// The name.
    pub fn name(&self) -> &Name {
        &self.plan().name
    }

    /// The graph as a [Mermaid](https://mermaid.js.org) flowchart, as GitHub and many others draw it.
    ///
    /// Edges that depend on the state carry their labels; fan-outs and graphs within are boxes around
    /// what they are made of, from the name to a small circle.
    ///
    /// ```
    /// use buttress_flow::graph::{END, Graph};
    /// use tower::{BoxError, service_fn};
    ///
    /// let graph = Graph::new("one")
    ///     .node("only", service_fn(async |n: u32| Ok::<_, BoxError>(n)))
    ///     .route("only", |n: &u32| *n > 9, [(true, END), (false, "only")])
    ///     .build()
    ///     .unwrap();
    /// assert_eq!(graph.to_mermaid(), r#"flowchart TD
    ///     start((start))
    ///     stop((end))
    ///     n0["only"]
    ///     start --> n0
    ///     n0 -- "true" --> stop
    ///     n0 -- "false" --> n0
    /// "#);
    /// ```
    pub fn to_mermaid(&self) -> String {
        mermaid::draw(self.plan())
    }

    pub(super) fn plan(&self) -> &Arc<Plan> {
        &self.inner.runner.shared.plan
    }

    pub(super) fn nodes(&self) -> &[Node<S, E>] {
        &self.inner.nodes
    }

    pub(super) fn shared(&self) -> &Arc<Shared<S>> {
        &self.inner.runner.shared
    }

    pub(super) fn follower(&self) -> &Arc<dyn Follow> {
        &self.inner.follow
    }

    pub(super) fn runner(&self) -> &Runner<S, E> {
        &self.inner.runner
    }
}

impl<S, E> Graph<S, E>
where
    S: Clone + Send + 'static,
    E: FromRejection + Fault + IntoCause + Send + 'static,
{
    pub(super) fn from_parts(
        nodes: Vec<Node<S, E>>,
        shared: Shared<S>,
        follow: Arc<dyn Follow>,
    ) -> Self {
        let members = nodes.iter().map(bare).collect();
        let runner = Runner { shared: Arc::new(shared), members, forgets: true };
        Self { inner: Arc::new(Inner { nodes, runner, follow, start: Self::start }) }
    }

    fn start(&self, state: S) -> RunFuture<S, E> {
        let (graph, follow) = (self.name().clone(), self.inner.follow.clone());
        let run = Context { graph, workflow: "".into(), follow, trail: None };
        let walk = self.inner.runner.whole(Arc::new(run), state);
        RunFuture(Box::pin(async { walk.await.map_err(Broken::into_error) }))
    }
}

/// A node whose results are not kept.
fn bare<S, E>(Node { kind, fold, .. }: &Node<S, E>) -> Member<S, E>
where
    S: Clone + Send + 'static,
    E: FromRejection + Fault + IntoCause + Send + 'static,
{
    let member = match kind {
        Kind::Single(_, node) => Member::new(Mark(node.clone())),
        Kind::Fan(branches, join) => {
            let branch = |branch: &Branch<S, E>| {
                (branch.name.clone(), Member::new(Mark(branch.service.clone())))
            };
            let branches = branches.iter().map(branch).collect();
            Member::new(Fan { branches, join: join.clone(), patient: false })
        }
        Kind::Nested(graph) => Member::new(graph.runner().clone()),
    };
    caught(fold.as_ref(), member)
}

/// A node whose failures become part of the state, if it was said how.
pub(super) fn caught<S, E>(fold: Option<&Fold<S, E>>, inner: Member<S, E>) -> Member<S, E>
where
    S: Clone + Send + 'static,
    E: Fault + Send + 'static,
{
    match fold {
        Some(fold) => Member::new(Catch { inner, fold: fold.clone() }),
        None => inner,
    }
}

impl<S, E> Service<S> for Graph<S, E> {
    type Response = S;
    type Error = E;
    type Future = RunFuture<S, E>;

    /// Ready at once: nodes become ready when the run comes to them.
    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, state: S) -> RunFuture<S, E> {
        (self.inner.start)(self, state)
    }
}

/// The future of a [`Graph`].
pub struct RunFuture<S, E>(Pin<Box<dyn Future<Output = Result<S, E>> + Send>>);

impl<S, E> Future for RunFuture<S, E> {
    type Output = Result<S, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<S, E> Clone for Graph<S, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<S, E> fmt::Debug for Graph<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("name", self.name())
            .field("nodes", &self.nodes().iter().map(|node| &node.name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl<S, E> fmt::Debug for RunFuture<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunFuture").finish_non_exhaustive()
    }
}
