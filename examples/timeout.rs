//! A tool that hangs, under a limit per attempt and a limit per call.
//!
//! Prints what the caller sees, and when. The clock is simulated: it takes no time to run.

use std::{error::Error, time::Duration};

use buttress::{Backoff, Jitter, RetryLayer, TimeoutLayer};
use buttress_sim::{Fate, Faults, Rule, Tool, ToolRequest, When};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let hangs = Faults::none().rule(Rule::new(When::Always, Fate::Hang));
    let tool = Tool::new(hangs, 7);
    let start = Instant::now();

    let one = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(5)))
        .service(tool.clone());
    let outcome = one.oneshot(ToolRequest::from("the weather")).await;
    println!("one attempt of 5 s:           {:?} after {:?}", text(&outcome), start.elapsed());

    let start = Instant::now();
    let call = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(12)))
        .layer(
            RetryLayer::new()
                .attempts(9)
                .backoff(Backoff::constant(Duration::from_secs(1)).jitter(Jitter::None)),
        )
        .layer(TimeoutLayer::new(Duration::from_secs(5)))
        .service(tool.clone());
    let outcome = call.oneshot(ToolRequest::from("the weather")).await;
    // Attempts end at 5 s and 11 s; the wait until 12 s would outlast the call, so none begins.
    println!("nine attempts within 12 s:    {:?} after {:?}", text(&outcome), start.elapsed());
    println!("calls that reached the tool:  {}", tool.stats().launched);
    println!("calls still running:          {}", tool.stats().in_flight());
    Ok(())
}

fn text<T: ToString, E: ToString>(outcome: &Result<T, E>) -> String {
    match outcome {
        Ok(reply) => reply.to_string(),
        Err(error) => error.to_string(),
    }
}
