//! Two limits: a fixed one that keeps calls waiting and refuses what is too much, and one that finds
//! out how many calls a tool can take.
//!
//! Prints what becomes of each of five calls, then how the limit moves and how many calls were
//! answered. The clock is simulated.

use std::{
    error::Error,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{CallError, Fault, LimitLayer, ServiceBuilderExt, Verdict};
use tokio::time::{Instant, sleep};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);
const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// What the tool says when it has too much to do.
#[derive(Debug, PartialEq)]
struct Busy;

impl Fault for Busy {
    fn verdict(&self) -> Verdict {
        Verdict::throttled()
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    fixed().await?;
    adaptive().await
}

/// Two calls at once, and one more may wait.
async fn fixed() -> Result<(), Box<dyn Error>> {
    let search = async |_: u32| {
        sleep(SECOND).await;
        Ok::<_, BoxError>(())
    };
    let service = ServiceBuilder::new()
        .limit(LimitLayer::fixed(TWO).queue(1).name("search"))
        .service(service_fn(search));
    let start = Instant::now();
    let calls = (1..=5).map(|call| (call, tokio::spawn(service.clone().oneshot(call))));
    for (call, running) in calls.collect::<Vec<_>>() {
        match running.await? {
            Ok(()) => println!("call {call}: answered after {:.0?}", start.elapsed()),
            Err(error) => println!("call {call}: {error}"),
        }
    }
    Ok(())
}

/// Forty callers ask a tool that takes eight calls at once and turns others away.
async fn adaptive() -> Result<(), Box<dyn Error>> {
    let running = Arc::new(AtomicU32::new(0));
    let tool = move |_: u32| {
        let running = running.clone();
        async move {
            let busy = running.fetch_add(1, Ordering::Relaxed) >= 8;
            sleep(SECOND / if busy { 100 } else { 5 }).await;
            running.fetch_sub(1, Ordering::Relaxed);
            if busy { Err(Busy) } else { Ok(()) }
        }
    };
    let layer = LimitLayer::adaptive().start(TWO).name("weather");
    let limit = layer.handle();
    let service = ServiceBuilder::new().limit(layer).wrap_errors().service(service_fn(tool));
    let (answered, turned_away) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    for caller in 0..40 {
        let service = service.clone();
        let (answered, turned_away) = (answered.clone(), turned_away.clone());
        tokio::spawn(async move {
            loop {
                match service.clone().oneshot(caller).await {
                    Ok(()) => answered.fetch_add(1, Ordering::Relaxed),
                    Err(CallError::Service(Busy)) => turned_away.fetch_add(1, Ordering::Relaxed),
                    // Refused by the limit: it says when to come back.
                    Err(CallError::Rejected(full)) => {
                        sleep(full.retry_after().unwrap_or(SECOND)).await;
                        continue;
                    }
                };
            }
        });
    }
    for second in 1..=6 {
        sleep(SECOND).await;
        let (answered, turned_away) =
            (answered.swap(0, Ordering::Relaxed), turned_away.swap(0, Ordering::Relaxed));
        println!(
            "second {second}: limit {}, {answered} answered, {turned_away} turned away by the tool",
            limit.limit()
        );
    }
    println!("{:?}", limit.counters());
    Ok(())
}
