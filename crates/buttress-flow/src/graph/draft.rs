//! How a graph is put together.

use std::{fmt, sync::Arc};

use buttress::{
    Fault, FromRejection, IntoCause, Name, Observe,
    checkpoint::{Effects, Step},
};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    BoxNode, FanOut, Follow, Graph, GraphError, Split, Tracing, Turn,
    cursor::Bounds,
    fan::{Branch, plain},
    node::Fold,
    plan::{Plan, Shape, Spot, Way},
    service::{Kind, Node},
    walk::{Choose, Shared},
};

/// A graph that is being put together. Made by [`Graph::new`].
///
/// Names are data, so whether they fit together is seen at the end, by [`build`](Self::build).
#[must_use = "a draft does nothing before it is built"]
pub struct Draft<S, E> {
    name: Name,
    parts: Vec<Part<S, E>>,
    edges: Vec<Edge<S>>,
    folds: Vec<(Name, Fold<S, E>)>,
    start: Option<Name>,
    wrap: Vec<Wrap<S, E>>,
    bounds: Bounds,
    schema: u32,
    follow: Arc<dyn Follow>,
    observe: Option<Arc<dyn Observe>>,
}

struct Part<S, E> {
    name: Name,
    made: Made<S, E>,
}

struct Edge<S> {
    from: Name,
    way: Way,
    choose: Option<Choose<S>>,
}

enum Made<S, E> {
    Single(Option<Effects>, BoxNode<S, E>),
    Fan(FanOut<S, E>),
    Nested(Graph<S, E>),
}

type Wrap<S, E> = Box<dyn Fn(&Name, BoxNode<S, E>) -> BoxNode<S, E>>;

impl<S, E> Draft<S, E>
where
    S: Send + 'static,
    E: FromRejection + Fault + IntoCause + Send + 'static,
{
    pub(super) fn new(name: Name) -> Self {
        Self {
            name,
            parts: Vec::new(),
            edges: Vec::new(),
            folds: Vec::new(),
            start: None,
            wrap: Vec::new(),
            bounds: Bounds::default(),
            schema: 1,
            follow: Arc::new(Tracing),
            observe: None,
        }
    }

    /// Adds a node: a service that makes the next state of a state. The first is where runs start.
    pub fn node<T>(self, name: impl Into<Name>, service: T) -> Self
    where
        T: Service<S, Response = S, Error = E, Future: Send> + Clone + Send + Sync + 'static,
    {
        self.part(name.into(), Made::Single(None, plain(service)))
    }

    /// Adds a node, and says what it does to the world, which must be said where results are kept.
    pub fn step<T>(self, name: impl Into<Name>, effects: Effects, service: T) -> Self
    where
        T: Service<S, Response = S, Error = E, Future: Send> + Clone + Send + Sync + 'static,
    {
        self.part(name.into(), Made::Single(Some(effects), plain(service)))
    }

    /// Adds a node that is told which step it is, and the idempotency key for the tool that it calls.
    pub fn keyed_step<T>(self, name: impl Into<Name>, effects: Effects, service: T) -> Self
    where
        T: Service<Step<S>, Response = S, Error = E, Future: Send> + Clone + Send + Sync + 'static,
    {
        self.part(name.into(), Made::Single(Some(effects), BoxNode::new(service)))
    }

    /// Adds several branches that run at once as one node.
    pub fn fan_out(self, name: impl Into<Name>, fan: FanOut<S, E>) -> Self {
        self.part(name.into(), Made::Fan(fan))
    }

    /// Adds another graph as a node. It keeps its layers and bounds, and progress is told by this one.
    ///
    /// Where results are kept, so are those of its nodes, one by one. (A graph may be added by
    /// [`node`](Self::node), too, and is then one step like any other.)
    pub fn nest(self, name: impl Into<Name>, graph: Graph<S, E>) -> Self {
        self.part(name.into(), Made::Nested(graph))
    }

    fn part(mut self, name: Name, made: Made<S, E>) -> Self {
        self.parts.push(Part { name, made });
        self
    }

    /// Goes on from one node to another, or to the [`END`](super::END).
    pub fn edge(mut self, from: impl Into<Name>, to: impl Into<Name>) -> Self {
        let (from, way) = (from.into(), Way::To(to.into()));
        self.edges.push(Edge { from, way, choose: None });
        self
    }

    /// Goes on from a node by what the state is like: `choose` gives the label of one of the edges.
    ///
    /// Labels are whatever can be compared and shown: words, truth values, an enum of yours. Where
    /// results are kept, `choose` must depend on nothing but the state.
    ///
    /// ```
    /// use buttress_flow::graph::{END, Graph};
    /// use tower::{BoxError, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let graph = Graph::new("doubling")
    ///     .node("double", service_fn(async |n: u32| Ok::<_, BoxError>(2 * n)))
    ///     .route("double", |n: &u32| *n < 1_000, [(true, "double"), (false, END)])
    ///     .build()
    ///     .unwrap();
    /// assert_eq!(graph.oneshot(3).await.unwrap(), 1_536);
    /// # }
    /// ```
    pub fn route<L, N>(
        mut self,
        from: impl Into<Name>,
        choose: impl Fn(&S) -> L + Send + Sync + 'static,
        ways: impl IntoIterator<Item = (L, N)>,
    ) -> Self
    where
        L: PartialEq + fmt::Display + Send + Sync + 'static,
        N: Into<Name>,
    {
        let (labels, targets): (Vec<L>, Vec<N>) = ways.into_iter().unzip();
        let words = labels.iter().map(L::to_string);
        let way = Way::Routes(words.zip(targets.into_iter().map(N::into)).collect());
        let choose: Choose<S> = Arc::new(move |state| {
            let label = choose(state);
            labels.iter().position(|known| *known == label).ok_or_else(|| label.to_string())
        });
        self.edges.push(Edge { from: from.into(), way, choose: Some(choose) });
        self
    }

    /// Goes on from a node in one of three ways. See [`Turn`].
    pub fn split<N: Into<Name>>(
        self,
        from: impl Into<Name>,
        choose: impl Fn(&S) -> Turn + Send + Sync + 'static,
        Split { success, retry, fail }: Split<N>,
    ) -> Self {
        let ways = [(Turn::Success, success), (Turn::Retry, retry), (Turn::Fail, fail)];
        self.route(from, choose, ways)
    }

    /// Starts runs at this node, and not at the one that was added first.
    pub fn start(mut self, node: impl Into<Name>) -> Self {
        self.start = Some(node.into());
        self
    }

    /// Makes failures of a node part of the state: `fold` gets the state before it and the error.
    ///
    /// It goes around the layers of [`wrap`](Self::wrap), so these see the failure, and the run does
    /// not. Where results are kept, this one is: after a crash the run goes on as it did before. That a
    /// result cannot be kept, or a step is in doubt, is no failure of the node, and ends the run.
    pub fn catch(
        mut self,
        node: impl Into<Name>,
        fold: impl Fn(S, E) -> S + Send + Sync + 'static,
    ) -> Self {
        self.folds.push((node.into(), Arc::new(fold)));
        self
    }

    /// Puts a layer around every node and every branch, those included that are added later.
    ///
    /// It is one layer for all: what its services share (a circuit, a budget, a limit), all nodes
    /// share. [`wrap_each`](Self::wrap_each) gives each its own. Layers that were given before are
    /// inside. Graphs that are nested have layers of their own.
    ///
    /// ```
    /// use buttress::RetryLayer;
    /// use buttress_flow::graph::{END, Graph};
    /// use tower::{BoxError, service_fn};
    ///
    /// let graph = Graph::new("one")
    ///     .node("only", service_fn(async |n: u32| Ok::<_, BoxError>(n)))
    ///     .edge("only", END)
    ///     .wrap(RetryLayer::new())
    ///     .build();
    /// assert!(graph.is_ok());
    /// ```
    pub fn wrap<L>(self, layer: L) -> Self
    where
        L: Layer<BoxNode<S, E>> + 'static,
        L::Service:
            Service<Step<S>, Response = S, Error = E, Future: Send> + Clone + Send + Sync + 'static,
    {
        self.wrapped(move |_, node| BoxNode::new(layer.layer(node)))
    }

    /// Puts a layer around every node and every branch that is made for it, knowing its name.
    ///
    /// ```
    /// use buttress::BreakerLayer;
    /// use buttress_flow::graph::{END, Graph};
    /// use tower::{BoxError, service_fn};
    ///
    /// let graph = Graph::new("one")
    ///     .node("only", service_fn(async |n: u32| Ok::<_, BoxError>(n)))
    ///     .edge("only", END)
    ///     .wrap_each(|node| BreakerLayer::default().name(node.clone()))
    ///     .build();
    /// assert!(graph.is_ok());
    /// ```
    pub fn wrap_each<L>(self, layer: impl Fn(&Name) -> L + 'static) -> Self
    where
        L: Layer<BoxNode<S, E>>,
        L::Service:
            Service<Step<S>, Response = S, Error = E, Future: Send> + Clone + Send + Sync + 'static,
    {
        self.wrapped(move |name, node| BoxNode::new(layer(name).layer(node)))
    }

    fn wrapped(mut self, wrap: impl Fn(&Name, BoxNode<S, E>) -> BoxNode<S, E> + 'static) -> Self {
        self.wrap.push(Box::new(wrap));
        self
    }

    /// Sets how often each node may be visited in a run; 25 times by default, and once at least.
    pub fn most_visits(mut self, visits: u32) -> Self {
        self.bounds.visits = visits;
        self
    }

    /// Sets how many nodes may be visited in a run, each visit counted; without a bound by default.
    pub fn most_steps(mut self, steps: u32) -> Self {
        self.bounds.steps = steps;
        self
    }

    /// Sets who listens to the progress of runs; `tracing` by default.
    pub fn follow(mut self, follow: impl Follow + 'static) -> Self {
        self.follow = Arc::new(follow);
        self
    }

    /// Sets who listens to the checkpoints of nodes, where results are kept; `tracing` by default. Each goes by the
    /// name of its node.
    pub fn observe(mut self, observe: impl Observe + 'static) -> Self {
        self.observe = Some(Arc::new(observe));
        self
    }

    /// Sets the version of the state's type, where results are kept; 1 by default.
    ///
    /// Count it up when the type changes so that old bytes would be misread. What was kept under another
    /// is [unreadable](buttress::checkpoint::Halt::Unreadable), never a default and never done again. Graphs
    /// that are nested go by the version of the outer one.
    pub fn schema(mut self, version: u32) -> Self {
        self.schema = version;
        self
    }

    /// Checks that all fits together, and makes the graph.
    ///
    /// # Errors
    /// Everything that is wrong with it: see [`Flaw`](super::Flaw).
    pub fn build(self) -> Result<Graph<S, E>, GraphError>
    where
        S: Clone,
    {
        let Self { name, parts, edges, folds, start, wrap, bounds, schema, follow, observe } = self;
        let wrap = |name: &Name, node| wrap.iter().fold(node, |node, wrap| wrap(name, node));
        let known = |name: &Name| parts.iter().any(|part| part.name == *name);
        let referring = edges.iter().map(|edge| &edge.from).chain(folds.iter().map(|(at, _)| at));
        let strays: Vec<Name> = referring.filter(|name| !known(name)).cloned().collect();
        let (mut spots, mut nodes, mut chooses) = (Vec::new(), Vec::new(), Vec::new());
        for Part { name, made } in parts {
            let (shape, kind) = match made {
                Made::Single(effects, node) => {
                    (Shape::Single, Kind::Single(effects, wrap(&name, node)))
                }
                Made::Fan(FanOut { branches, join }) => {
                    let names = branches.iter().map(|branch| branch.name.clone()).collect();
                    let wrapped = |branch: Branch<S, E>| {
                        let service = wrap(&branch.name, branch.service);
                        Branch { service, ..branch }
                    };
                    let branches = branches.into_iter().map(wrapped).collect();
                    (Shape::Fan(names), Kind::Fan(branches, join))
                }
                Made::Nested(graph) => (Shape::Nested(graph.plan().clone()), Kind::Nested(graph)),
            };
            let out = || edges.iter().filter(|edge| edge.from == name);
            chooses.push(out().find_map(|edge| edge.choose.clone()));
            let ways = out().map(|edge| edge.way.clone()).collect();
            // The last word counts.
            let fold = folds.iter().rfind(|(node, _)| *node == name).map(|(_, fold)| fold.clone());
            nodes.push(Node { name: name.clone(), kind, fold });
            spots.push(Spot { name, shape, ways });
        }
        match Plan::new(name.clone(), spots, start.as_ref(), &strays) {
            Ok(plan) => {
                let shared = Shared { plan: Arc::new(plan), chooses, bounds, schema, observe };
                Ok(Graph::from_parts(nodes, shared, follow))
            }
            Err(flaws) => Err(GraphError::new(name, flaws)),
        }
    }
}

impl<S, E> fmt::Debug for Draft<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("name", &self.name)
            .field("nodes", &self.parts.iter().map(|part| &part.name).collect::<Vec<_>>())
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}
