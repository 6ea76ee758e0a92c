//! Two processes over one PostgreSQL, of which one leads; it is killed, and the other takes over.
//!
//! Prints who leads, and for how long nobody did. Needs a server: `BUTTRESS_POSTGRES` is its URL, and
//! `scripts/postgres run cargo run -p buttress-examples --example leader_failover` makes one for it.

use std::{
    env,
    error::Error,
    future::pending,
    process::{self, Stdio},
    time::Duration,
};

use buttress::{
    LeaderLayer, Rejection,
    leader::{FencingToken, Led},
    store::{Journal, Store, WorkflowId},
};
use buttress_store::PostgresStore;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// How long the office stays with a process that gives no sign of life.
const TTL: Duration = Duration::from_millis(1_500);
const POLL: Duration = Duration::from_millis(150);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("BUTTRESS_POSTGRES").map_err(|_| {
        "BUTTRESS_POSTGRES is not set: it is the URL of a PostgreSQL server, \
         which `scripts/postgres run COMMAND` makes for a command"
    })?;
    match env::args().collect::<Vec<_>>().as_slice() {
        [_, name, namespace] => candidate(&url, name, namespace).await,
        _ => watch(&url).await,
    }
}

/// One of the processes: calls a tool all the time, and prints when its calls are let in.
async fn candidate(url: &str, name: &str, namespace: &str) -> Result<(), Box<dyn Error>> {
    let store = PostgresStore::connect(url).await?;
    let journal = Journal::new(store).namespace(namespace).owner(name).ttl(TTL);
    let layer = LeaderLayer::new(journal, "scheduler").poll(POLL);
    tokio::spawn(layer.campaign(pending()));
    let tool = service_fn(async |call: Led<()>| Ok::<_, Rejection>(call.token));
    let service = ServiceBuilder::new().layer(layer).service(tool);
    let mut last = None;
    loop {
        let fence = service.clone().oneshot(Led::new(())).await.ok().flatten();
        if let Some(fence) = fence.map(FencingToken::get)
            && last != Some(fence)
        {
            println!("{fence}");
            last = Some(fence);
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// A process that is gone with this one.
struct Process {
    name: &'static str,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(name: &'static str, namespace: &str) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(env::current_exe()?)
            .args([name, namespace])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or("it has an output")?;
        Ok(Self { name, child, lines: BufReader::new(output).lines() })
    }

    /// Waits until its calls are let in, and returns their fence.
    async fn leads(&mut self) -> Result<u64, Box<dyn Error>> {
        let line = timeout(Duration::from_secs(20), self.lines.next_line()).await??;
        Ok(line.ok_or("it ended")?.parse()?)
    }
}

async fn watch(url: &str) -> Result<(), Box<dyn Error>> {
    let store = PostgresStore::connect(url).await?;
    let namespace = format!("failover-{}", process::id());
    let mut a = Process::start("a", &namespace)?;
    let first = a.leads().await?;
    println!("{} leads, fence {first}", a.name);
    let mut b = Process::start("b", &namespace)?;
    // Long enough to see that it stays so.
    let early = timeout(2 * TTL, b.leads()).await;
    if early.is_ok() {
        return Err("two lead at once".into());
    }
    let office = WorkflowId::new(buttress::leader::NAMESPACE, format!("{namespace}/scheduler"));
    let summary = store.summary(&office).await?.ok_or("the office is in the store")?;
    let (owner, left) = summary.held.ok_or("it is held")?;
    println!("the store: held by {owner} for another {left:.1?}, fence {}", summary.epoch);

    a.child.kill().await?;
    let killed = Instant::now();
    println!("{} is killed", a.name);
    let second = b.leads().await?;
    let without = killed.elapsed();
    println!("{} leads after {without:.2?}, fence {second}", b.name);
    b.child.kill().await?;
    store.delete(&office).await?;
    if second <= first {
        return Err("the fence did not grow".into());
    }
    // A lease and a poll; the rest is for the machine.
    if without > TTL + POLL + Duration::from_secs(2) {
        return Err("that took too long".into());
    }
    Ok(())
}
