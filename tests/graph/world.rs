//! What graphs whose results are kept do to the world, and what is kept of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buttress::{
    Rejection,
    checkpoint::{Effects, Halt, InDoubt, Step},
    store::{IdempotencyKey, Journal, MemoryStore, Status, Store, StoreError, Version, WorkflowId},
};
use buttress_flow::graph::{Draft, END, FanOut, Graph};
use tokio::task::yield_now;
use tower::{BoxError, Service, service_fn};

use super::Path;

pub(super) const RETRY: Effects = Effects::SideEffect(InDoubt::Retry);
pub(super) const FAIL: Effects = Effects::SideEffect(InDoubt::Fail);
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// What was done in the world, how often, and under which keys. Anything may be down.
#[derive(Clone, Default)]
pub(super) struct World {
    /// By step.
    pub(super) calls: Arc<Mutex<BTreeMap<String, u32>>>,
    pub(super) keys: Arc<Mutex<BTreeMap<String, BTreeSet<IdempotencyKey>>>>,
    down: Arc<Mutex<BTreeSet<&'static str>>>,
    pub(super) hangs: Arc<AtomicBool>,
}

impl World {
    pub(super) fn node(
        &self,
        name: &'static str,
    ) -> impl Service<Step<Path>, Response = Path, Error = BoxError, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
    + use<> {
        let world = self.clone();
        service_fn(move |step: Step<Path>| {
            let world = world.clone();
            async move {
                yield_now().await;
                let which = step.step.to_string();
                *world.calls.lock().unwrap().entry(which.clone()).or_default() += 1;
                let keys = step.key.into_iter();
                world.keys.lock().unwrap().entry(which).or_default().extend(keys);
                yield_now().await;
                if world.hangs.load(Ordering::Relaxed) {
                    pending::<()>().await;
                }
                match world.down.lock().unwrap().contains(name) {
                    true => Err(format!("{name} is down").into()),
                    false => Ok([step.request, vec![name.to_owned()]].concat()),
                }
            }
        })
    }

    pub(super) fn set_down(&self, names: &[&'static str]) {
        *self.down.lock().unwrap() = names.iter().copied().collect();
    }

    /// How often a node or branch was called, over all its visits.
    pub(super) fn calls(&self, name: &str) -> u32 {
        let calls = self.calls.lock().unwrap();
        let last = |step: &str| step.rsplit('/').next().unwrap().split('#').next().unwrap() == name;
        calls.iter().filter(|(step, _)| last(step)).map(|(_, calls)| calls).sum()
    }
}

pub(super) fn journal(store: &MemoryStore, owner: &'static str) -> Journal {
    Journal::new(store.clone()).owner(owner).ttl(LEASE)
}

pub(super) fn id(workflow: &str) -> WorkflowId {
    WorkflowId::new("default", workflow)
}

pub(super) fn halt(error: &BoxError) -> &Halt {
    let mut error: &(dyn std::error::Error + 'static) = &**error;
    loop {
        if let Some(Rejection::Halted { halt, .. }) = error.downcast_ref() {
            return halt;
        }
        error = error.source().expect("the store has said no");
    }
}

pub(super) async fn steps(store: &MemoryStore, workflow: &str) -> Vec<String> {
    let history = match store.history(&id(workflow), 0, 1_000).await {
        Err(StoreError::NotFound { .. }) => return Vec::new(),
        history => history.unwrap(),
    };
    let step = |version| match version {
        Version::Intact(record) if record.status == Status::Done => Some(record.step.to_string()),
        Version::Intact(_) => None,
        Version::Damaged(finding) => unreachable!("{finding:?}"),
    };
    history.into_iter().filter_map(step).collect()
}

/// Two of `a`, in a cycle with `b`, then a fan-out, then a graph within.
pub(super) fn rich(world: &World) -> Graph<Path, BoxError> {
    rich_draft(world).build().unwrap()
}

pub(super) fn rich_draft(world: &World) -> Draft<Path, BoxError> {
    let inner =
        Graph::new("inner").keyed_step("z", RETRY, world.node("z")).edge("z", END).build().unwrap();
    let fan = FanOut::new(|path: Path, branches: Vec<Path>| {
        path.into_iter().chain(branches.into_iter().filter_map(|mut path| path.pop())).collect()
    });
    Graph::new("rich")
        .keyed_step("a", RETRY, world.node("a"))
        .keyed_step("b", Effects::ReadOnly, world.node("b"))
        .fan_out(
            "f",
            fan.keyed_step("x", RETRY, world.node("x")).keyed_step(
                "y",
                Effects::Idempotent,
                world.node("y"),
            ),
        )
        .nest("n", inner)
        .edge("a", "b")
        .route("b", |path: &Path| path.len() < 4, [(true, "a"), (false, "f")])
        .edge("f", "n")
        .edge("n", END)
}

pub(super) const RICH: [&str; 7] = ["a", "b", "a", "b", "x", "y", "z"];
