//! A breaker before a tool that is away for a minute.
//!
//! Prints each change of the circuit, and how many calls reached the tool while it was away. The
//! clock is simulated.

use std::{error::Error, time::Duration};

use buttress::{BreakerLayer, Event, Random, Teller};
use buttress_sim::{FailKind, Fate, Faults, Rule, Tool, ToolRequest, When, Window};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt};

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let away = When::During(Window::seconds(20.0, 80.0)?);
    let dead = Fate::Fail { kind: FailKind::Connect, after: Duration::from_millis(100).into() };
    let tool = Tool::new(Faults::weak().rule(Rule::new(away, dead)), 7);

    let start = Instant::now();
    let layer = BreakerLayer::default().name("weather").random(Random::seeded(7)).observe(
        move |teller: Teller<'_>, event: &Event| match event {
            Event::Rejected { .. } => {}
            event => {
                println!("{:6.1} s  {}: {event:?}", start.elapsed().as_secs_f64(), teller.name);
            }
        },
    );
    let handle = layer.handle();
    let mut service = ServiceBuilder::new().layer(layer).service(tool.clone());

    for _ in 0..240 {
        let _ = service.ready().await?.call(ToolRequest::from("the weather")).await;
        sleep(Duration::from_millis(400)).await;
    }
    let counters = handle.counters();
    println!("tool: {} calls; circuit: {:?}, {counters:?}", tool.stats().launched, handle.state());
    Ok(())
}
