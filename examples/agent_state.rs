//! An agent that saves its state as it works, dies, and finds it again, even if the disk lies.
//!
//! It saves every fifth step, or after ten seconds, and does not stop working for it. It is killed in the
//! middle; then the newest version rots. The next start passes that over, says so, and goes on from the one
//! before. A run that was thought dead comes back, and its save is refused. The clock is simulated; `resume`
//! has real processes, over a file.

use std::{error::Error, time::Duration};

use buttress::{
    Event, Teller,
    store::{Journal, MemoryStore},
};
use buttress_flow::state::{Checkpoints, Every, Listed, Saved};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Agent {
    step: u32,
    notes: Vec<String>,
}

impl Agent {
    async fn step(&mut self) {
        sleep(SECOND).await;
        self.step += 1;
        self.notes.push(format!("what was learnt in step {}", self.step));
    }
}

fn open(journal: &Journal) -> Checkpoints<Agent> {
    let tell = |_: Teller<'_>, event: &Event| match event {
        Event::Damaged { version } => println!("  version {version} is damaged"),
        Event::Recorded { version, .. } => println!("  version {version} is durable"),
        _ => {}
    };
    Checkpoints::new(journal.clone(), "researcher").observe(tell)
}

/// Works up to a step, and saves on the way.
async fn work(journal: &Journal, until: u32) -> Result<Agent, Box<dyn Error>> {
    let mut checkpoints = open(journal);
    let mut agent = match checkpoints.recover().await? {
        Some(Saved { state, version, .. }) => {
            println!("  goes on after step {}, with version {version}", state.step);
            state
        }
        None => {
            println!("  starts from nothing");
            Agent::default()
        }
    };
    let every = Every::steps(5).or_interval(10 * SECOND);
    let (mut periodic, saver) = checkpoints.periodic(every);
    let steps = async move {
        let start = Instant::now();
        while agent.step < until {
            agent.step().await;
            periodic.note(&agent, json!({ "step": agent.step }))?;
        }
        println!("  works up to step {until} in {:?}", start.elapsed());
        periodic.flush(&agent, json!({ "step": agent.step, "why": "the end" })).await?;
        Ok(agent)
    };
    // In one task: when this future is dropped, nothing goes on behind its back.
    let (agent, _) = tokio::join!(steps, saver);
    agent
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = MemoryStore::new();
    let journal = Journal::new(store.clone());

    println!("the first start:");
    if timeout(18 * SECOND, work(&journal, 100)).await.is_err() {
        println!("  is killed after 18 s");
    }

    let mut thought_dead = open(&journal);
    thought_dead.recover().await?;
    let newest = thought_dead.newest();
    println!("a bit of version {newest} flips");
    store.tamper(thought_dead.subject(), newest, |bytes| {
        if let Some(byte) = bytes.last_mut() {
            *byte ^= 1;
        }
    });

    println!("the second start:");
    let agent = work(&journal, 30).await?;
    println!("  has {} notes", agent.notes.len());

    println!("what is kept:");
    for listed in open(&journal).list().await? {
        match listed {
            Listed::Intact { version, parent, metadata, bytes, .. } => {
                let parent = parent.map_or_else(|| "nothing".into(), |parent| parent.to_string());
                println!("  {version}, made from {parent}: {metadata}, {bytes} bytes");
            }
            Listed::Damaged { version, damage } => println!("  {version}: {damage}"),
            _ => {}
        }
    }

    println!("one that was thought dead saves what it has:");
    match thought_dead.save(&Agent::default(), json!(null)).await {
        Ok(version) => println!("  version {version}, which was not to be expected"),
        Err(error) => println!("  {error}"),
    }
    Ok(())
}
