//! Redundant execution as the node of a graph: an unreliable tool, asked several times over.
//!
//! The state is what the documents' graph has: input, result, error, and a log of how long each call took. The
//! node calls the tool as it is, then with a second and third attempt that start when the one before
//! is late or has failed. Prints, for both, how often there was a result and how long it took. The clock
//! is simulated.

use std::time::Duration;

use buttress::HedgeLayer;
use buttress_flow::graph::{END, Graph};
use buttress_sim::{Faults, Tool, ToolReply, ToolRequest};
use tokio::time::Instant;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

const INPUTS: u32 = 1_000;

#[derive(Clone, Debug, Default)]
struct State {
    input: String,
    result: Option<String>,
    error: Option<String>,
    performance: Vec<Duration>,
}

fn graph<T>(tool: T) -> Result<Graph<State, BoxError>, BoxError>
where
    T: Service<ToolRequest, Response = ToolReply> + Clone + Send + Sync + 'static,
    T::Error: Into<BoxError> + Send,
    T::Future: Send,
{
    let execute = service_fn(move |mut state: State| {
        let tool = tool.clone();
        async move {
            let start = Instant::now();
            let outcome = tool.oneshot(ToolRequest::from(&*state.input)).await;
            state.performance.push(start.elapsed());
            match outcome {
                Ok(reply) => state.result = Some(reply.text()),
                Err(error) => state.error = Some(Into::<BoxError>::into(error).to_string()),
            }
            Ok(state)
        }
    });
    Ok(Graph::new("redundant").node("execute", execute).edge("execute", END).build()?)
}

async fn run(name: &str, graph: Graph<State, BoxError>) -> Result<(), BoxError> {
    let (mut results, mut log, mut errors) = (0, Vec::new(), Vec::new());
    for input in 0..INPUTS {
        let state = State { input: format!("task {input}"), ..State::default() };
        let state = graph.clone().oneshot(state).await?;
        results += u32::from(state.result.is_some());
        log.extend(state.performance);
        errors.extend(state.error);
    }
    log.sort();
    let mean = log.iter().sum::<Duration>() / INPUTS;
    let slowest = log.get(log.len() * 99 / 100).copied().unwrap_or_default();
    println!(
        "{name:10} {:>5.1} % results, mean {mean:.2?}, one in a hundred over {slowest:.2?}",
        100.0 * f64::from(results) / f64::from(INPUTS),
    );
    if let Some(error) = errors.first() {
        println!("{:10} an error: {error}", "");
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    run("bare", graph(Tool::new(Faults::unreliable(), 7))?).await?;
    let hedge = HedgeLayer::after(Duration::from_secs(1)).attempts(3);
    let tool = Tool::new(Faults::unreliable(), 7);
    let redundant = ServiceBuilder::new().layer(hedge).service(tool.clone());
    run("redundant", graph(redundant)?).await?;
    let calls = tool.stats().launched as f64 / f64::from(INPUTS);
    println!("{:10} at a price of {calls:.2} calls for each", "");
    Ok(())
}
