//! A model that is slow or fails now and then, a cheaper one, and a rule.
//!
//! Prints who answered how many questions, and what happens if the timeout stands outside of the
//! fallback instead of inside. The clock is simulated.

use std::{error::Error, sync::Arc, time::Duration};

use buttress::{FallbackLayer, TimeoutLayer};
use buttress_sim::{FailKind, Fate, Faults, Rule, Tool, ToolError, ToolReply, ToolRequest, When};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt};

const QUESTIONS: u32 = 2_000;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let best = Tool::new(Faults::unreliable(), 7);
    let cheaper = Tool::new(Faults::weak(), 8);
    let rule = |request: &ToolRequest| {
        Ok(ToolReply { query: Arc::clone(&request.query), instance: 0, correct: false })
    };
    let layer = FallbackLayer::to(cheaper)
        .named("cheaper")
        .then_fn(rule)
        .named("rule")
        .primary("best")
        .name("answer");
    let handle = layer.handle();
    let limit = TimeoutLayer::new(Duration::from_secs(2));

    println!("bare:                     {}", ask(best.clone()).await);
    let outside =
        ServiceBuilder::new().layer(limit.clone()).layer(layer.clone()).service(best.clone());
    println!("timeout(fallback(model)): {}", ask(outside).await);
    let before = handle.fallen_back();
    let inside = ServiceBuilder::new().layer(layer).layer(limit).service(best);
    println!("fallback(timeout(model)): {}", ask(inside).await);

    println!(
        "fell back: {before} calls of the second, {} of the third",
        handle.fallen_back() - before
    );
    for (tier, calls) in handle.answered() {
        println!("tier {}, {}: {calls} answers", tier.number(), tier.name());
    }

    // When nobody can answer, the error says why each could not.
    let always = |kind| Rule::new(When::Always, Fate::Fail { kind, after: Duration::ZERO.into() });
    let dead = |kind| Tool::new(Faults::none().rule(always(kind)), 9);
    let layer = FallbackLayer::to(dead(FailKind::Connect)).named("cheaper").name("answer");
    let service = ServiceBuilder::new().layer(layer).service(dead(FailKind::Timeout));
    if let Err(error) = service.oneshot(ToolRequest::from("the weather")).await {
        println!("{error}");
    }
    Ok(())
}

async fn ask<S>(mut service: S) -> String
where
    S: Service<ToolRequest, Response = ToolReply, Error = ToolError>,
{
    let (start, mut answers, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    for _ in 0..QUESTIONS {
        let asked = Instant::now();
        let Ok(ready) = service.ready().await else { continue };
        answers += u32::from(ready.call(ToolRequest::from("the weather")).await.is_ok());
        slowest = slowest.max(asked.elapsed());
    }
    let mean = start.elapsed() / QUESTIONS;
    let answered = 100.0 * f64::from(answers) / f64::from(QUESTIONS);
    format!("{answered:6.2} % answered, mean {mean:.2?}, slowest {slowest:.2?}")
}
