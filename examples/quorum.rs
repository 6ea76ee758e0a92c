//! Votes among three replicas that lie now and then, always with the same lie.
//!
//! Prints how often one replica is wrong and how often two of three are, beside what is to be
//! expected; then the same with a replica that lies always, and how many calls each way takes. The
//! clock is simulated.

use std::{error::Error, time::Duration};

use buttress::{QuorumLayer, Ratio};
use buttress_sim::{Fate, Faults, Rule, Takes, Tool, ToolReply, ToolRequest, When};
use tower::{Service, ServiceBuilder, ServiceExt};

const CALLS: u32 = 10_000;
const SHARE: Ratio = Ratio::percent(10);

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let c = SHARE.get();
    println!("{:34} {:>7} {:>9} {:>7} {:>6}", "", "wrong", "expected", "none", "calls");
    let sometimes = || When::Share(SHARE);
    run("one replica", 1, false, [sometimes(), sometimes(), sometimes()], c).await?;
    let both = 3.0 * c.powi(2) - 2.0 * c.powi(3);
    run("two of three", 3, false, [sometimes(), sometimes(), sometimes()], both).await?;
    run("two of three, lazily", 3, true, [sometimes(), sometimes(), sometimes()], both).await?;
    // The liar wins whenever one of the others happens to lie as well.
    let either = 2.0 * c - c.powi(2);
    run(
        "two of three, one of them a liar",
        3,
        false,
        [When::Always, sometimes(), sometimes()],
        either,
    )
    .await
}

async fn run(
    name: &str,
    replicas: usize,
    lazy: bool,
    lies: [When; 3],
    expected: f64,
) -> Result<(), Box<dyn Error>> {
    let takes = Takes::seconds(0.5, 1.0)?;
    let mut tools: Vec<Tool> = (20..)
        .zip(lies)
        .take(replicas)
        .map(|(seed, when)| {
            let lie = Rule::new(when, Fate::Corrupt { takes });
            Tool::new(Faults::none().fast_takes(takes).rule(lie), seed)
        })
        .collect();
    let all = tools.clone();
    let first = tools.remove(0);
    // Replies carry the name of the instance: what has to agree is what they say.
    let layer = QuorumLayer::with(tools).agree_by(|reply: &ToolReply| reply.correct);
    let layer = if lazy { layer.lazy(Duration::from_secs(2)) } else { layer };
    let mut service = ServiceBuilder::new().layer(layer).service(first);
    let (mut wrong, mut none) = (0, 0);
    for _ in 0..CALLS {
        match service.ready().await?.call(ToolRequest::from("the weather")).await {
            Ok(reply) => wrong += u32::from(!reply.correct),
            Err(_) => none += 1,
        }
    }
    let percent = |count: u32| 100.0 * f64::from(count) / f64::from(CALLS);
    let calls: u64 = all.iter().map(|tool| tool.stats().launched).sum();
    println!(
        "{name:34} {:>5.1} % {:>7.1} % {:>5.1} % {:>6.2}",
        percent(wrong),
        100.0 * expected,
        percent(none),
        calls as f64 / f64::from(CALLS),
    );
    Ok(())
}
