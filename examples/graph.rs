//! A workflow as a graph: search, judge, then write, search again or apologise; every node protected.
//!
//! The search fails in half of its calls, and in a third it finds nothing of use. It has a retry of its own
//! around it, and every node a time limit; a search that fails for all that is part of the state, and three edges lead on:
//! success, retry, fail. Prints the graph as Mermaid, the progress of one run, and how a thousand runs
//! ended. The clock is simulated.

use std::{collections::BTreeMap, time::Duration};

use buttress::{Backoff, Ratio, RetryLayer, TimeoutLayer};
use buttress_flow::graph::{Draft, END, Graph, News, Progress, RunError, Split, Turn};
use buttress_sim::{Fate, Faults, Rule, Shares, Takes, Tool, ToolRequest, When};
use tokio::time::Instant;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

const RUNS: u32 = 1_000;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default)]
struct State {
    question: String,
    searches: u32,
    found: Option<String>,
    error: Option<String>,
    answer: String,
}

fn workflow(tool: &Tool) -> Draft<State, BoxError> {
    // Calls the tool, and takes what it says with a pinch of salt.
    let search = ServiceBuilder::new()
        .layer(RetryLayer::new().attempts(2).backoff(Backoff::constant(SECOND)))
        .service(tool.clone());
    let search = service_fn(move |state: State| {
        let search = search.clone();
        async move {
            let reply = search.oneshot(ToolRequest::from(&*state.question)).await?;
            let found = reply.correct.then(|| reply.text());
            Ok::<_, BoxError>(State { found, error: None, searches: state.searches + 1, ..state })
        }
    });
    let write = service_fn(async |state: State| {
        let answer = format!("Found: {}", state.found.as_deref().unwrap_or_default());
        Ok(State { answer, ..state })
    });
    let apologise = service_fn(async |state: State| {
        let answer = format!("Sorry: {}", state.error.as_deref().unwrap_or("nothing was found"));
        Ok(State { answer, ..state })
    });
    Graph::new("research")
        .node("search", search)
        .catch("search", |state, error| State {
            error: Some(error.to_string()),
            searches: state.searches + 1,
            ..state
        })
        .node("write", write)
        .node("apologise", apologise)
        .split(
            "search",
            |state: &State| match state {
                State { found: Some(_), .. } => Turn::Success,
                State { searches: 0..3, .. } => Turn::Retry,
                _ => Turn::Fail,
            },
            Split { success: "write", retry: "search", fail: "apologise" },
        )
        .edge("write", END)
        .edge("apologise", END)
        .wrap(TimeoutLayer::new(20 * SECOND))
}

fn tell(start: Instant) -> impl Fn(&Progress<'_>) + Send + Sync {
    move |Progress { node, visit, news, .. }| {
        let at = start.elapsed();
        match news {
            News::Entered => println!("{at:>8.1?}  {node} ({visit})"),
            News::Caught { .. } => println!("{at:>8.1?}  {node} failed"),
            News::Chose { label, to } => println!("{at:>8.1?}  {label}: on to {to}"),
            News::Ended { steps, .. } => println!("{at:>8.1?}  the end, after {steps} steps"),
            _ => {}
        }
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let useless = Fate::Corrupt { takes: Takes::seconds(0.5, 2.0)? };
    let wrong = Rule::new(When::Share(Ratio::percent(33)), useless);
    let tool = Tool::new(Faults::new(Shares::new(0.5, 0.0)?).rule(wrong), 6);
    let question = || State { question: "the weather".into(), ..State::default() };

    let graph = workflow(&tool).follow(tell(Instant::now())).build()?;
    println!("{}", graph.to_mermaid());
    let state = graph.oneshot(question()).await?;
    println!("{}\n", state.answer);

    let graph = workflow(&tool).build()?;
    let mut ends = BTreeMap::new();
    for _ in 0..RUNS {
        let state = graph.clone().oneshot(question()).await?;
        let end = if state.found.is_some() { "answered" } else { "apologised" };
        *ends.entry((end, state.searches)).or_insert(0) += 1;
    }
    for ((end, searches), runs) in ends {
        println!("{end:10} after {searches} searches: {runs:4} of {RUNS} runs");
    }

    // What a mistake looks like: found when the graph is built, or told with the name of the node.
    let flaw = workflow(&tool).edge("publish", END).build().map(|_| ());
    println!("\n{}", flaw.map_or_else(|error| error.to_string(), |()| "no flaw".into()));
    let broken = service_fn(async |_: State| Err::<State, _>(BoxError::from("the printer is off")));
    let graph = Graph::new("print").node("print", broken).edge("print", END).build()?;
    let error = graph.oneshot(question()).await.map_or_else(|error| error, |_| "no error".into());
    println!("{error} (at `{}`)", RunError::of(&*error).map_or_else(String::new, RunError::path));
    Ok(())
}
