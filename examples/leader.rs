//! Active-passive over two processes: one of two candidates for an office is let in, the other is refused, and
//! takes over when the first dies.
//!
//! Prints who writes the report each second, under which fence, and what a late request of the dead
//! leader comes to. Both candidates are in this process, over a store in memory, with a simulated clock; see
//! `leader_failover` for two real ones over PostgreSQL.

use std::{
    error::Error,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress::{
    CallError, LeaderLayer, Rejection, ServiceBuilderExt,
    leader::{FencingToken, Led},
    store::{Journal, MemoryStore},
};
use tokio::time::sleep;
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// What the tool says to a request with a fence that is over.
#[derive(Debug, PartialEq)]
struct Stale;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = MemoryStore::new();
    let candidate = |name: &str| {
        let journal = Journal::new(store.clone()).owner(name).ttl(Duration::from_secs(6));
        LeaderLayer::new(journal, "reports").poll(Duration::from_millis(500))
    };
    let (a, b) = (candidate("a"), candidate("b"));
    let dying = tokio::spawn(a.campaign(pending()));
    a.handle().wait_until_leader().await;
    tokio::spawn(b.campaign(pending()));

    // The tool keeps the greatest fence that it has seen.
    let greatest = Arc::new(AtomicU64::new(0));
    let report = move |call: Led<&'static str>| {
        let fence = call.token.map_or(0, FencingToken::get);
        let seen = greatest.fetch_max(fence, Ordering::Relaxed);
        async move { if fence < seen { Err(Stale) } else { Ok(fence) } }
    };
    let tool = service_fn(report);
    let service = |layer: &LeaderLayer| {
        let stack = ServiceBuilder::new().map_request(Led::new).leader(layer.clone()).wrap_errors();
        stack.service(tool.clone())
    };
    let (first, second) = (service(&a), service(&b));

    let mut late = None;
    for second_of_time in 0..12 {
        if second_of_time == 3 {
            // A request that `a` was let in with, and that is on its way for long.
            late = a.handle().lease().map(|lease| lease.epoch);
            dying.abort();
            tokio::task::yield_now().await;
            println!("{second_of_time:>2} s  a dies");
        }
        for (name, service) in [("a", &first), ("b", &second)] {
            match service.clone().oneshot("report").await {
                Ok(fence) => println!("{second_of_time:>2} s  {name} reports, fence {fence}"),
                Err(CallError::Rejected(Rejection::NotLeader {
                    retry_after: Some(wait), ..
                })) => {
                    println!("{second_of_time:>2} s  {name} is refused, retry after {wait:.1?}");
                }
                Err(CallError::Rejected(refusal)) => {
                    println!("{second_of_time:>2} s  {name}: {refusal}");
                }
                Err(CallError::Service(Stale)) => return Err("no leader is stale here".into()),
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
    let mut call = Led::new("report");
    call.token = late.map(FencingToken::new);
    let outcome = tool.oneshot(call).await;
    println!("12 s  what a had sent arrives: {outcome:?}");
    if outcome != Err(Stale) || !b.handle().is_leader() {
        return Err("b leads, and what a sends is stale".into());
    }
    Ok(())
}
