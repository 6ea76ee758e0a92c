//! Hedges before a tool that fails in one call of five and is slow in one of ten.
//!
//! Prints success, mean and worst latency, and the calls it took; the last line learns its delay.
//! The clock is simulated: half an hour of calls takes a moment.

use std::{error::Error, time::Duration};

use buttress::HedgeLayer;
use buttress_sim::{Faults, Tool, ToolRequest};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt};

const CALLS: u32 = 1_000;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let second = Duration::from_secs(1);
    let learned = HedgeLayer::learned().attempts(5);
    let handle = learned.handle();
    println!("{:24} {:>8} {:>8} {:>8} {:>6}", "", "success", "mean", "worst", "calls");
    run("bare", HedgeLayer::immediate(1)).await;
    run("two at once", HedgeLayer::immediate(2)).await;
    run("after 1 s, 2 attempts", HedgeLayer::after(second)).await;
    run("after 1 s, 5 attempts", HedgeLayer::after(second).attempts(5)).await;
    run("learned, 5 attempts", learned).await;
    println!("the learned delay is {:.3?}", handle.delay());
    Ok(())
}

async fn run(name: &str, layer: HedgeLayer) {
    let tool = Tool::new(Faults::unreliable(), 7);
    let mut service = ServiceBuilder::new().layer(layer).service(tool.clone());
    let (mut successes, mut sum, mut worst) = (0, Duration::ZERO, Duration::ZERO);
    for _ in 0..CALLS {
        let start = Instant::now();
        let Ok(ready) = service.ready().await else { continue };
        if ready.call(ToolRequest::from("the weather")).await.is_ok() {
            successes += 1;
            sum += start.elapsed();
            worst = worst.max(start.elapsed());
        }
    }
    println!(
        "{name:24} {:>6.1} % {:>7.3}s {:>7.3}s {:>6.3}",
        100.0 * f64::from(successes) / f64::from(CALLS),
        sum.as_secs_f64() / f64::from(successes),
        worst.as_secs_f64(),
        tool.stats().launched as f64 / f64::from(CALLS),
    );
}
