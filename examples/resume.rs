//! A run of a graph and the memory of an agent, in a file, over two processes of which the first dies.
//!
//! The program starts itself twice. The first process searches in two places at once, is about to pay for what was
//! found, and dies in the middle of that. The second finds out where it was: it searches no more, pays with
//! the same idempotency key, by which the shop sees that it was asked before, and writes. What the agent remembers
//! of its starts is in the same file, and goes on too. Prints who was called in which process.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, abort},
};

use buttress::{
    checkpoint::{Effects, InDoubt, Step},
    store::Journal,
};
use buttress_flow::{
    graph::{END, FanOut, Graph, Run},
    state::Checkpoints,
};
use buttress_store::RedbStore;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower::{BoxError, Service, ServiceExt, service_fn};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Report {
    found: Vec<String>,
    receipt: Option<String>,
    text: String,
}

/// What the agent remembers from one start to the next.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Memory {
    starts: u32,
}

fn search(
    place: &'static str,
) -> impl Service<Report, Response = Report, Error = BoxError, Future: Send> + Clone + Send + Sync {
    service_fn(move |mut report: Report| async move {
        println!("  {place} is searched");
        report.found.push(format!("what is in the {place}"));
        Ok(report)
    })
}

fn graph(dies: bool) -> Result<Graph<Report, BoxError>, BoxError> {
    let pay = service_fn(move |step: Step<Report>| async move {
        let key = step.key.ok_or("a step with an effect has a key")?.to_string();
        let short = key.get(..8).unwrap_or_default().to_owned();
        println!("  the shop is asked to be paid, with key {short}..");
        if dies {
            println!("  and the power goes out");
            abort();
        }
        Ok::<_, BoxError>(Report { receipt: Some(short), ..step.request })
    });
    let write = service_fn(async |report: Report| {
        println!("  the report is written");
        let text = format!("{}, all paid for", report.found.join(" and "));
        Ok::<_, BoxError>(Report { text, ..report })
    });
    let gather = FanOut::new(|report: Report, parts: Vec<Report>| Report {
        found: parts.into_iter().flat_map(|part| part.found).collect(),
        ..report
    });
    let gather = gather.step("library", Effects::ReadOnly, search("library")).step(
        "archive",
        Effects::ReadOnly,
        search("archive"),
    );
    Ok(Graph::new("report")
        .fan_out("gather", gather)
        .keyed_step("pay", Effects::SideEffect(InDoubt::Retry), pay)
        .step("write", Effects::Idempotent, write)
        .edge("gather", "pay")
        .edge("pay", "write")
        .edge("write", END)
        .build()?)
}

/// What each process does: it knows the file and the name of the workflow.
async fn work(file: &Path) -> Result<(), BoxError> {
    let journal = Journal::new(RedbStore::open(file)?);
    let mut checkpoints = Checkpoints::<Memory>::new(journal.clone(), "agent");
    let memory = checkpoints.recover().await?.map(|saved| saved.state).unwrap_or_default();
    let memory = Memory { starts: memory.starts + 1 };
    let version = checkpoints.save(&memory, json!({ "process": std::process::id() })).await?;
    println!("  start {}, saved as version {version}", memory.starts);

    let graph = graph(memory.starts == 1)?.durable(journal)?;
    let report = graph.oneshot(Run::new("report-17", Report::default())).await?;
    println!("  {}", report.text);
    Ok(())
}

fn main() -> Result<(), BoxError> {
    if let Some(file) = env::args_os().nth(1).map(PathBuf::from) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(work(&file));
    }
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("agent.redb");
    for process in ["first", "second"] {
        println!("the {process} process:");
        let status = Command::new(env::current_exe()?).arg(&file).status()?;
        println!("  it ended with {status}");
    }
    Ok(())
}
