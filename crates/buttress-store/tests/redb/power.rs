//! The power fails, again and again: what was answered is there, and nothing else is taken for it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use buttress::store::{Begun, Digest, Entry, Store, StoreError, WorkflowId};
use buttress_store::{RedbStore, redb::Options};

use crate::{
    disk::Disk,
    support::{Dice, begin, id, payload, result, take},
};

/// What was answered: the digest of the result of each step.
type Answered = Arc<Mutex<BTreeMap<(WorkflowId, String), Digest>>>;

const WORKFLOWS: u64 = 5;

fn content(workflow: &WorkflowId, step: &str) -> String {
    format!("{workflow} {step} ").repeat(1 + step.len() * 17 % 97)
}

/// Does one more step of a workflow, as one who resumes it: what is in doubt is done again.
async fn advance(
    store: &RedbStore,
    workflow: &WorkflowId,
    step: &str,
) -> Result<Digest, StoreError> {
    let mut asked = begin(workflow, step, take("me"), true);
    loop {
        match store.begin(&asked).await? {
            Begun::Fresh(ticket) => {
                let entry = Entry::done(payload(&content(workflow, step)));
                return Ok(store.complete(&ticket, entry).await?.record.digest);
            }
            Begun::Completed { record } => {
                assert_eq!(record.payload, payload(&content(workflow, step)));
                return Ok(record.digest);
            }
            Begun::Pending { record, .. } => asked.restart = Some(record.version),
            other => panic!("{workflow} {step}: {other:?}"),
        }
    }
}

/// Works until the power fails, or the work is done.
async fn work(store: &RedbStore, answered: &Answered, round: u64, at_once: bool) {
    let lane = |workflow: WorkflowId| {
        let (store, answered) = (store.clone(), answered.clone());
        async move {
            for n in 0..8 {
                let step = format!("step {}", round * 8 + n);
                let Ok(digest) = advance(&store, &workflow, &step).await else { return };
                answered.lock().expect("no panic").insert((workflow.clone(), step), digest);
            }
        }
    };
    let lanes: Vec<_> = (0..WORKFLOWS).map(|n| lane(id(&n.to_string()))).collect();
    if at_once {
        let lanes: Vec<_> = lanes.into_iter().map(tokio::spawn).collect();
        for lane in lanes {
            lane.await.expect("no panic");
        }
    } else {
        for lane in lanes {
            lane.await;
        }
    }
}

/// What is wrong after a failure, if anything is.
async fn check(store: &RedbStore, answered: &Answered) -> Result<(), String> {
    let answered = answered.lock().expect("no panic").clone();
    for ((workflow, step), digest) in answered {
        match result(store, &workflow, &step).await {
            None => return Err(format!("{workflow} {step} was answered and is lost")),
            Some(record) if record.digest != digest => {
                return Err(format!("{workflow} {step} is another record"));
            }
            Some(record) if record.payload != payload(&content(&workflow, &step)) => {
                return Err(format!("{workflow} {step} says something else"));
            }
            Some(_) => {}
        }
    }
    for summary in store.list(None, None, 100).await.map_err(|error| error.to_string())? {
        let audit = store.verify(&summary.workflow).await.map_err(|error| error.to_string())?;
        if !audit.findings.is_empty() {
            return Err(format!("{}: {:?}", summary.workflow, audit.findings));
        }
    }
    Ok(())
}

/// One life of a disk: some power failures, each checked. Returns how many answers outlived them.
async fn live(seed: u64, lies: bool) -> Result<usize, String> {
    let random = Dice::new(seed);
    let mut disk = if lies { Disk::default().lying() } else { Disk::default() };
    let answered = Answered::default();
    let options = match random.below(2) {
        0 => Options::new(),
        _ => Options::new().quick_repair_above(0),
    };
    for round in 0..6 {
        disk.fail_after(random.below(200));
        match options.clone().open_backend(disk.clone()) {
            Ok(store) => {
                work(&store, &answered, round, random.below(2) == 0).await;
                drop(store);
            }
            // The power failed while it was opened.
            Err(StoreError::Engine(_)) => {}
            Err(other) => return Err(other.to_string()),
        }
        disk = disk.after_power_failure(&random);
        let copy = Disk::holding(disk.bytes());
        let store = options.clone().open_backend(copy).map_err(|error| error.to_string())?;
        check(&store, &answered).await?;
    }
    Ok(answered.lock().expect("no panic").len())
}

/// How many lives; more by `BUTTRESS_SEEDS`.
fn seeds() -> std::ops::Range<u64> {
    let seeds = std::env::var("BUTTRESS_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    0..seeds.unwrap_or(60)
}

#[tokio::test]
async fn what_was_answered_outlives_power_failures() {
    let mut outlived = 0;
    for seed in seeds() {
        match live(seed, false).await {
            Ok(answers) => outlived += answers,
            Err(wrong) => panic!("seed {seed}: {wrong}"),
        }
    }
    println!("{outlived} answers outlived {} power failures", seeds().end * 6);
    assert!(outlived > 0);
}

#[tokio::test]
async fn a_disk_that_lies_about_syncing_is_caught() {
    let mut caught = 0;
    for seed in seeds() {
        caught += usize::from(live(seed, true).await.is_err());
    }
    println!("caught {caught} of {}", seeds().end);
    assert!(caught > 0, "the check finds nothing");
}
