//! A report of two required parts and three optional ones, which go away one after another.
//!
//! Prints each change of the level and each call that is refused, then how the calls were
//! answered, and an answer from the worst of it. The clock is simulated.

use std::{error::Error, time::Duration};

use buttress::{DegradeLayer, Event, Teller};
use buttress_sim::{FailKind, Fate, Faults, Rule, Takes, Tool, ToolRequest, When, Window};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};

/// Answers within a second.
fn well() -> Result<Faults, Box<dyn Error>> {
    Ok(Faults::none().fast_takes(Takes::seconds(0.5, 1.0)?))
}

/// So too, but does as `fate` says between these two seconds.
fn away(from: f64, to: f64, fate: Fate<Takes>) -> Result<Tool, Box<dyn Error>> {
    let away = Rule::new(When::During(Window::seconds(from, to)?), fate);
    Ok(Tool::new(well()?.rule(away), 7))
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let fails = Fate::Fail { kind: FailKind::Connect, after: Duration::from_millis(100).into() };
    let start = Instant::now();
    let seconds = move || start.elapsed().as_secs_f64();
    let mut report = DegradeLayer::new()
        .required("prices", Tool::new(well()?, 7))
        .required("filings", away(150.0, 160.0, fails)?)
        .optional("news", away(30.0, 120.0, Fate::Hang)?)
        .optional("ratings", away(60.0, 120.0, fails)?)
        .optional("rumours", away(80.0, 100.0, fails)?)
        .patience(Duration::from_secs(3))
        .name("report")
        .observe(move |teller: Teller<'_>, event: &Event| match event {
            Event::LevelChanged { from, to, why } => {
                println!("{:6.1} s  {}: {from} -> {to} ({why})", seconds(), teller.name);
            }
            Event::Rejected { .. } => println!("{:6.1} s  {}: refused", seconds(), teller.name),
            _ => {}
        })
        .into_service();
    let handle = report.handle();

    let mut worst = None;
    while seconds() < 200.0 {
        if let Ok(answers) = report.ready().await?.call(ToolRequest::from("ACME")).await
            && worst.as_ref().is_none_or(|(level, _)| answers.level() > *level)
        {
            worst = Some((answers.level(), answers));
        }
        sleep(Duration::from_secs(1)).await;
    }
    println!("now {}, {:?}", handle.level(), handle.counters());
    let Some((level, answers)) = worst else { return Err("nobody ever answered".into()) };
    println!("an answer at its worst ({level}):");
    for (name, _) in answers.iter() {
        println!("  {name} answered");
    }
    for cause in answers.failed() {
        println!("  {cause}");
    }
    Ok(())
}
