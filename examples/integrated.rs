//! The documents' fault-tolerant agent: all patterns around one analyst, in an order that works.
//!
//! A price-action analyst is down for a minute, hangs now and then and fails in one call of ten. A
//! cheaper analyst, and after it a rule, stand in. Prints the stack, checks its order, and the
//! answers by who gave them: bare, in the documents' order, and in ours. The clock is simulated.

use std::{collections::BTreeMap, error::Error, num::NonZeroU32, time::Duration};

use buttress::{
    Backoff, BreakerLayer, Factor, FallbackLayer, Jitter, Random, RetryLayer, ServiceBuilderExt,
    Stack, Trigger, stack::outline,
};
use buttress_sim::{
    FailKind, Fate, Faults, Rule, Shares, Takes, Tool, ToolError, ToolReply, ToolRequest, When,
    Window,
};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt};

const CALLS: u32 = 600;
const SECOND: Duration = Duration::from_secs(1);

/// Who answered, and what.
type Answer = (&'static str, ToolReply);

/// Fails in one call of ten, hangs in one of fifty, and is away for a minute.
fn analyst() -> Result<Tool, Box<dyn Error>> {
    let faults = Faults::new(Shares::new(0.1, 0.0)?)
        .fail_after(Takes::seconds(0.1, 1.0)?)
        .fast_takes(Takes::seconds(2.0, 8.0)?);
    let hang = Rule::new(When::Share(buttress::Ratio::percent(2)), Fate::Hang);
    let away = Fate::Fail { kind: FailKind::Timeout, after: Takes::seconds(3.0, 9.0)? };
    let away = Rule::new(When::During(Window::seconds(300.0, 360.0)?), away);
    Ok(Tool::new(faults.rule(away).rule(hang), 7).name("analyst"))
}

fn cheaper() -> Result<Tool, Box<dyn Error>> {
    let faults = Faults::new(Shares::new(0.05, 0.0)?).fast_takes(Takes::seconds(0.5, 1.5)?);
    Ok(Tool::new(faults, 8).name("cheaper"))
}

/// Knows little, and always answers.
fn rule(request: &ToolRequest) -> Result<Answer, ToolError> {
    let (query, instance) = (request.query.clone(), 0);
    Ok(("rule", ToolReply { query, instance, correct: true }))
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{:11} {:>8} {:>8} {:>6} {:>7} {:>8} {:>8} {:>6}",
        "", "primary", "cheaper", "rule", "failed", "mean", "worst", "calls"
    );

    // An agent without protection would wait for ever when a call hangs.
    let tool = analyst()?;
    let bare = ServiceBuilder::new()
        .time_limit(60 * SECOND)
        .map_response(|reply| ("primary", reply))
        .service(tool.clone());
    run("bare", bare, &tool).await;

    let tool = analyst()?;
    let documents = ServiceBuilder::new()
        .breaker(
            BreakerLayer::new(Trigger::consecutive(NonZeroU32::new(5).ok_or("five is not zero")?))
                .open_for(Backoff::constant(60 * SECOND)),
        )
        .retry_classified(
            RetryLayer::new()
                .backoff(
                    Backoff::exponential(SECOND, 60 * SECOND)
                        .factor(Factor::TWO)
                        .jitter(Jitter::HalfToOneAndHalf),
                )
                .random(Random::seeded(7)),
        )
        .time_limit(30 * SECOND)
        .layer(FallbackLayer::to(cheaper()?.map_response(|reply| ("cheaper", reply))).then_fn(rule))
        .map_response(|reply| ("primary", reply));
    let (service, parts) = outline(&documents, tool.clone());
    run("documents", service, &tool).await;
    let disorder = parts.check();

    let tool = analyst()?;
    let analyst = Stack::llm("analyst")
        .attempt_within(15 * SECOND)
        .within(40 * SECOND)
        .random(Random::seeded(7));
    let circuit = analyst.breaker_handle();
    let cheaper = ServiceBuilder::new()
        .layer(Stack::llm("cheaper").attempt_within(5 * SECOND).random(Random::seeded(7)))
        .map_response(|reply| ("cheaper", reply))
        .service(cheaper()?);
    let ours = ServiceBuilder::new()
        .layer(FallbackLayer::to(cheaper).named("cheaper").then_fn(rule).named("rule"))
        .layer(analyst)
        .map_response(|reply| ("primary", reply));
    let (service, parts) = outline(&ours, tool.clone());
    run("ours", service, &tool).await;

    println!("\nour stack:\n{parts}");
    println!("its circuit opened {} times", circuit.counters().opened);
    println!("check of ours: {:?}", parts.check().map(|()| "fine"));
    if let Err(disorder) = disorder {
        println!("check of the documents':\n  {}", disorder.to_string().replace("; ", "\n  "));
    }
    Ok(())
}

async fn run<S>(name: &str, mut service: S, tool: &Tool)
where
    S: Service<ToolRequest, Response = Answer>,
{
    let mut answers = BTreeMap::new();
    let (mut sum, mut worst) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..CALLS {
        let start = Instant::now();
        let Ok(ready) = service.ready().await else { continue };
        let outcome = ready.call(ToolRequest::from("AAPL")).await;
        *answers.entry(outcome.map_or("failed", |(who, _)| who)).or_insert(0) += 1;
        sum += start.elapsed();
        worst = worst.max(start.elapsed());
    }
    let count = |who| answers.get(who).copied().unwrap_or(0);
    println!(
        "{name:11} {:>8} {:>8} {:>6} {:>7} {:>7.2}s {:>7.2}s {:>6}",
        count("primary"),
        count("cheaper"),
        count("rule"),
        count("failed"),
        sum.as_secs_f64() / f64::from(CALLS),
        worst.as_secs_f64(),
        tool.stats().launched
    );
}
