//! Retries of a tool that fails in one call of five, with a budget shared by all callers.
//!
//! Prints success with and without, and what became of the budget in an outage. The clock is
//! simulated.

use std::{error::Error, time::Duration};

use buttress::{Backoff, Budget, Random, RetryLayer};
use buttress_sim::{FailKind, Fate, Faults, Rule, Tool, ToolRequest, When};
use tower::{Service, ServiceBuilder, ServiceExt};

const CALLS: u32 = 1_000;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let layer = RetryLayer::new()
        .attempts(3)
        .backoff(Backoff::exponential(Duration::from_secs(1), Duration::from_secs(10)))
        .random(Random::seeded(7));

    let tool = Tool::new(Faults::unreliable(), 7);
    println!("bare:                 {:5.1} % succeed", success(tool.clone()).await);

    let tool = Tool::new(Faults::unreliable(), 7);
    let retried = ServiceBuilder::new().layer(layer.clone()).service(tool.clone());
    let rate = success(retried).await;
    println!("3 attempts:           {rate:5.1} % succeed, {} calls", tool.stats().launched);

    let dead = Faults::none().rule(Rule::new(
        When::Always,
        Fate::Fail { kind: FailKind::Connect, after: Duration::ZERO.into() },
    ));
    for budget in [None, Some(Budget::default())] {
        let tool = Tool::new(dead.clone(), 7);
        let layer = match budget.clone() {
            Some(budget) => layer.clone().budget(budget),
            None => layer.clone(),
        };
        let retried = ServiceBuilder::new().layer(layer).service(tool.clone());
        success(retried).await;
        let calls = tool.stats().launched;
        let with = if budget.is_some() { "with a budget" } else { "without one" };
        println!("outage, {with:14}{CALLS} requests made {calls} calls");
    }
    Ok(())
}

async fn success<S: Service<ToolRequest>>(mut service: S) -> f64 {
    let mut successes = 0;
    for _ in 0..CALLS {
        let Ok(ready) = service.ready().await else { continue };
        successes += u32::from(ready.call(ToolRequest::from("the weather")).await.is_ok());
    }
    100.0 * f64::from(successes) / f64::from(CALLS)
}
