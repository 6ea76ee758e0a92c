//! All layers in their order, over a tool that fails, hangs, throttles and goes away.
//!
//! Prints what the layers tell in the first calls, then success bare and through the stack. The
//! clock is simulated.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    BreakerLayer, Budget, Event, HedgeLayer, Random, Ratio, RetryLayer, ServiceBuilderExt, Teller,
    Trigger,
};
use buttress_sim::{Fate, Faults, Rule, Tool, ToolRequest, When};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt};

const CALLS: u32 = 2_000;

fn tool() -> Result<Tool, Box<dyn Error>> {
    let hang = Rule::new(When::Share(Ratio::percent(2)), Fate::Hang);
    let throttle =
        Fate::Throttle { retry_after: Some(Duration::from_secs(2)), after: Duration::ZERO.into() };
    let throttled = Rule::new(When::Share(Ratio::percent(2)), throttle);
    Ok(Tool::new(Faults::unreliable().rule(hang).rule(throttled), 7))
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let lines = Arc::new(AtomicU32::new(0));
    let tell = move |teller: Teller<'_>, event: &Event| {
        if lines.fetch_add(1, Ordering::Relaxed) < 20 {
            println!("{:7.3} s  {:8} {event:?}", start.elapsed().as_secs_f64(), teller.pattern);
        }
    };
    let budget = Budget::default();
    let stacked = ServiceBuilder::new()
        .time_limit(Duration::from_secs(30)) // the call
        .retry_classified(
            RetryLayer::new()
                .budget(budget.clone())
                .random(Random::seeded(7))
                .observe(tell.clone()),
        )
        .hedge(HedgeLayer::after(Duration::from_secs(1)).attempts(4).observe(tell.clone()))
        .breaker(BreakerLayer::new(Trigger::flaky()).name("weather").observe(tell))
        .time_limit(Duration::from_secs(8)) // each attempt
        .service(tool()?);

    let stacked = success(stacked).await;
    // Bare, a call that hangs would hang for ever.
    let bare = ServiceBuilder::new().time_limit(Duration::from_secs(30)).service(tool()?);
    println!("bare:    {:6.2} % succeed", success(bare).await);
    println!("stacked: {stacked:6.2} % succeed, {:.1} tokens left", budget.balance());
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
