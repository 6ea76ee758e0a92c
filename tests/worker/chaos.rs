//! Workers over stores that fail, in processes that are stopped and die.

use std::collections::BTreeMap;

use buttress::{
    CheckpointLayer, Rejection,
    checkpoint::{Effects, InDoubt, Step},
    store::IdempotencyKey,
};
use proptest::prelude::*;
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::{faulty, support::simulate};

/// What the tools saw of the handlers.
#[derive(Clone, Default)]
struct World(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// The newest epoch under which a workflow's handler was seen.
    newest: BTreeMap<String, u64>,
    /// The effects by key; who honours keys does each once.
    effects: BTreeMap<IdempotencyKey, u32>,
    /// Steps that may not be repeated, and how often they were done.
    charges: BTreeMap<String, u32>,
}

impl World {
    /// No handler goes on once another was started for its workflow.
    fn sees(&self, task: &Task) {
        let epoch = task.journal().lease().unwrap().epoch;
        let mut seen = self.0.lock().unwrap();
        let newest = seen.newest.entry(task.id().to_owned()).or_default();
        assert!(epoch >= *newest, "{}: epoch {epoch} goes on after {newest}", task.id());
        *newest = epoch;
    }

    async fn step(&self, task: &Task, name: &str, effects: Effects) -> Result<u64, Rejection> {
        let tool = async |step: Step<u64>| {
            sleep(SECOND).await;
            self.sees(task);
            let mut seen = self.0.lock().unwrap();
            *seen.effects.entry(step.key.unwrap()).or_default() += 1;
            if effects == Effects::SideEffect(InDoubt::Fail) {
                *seen.charges.entry(task.id().to_owned()).or_default() += 1;
            }
            Ok(step.request + 1)
        };
        let layer = CheckpointLayer::new(task.journal().clone(), effects);
        let step = Step::new(task.id(), name, 10_u64);
        let done = layer.layer(service_fn(tool)).oneshot(step).await;
        self.sees(task);
        done
    }

    async fn handle(&self, task: Task) -> Result<u64, Failure> {
        self.sees(&task);
        let failed = |rejection: Rejection| Failure(rejection.verdict(), "a step failed");
        let one = self.step(&task, "ask", Effects::Idempotent).await.map_err(failed)?;
        let effects = Effects::SideEffect(InDoubt::Retry);
        let two = self.step(&task, "book", effects).await.map_err(failed)?;
        // May stay in doubt, and then fails for good.
        let three = if task.id() == "order-0" {
            let effects = Effects::SideEffect(InDoubt::Fail);
            self.step(&task, "charge", effects).await.map_err(failed)?
        } else {
            self.step(&task, "note", Effects::ReadOnly).await.map_err(failed)?
        };
        sleep(SECOND).await;
        self.sees(&task);
        Ok(one + two + three)
    }
}

#[derive(Clone, Copy, Debug)]
enum Blow {
    Fault(faulty::Fault),
    Stop,
    Wake,
    Die,
}

fn blows() -> impl Strategy<Value = Vec<(usize, Blow, u64)>> {
    let blow = prop_oneof![
        1 => Just(Blow::Fault(faulty::Fault::Down)),
        1 => Just(Blow::Fault(faulty::Fault::AnswersLost)),
        1 => Just(Blow::Fault(faulty::Fault::Silent)),
        3 => Just(Blow::Fault(faulty::Fault::None)),
        2 => Just(Blow::Stop),
        3 => Just(Blow::Wake),
        2 => Just(Blow::Die),
    ];
    prop::collection::vec((0..3_usize, blow, 0..8_000_u64), 1..20)
}

async fn play(blows: &[(usize, Blow, u64)]) {
    const ORDERS: u64 = 6;
    let (store, world) = (MemoryStore::new(), World::default());
    let journal = desk(&store);
    for n in 0..ORDERS {
        submit(&journal, format!("order-{n}"), &n).await.unwrap();
    }
    let make = || Process::new(&store).set(|worker| worker.attempts(100));
    let start = |process: &Process| {
        let world = world.clone();
        process.start(move |task: Task| {
            let world = world.clone();
            async move { world.handle(task).await }
        })
    };
    let mut processes: Vec<_> = (0..3).map(|_| make()).collect();
    let mut running: Vec<_> = processes.iter().map(start).collect();
    for (n, blow, wait) in blows {
        match blow {
            Blow::Fault(fault) => processes[*n].store.set(*fault),
            Blow::Stop => processes[*n].stopped.send(true).unwrap_or_default(),
            Blow::Wake => processes[*n].stopped.send(false).unwrap_or_default(),
            Blow::Die => {
                running[*n].1.abort();
                settle().await;
                processes[*n] = make();
                running[*n] = start(&processes[*n]);
            }
        }
        sleep(Duration::from_millis(*wait)).await;
        let panicked = running.iter().any(|(_, worker)| worker.is_finished());
        assert!(!panicked, "a worker ended by itself");
    }
    // All is well again: every workflow ends.
    for process in &processes {
        process.store.set(faulty::Fault::None);
        process.stopped.send(false).unwrap_or_default();
    }
    for n in 0..ORDERS {
        let ended = timeout(100 * TTL, wait::<u64>(&journal, format!("order-{n}"), POLL)).await;
        match ended.unwrap() {
            Ok(sum) => assert_eq!(sum, 33),
            Err(WorkError::Failed { message, .. }) if n == 0 => {
                assert_eq!(message, "a step failed");
            }
            Err(error) => panic!("order-{n}: {error}"),
        }
    }
    let seen = world.0.lock().unwrap();
    // One key for each step, however often it was tried; what must not be repeated never was.
    assert!(seen.effects.len() <= 3 * ORDERS as usize);
    assert!(seen.effects.len() >= 3 * ORDERS as usize - 1);
    assert!(seen.charges.values().all(|times| *times <= 1), "{:?}", seen.charges);
}

#[test]
fn every_workflow_ends_once_whatever_happens_to_its_workers() {
    simulate(&blows(), 50, async |blows| play(&blows).await);
}
