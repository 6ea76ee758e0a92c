//! Three replicas of a tool, one of which is away for two minutes.
//!
//! Prints who served in each phase, first with all of them active, then with one active and two
//! standing by, and each change of the roster. The clock is simulated.

use std::{error::Error, time::Duration};

use buttress::{Event, FailoverLayer, Random, Teller};
use buttress_sim::{FailKind, Fate, Faults, Rule, Tool, ToolRequest, When, Window};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("all active");
    run(FailoverLayer::active_active()).await?;
    println!("one active");
    run(FailoverLayer::active_passive().fail_back(true)).await
}

async fn run(layer: FailoverLayer<Tool>) -> Result<(), Box<dyn Error>> {
    let away = When::During(Window::seconds(60.0, 180.0)?);
    let dead = Fate::Fail { kind: FailKind::Connect, after: Duration::from_millis(100).into() };
    let frail = Tool::new(Faults::weak().rule(Rule::new(away, dead)), 1);
    let tools = [frail, Tool::new(Faults::weak(), 2), Tool::new(Faults::weak(), 3)];

    let start = Instant::now();
    let layer = layer.random(Random::seeded(7)).observe(move |_: Teller<'_>, event: &Event| {
        if !matches!(event, Event::Failed { .. } | Event::Diverted { .. } | Event::Won { .. }) {
            println!("{:7.1} s  {event:?}", start.elapsed().as_secs_f64());
        }
    });
    let mut service = layer.over(["rome", "oslo", "lima"].into_iter().zip(tools));
    let handle = service.handle();

    let mut before = vec![0; 3];
    for (phase, calls) in [("all well", 120), ("rome away", 240), ("rome back", 240)] {
        let mut unanswered = 0;
        for _ in 0..calls {
            // A call every half second, whatever it takes.
            let next = Instant::now() + Duration::from_millis(500);
            let call = service.ready().await?.call(ToolRequest::from("the weather"));
            unanswered += u32::from(call.await.is_err());
            sleep(next.saturating_duration_since(Instant::now())).await;
        }
        let views = handle.snapshot();
        print!("           {phase}: {unanswered} of {calls} unanswered; answered by");
        for (view, before) in views.iter().zip(&mut before) {
            print!(" {} {}", view.name, view.answered - *before);
            *before = view.answered;
        }
        println!();
    }
    Ok(())
}
