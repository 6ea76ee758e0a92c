//! An orchestrator that gives a task to three agents at once, and puts their results together.
//!
//! Each agent is under retry, and so is the orchestrator, and every result is kept. One agent is down for so
//! long that the run fails; then the process dies. The next one knows no more than the name of the
//! task: it calls the one agent that had failed, and no other. Prints who was called when. The clock
//! is simulated, and so are the processes; `resume` has real ones, over a file.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    Backoff, RetryLayer,
    checkpoint::Effects,
    store::{Journal, MemoryStore, Store, WorkflowId},
};
use buttress_flow::graph::{DurableGraph, END, FanOut, Graph, Run, RunError};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    task: String,
    findings: Vec<String>,
}

#[derive(Clone, Default)]
struct World {
    news_is_down: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
}

impl World {
    /// An agent that thinks for a while, and calls it a finding.
    fn agent(
        &self,
        name: &'static str,
        seconds: u32,
    ) -> impl Service<State, Response = State, Error = BoxError, Future: Send>
    + Clone
    + Send
    + Sync
    + use<> {
        let world = self.clone();
        service_fn(move |mut state: State| {
            let world = world.clone();
            async move {
                world.calls.fetch_add(1, Ordering::Relaxed);
                sleep(seconds * SECOND).await;
                if name == "news" && world.news_is_down.load(Ordering::Relaxed) {
                    println!("  {name} is down");
                    return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into());
                }
                println!("  {name} answers");
                state.findings.push(format!("what {name} knows of {}", state.task));
                Ok(state)
            }
        })
    }

    fn orchestrator(&self, journal: Journal) -> Result<DurableGraph<State, BoxError>, BoxError> {
        let collect = |state: State, results: Vec<State>| State {
            findings: results.into_iter().flat_map(|result| result.findings).collect(),
            ..state
        };
        let agents = FanOut::new(collect)
            .step("search", Effects::ReadOnly, self.agent("search", 2))
            .step("news", Effects::ReadOnly, self.agent("news", 1))
            .step("archive", Effects::ReadOnly, self.agent("archive", 5));
        let retry = RetryLayer::new().attempts(3).backoff(Backoff::constant(SECOND));
        let graph = Graph::new("orchestrator")
            .fan_out("distribute", agents)
            .edge("distribute", "summarise")
            .step(
                "summarise",
                Effects::ReadOnly,
                service_fn(async |mut state: State| {
                    let count = state.findings.len();
                    state.findings.push(format!("all in all {count} findings"));
                    Ok(state)
                }),
            )
            .edge("summarise", END)
            .wrap(retry)
            .build()?;
        Ok(graph.durable(journal)?)
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let (store, world) = (MemoryStore::new(), World::default());
    let task = State { task: "the harbour".into(), findings: vec![] };
    world.news_is_down.store(true, Ordering::Relaxed);

    println!("the first process:");
    let first = world.orchestrator(Journal::new(store.clone()))?;
    // Around the whole: what was done in the first attempt is not done in the second.
    let retry = RetryLayer::new().attempts(2).backoff(Backoff::constant(SECOND));
    let service = ServiceBuilder::new().layer(retry).service(first);
    match service.oneshot(Run::new("harbour", task)).await {
        Ok(_) => println!("  it is done, which was not to be expected"),
        Err(error) => {
            let path = RunError::of(&*error).map_or_else(String::new, RunError::path);
            println!("  {error}\n  it failed at `{path}`, and the process dies");
        }
    }
    let before = world.calls.load(Ordering::Relaxed);

    println!("the next process:");
    world.news_is_down.store(false, Ordering::Relaxed);
    let next = world.orchestrator(Journal::new(store.clone()))?;
    let state = next.oneshot(Run::resume("harbour")).await?;
    for finding in &state.findings {
        println!("  - {finding}");
    }
    let calls = world.calls.load(Ordering::Relaxed);
    println!(
        "agents were called {before} times before the crash, and {} times after",
        calls - before
    );
    let workflow = WorkflowId::new("default", "harbour");
    if let Some(summary) = store.summary(&workflow).await? {
        println!("the workflow is {} with {} records", summary.life.as_str(), summary.latest);
    }
    Ok(())
}
