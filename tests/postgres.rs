//! The store on PostgreSQL, against a real server.

mod concurrency;
mod conformance;
mod crash;
mod cut;
mod damage;
mod errors;
mod fence;
mod proxy;
mod schema;

use std::{sync::Arc, time::Duration};

use buttress::store::{
    Append, Begin, Begun, Claim, Digest, Entry, Life, Payload, Retention, StepId, Store,
    StoreError, Ticket, WorkflowId,
};

use crate::support::postgres::{Scratch, client, url};

const MINUTE: Duration = Duration::from_secs(60);

fn workflow(name: &str) -> WorkflowId {
    WorkflowId::new("shop", name)
}

fn payload(text: &str) -> Payload {
    Payload { codec: Payload::BYTES, schema: 1, bytes: text.into() }
}

fn take(owner: &str) -> Claim {
    Claim::Take { owner: owner.into(), ttl: MINUTE }
}

/// A step with an effect.
fn begin(workflow: &WorkflowId, step: &str, claim: Claim) -> Begin {
    Begin {
        workflow: workflow.clone(),
        step: step.into(),
        fingerprint: Digest::of(step.as_bytes()),
        claim,
        intent: true,
        restart: None,
        mark: None,
    }
}

fn state(workflow: &WorkflowId, text: &str, claim: Claim) -> Append {
    Append {
        workflow: workflow.clone(),
        step: "state".into(),
        claim,
        expect: None,
        parent: None,
        fingerprint: Digest::default(),
        entry: Entry::state(payload(text)),
    }
}

fn fresh(begun: Begun) -> Ticket {
    match begun {
        Begun::Fresh(ticket) => ticket,
        other => unreachable!("not fresh: {other:?}"),
    }
}

/// Does a step under the lease of an owner.
async fn done(store: &impl Store, workflow: &WorkflowId, step: &str, owner: &str) {
    let ticket = fresh(store.begin(&begin(workflow, step, take(owner))).await.unwrap());
    let settled = store.complete(&ticket, Entry::done(payload(step))).await.unwrap();
    assert!(settled.ours);
}

#[tokio::test]
async fn what_one_did_another_reads() {
    let scratch = Scratch::new();
    let id = workflow("a");
    done(&scratch.store().await, &id, "pay", "one").await;
    let other = scratch.store().await;
    let Begun::Completed { record } = other.begin(&begin(&id, "pay", take("two"))).await.unwrap()
    else {
        panic!("it was done")
    };
    assert_eq!(record.payload, payload("pay"));
    assert_eq!(record.version, 2, "after its intent");
    let found = other.latest(&id, None).await.unwrap().unwrap();
    assert_eq!(found.record, record);
    assert_eq!(other.get(&id, 2).await.unwrap(), record);
    assert_eq!(other.history(&id, 1, 9).await.unwrap().len(), 1);
    assert!(other.verify(&id).await.unwrap().findings.is_empty());
}

#[tokio::test]
async fn a_done_step_is_read_without_a_lock_and_without_an_epoch() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let id = workflow("a");
    done(&store, &id, "pay", "one").await;
    let client = scratch.client().await;
    let trace = async || {
        // A lock on a row is written into it.
        let row = "SELECT w.ctid::text, w.xmax::text, e.last_value FROM workflow w, epoch e";
        let row = client.query_one(row, &[]).await.unwrap();
        (row.get::<_, String>(0), row.get::<_, String>(1), row.get::<_, i64>(2))
    };
    let before = trace().await;
    for owner in ["one", "two"] {
        let begun = store.begin(&begin(&id, "pay", take(owner))).await.unwrap();
        assert!(matches!(begun, Begun::Completed { .. }));
    }
    assert_eq!(trace().await, before);
    done(&store, &id, "ship", "one").await;
    assert_ne!(trace().await, before, "the trace shows what is written");
}

#[tokio::test]
async fn names_are_told_apart_whatever_they_hold() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let names = ["", " ", "a", "A", "a ", "ä", "a\u{308}", "\u{1}", "'; --", "%", "_", "\\", "😀"];
    let mut ids: Vec<_> =
        names.iter().flat_map(|a| names.iter().map(|b| WorkflowId::new(*a, *b))).collect();
    for id in &ids {
        store.acquire(id, &"me".into(), MINUTE).await.unwrap();
    }
    ids.sort();
    let mut listed = Vec::new();
    loop {
        let page = store.list(None, listed.last(), 50).await.unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|summary| summary.workflow));
    }
    assert_eq!(listed, ids, "in the order of their bytes");
    for (name, step) in [("a", "\u{1}"), ("'; --", "'; --")] {
        done(&store, &WorkflowId::new(name, name), step, "me").await;
    }
    let nul = WorkflowId::new("a", "\0");
    assert!(matches!(store.summary(&nul).await, Err(StoreError::Invalid { .. })));
}

#[tokio::test]
async fn a_lease_lasts_by_the_clock_of_the_server() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let id = workflow("a");
    let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
    let ttl = Duration::from_millis(700);
    let lease = store.acquire(&id, &one, ttl).await.unwrap();
    let client = scratch.client().await;
    let until: i64 =
        client.query_one("SELECT until FROM workflow", &[]).await.unwrap().get("until");
    let taken = loop {
        match store.acquire(&id, &two, ttl).await {
            Err(StoreError::Held { owner, retry_after, .. }) => {
                assert_eq!(owner, one);
                assert!(retry_after <= ttl);
                tokio::time::sleep(retry_after).await;
            }
            taken => break taken.unwrap(),
        }
    };
    let clock = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let clock: i64 = client.query_one(clock, &[]).await.unwrap().get(0);
    assert!(clock >= until, "not taken before it was over");
    assert!(taken.epoch > lease.epoch);
    let renewed = store.renew(&lease, ttl).await;
    assert!(matches!(renewed, Err(StoreError::Fenced { .. })));
    // For ever is not too long.
    let ever = store.renew(&taken, Duration::MAX).await.unwrap();
    assert_eq!(store.renew(&ever, ttl).await.unwrap().epoch, taken.epoch);
}

#[tokio::test]
async fn retention_leaves_the_newest_of_each_step() {
    let scratch = Scratch::new();
    let versions = std::num::NonZeroU64::new(3).unwrap();
    let retention = Retention { versions, ..Retention::default() };
    let store = scratch.options().retention(retention).connect(&scratch.url).await.unwrap();
    let id = workflow("a");
    done(&store, &id, "first", "me").await;
    for n in 0..20 {
        store.append(state(&id, &n.to_string(), take("me"))).await.unwrap();
    }
    let kept = store.history(&id, 0, 99).await.unwrap().len();
    assert_eq!(kept, 4, "three, and the result of the first step");
    assert!(matches!(
        store.begin(&begin(&id, "first", take("me"))).await.unwrap(),
        Begun::Completed { .. }
    ));
    assert!(store.verify(&id).await.unwrap().findings.is_empty());
}

#[tokio::test]
async fn workflows_that_are_over_are_pruned() {
    let scratch = Scratch::new();
    let retention = Retention { ended: Some(Duration::ZERO), ..Retention::default() };
    let store = scratch.options().retention(retention).connect(&scratch.url).await.unwrap();
    for n in 0..300 {
        let id = workflow(&format!("{n:03}"));
        store.append(state(&id, "s", Claim::Shared)).await.unwrap();
        if n % 3 != 0 {
            store.finish(&id, &Claim::Shared).await.unwrap();
        }
    }
    let others = WorkflowId::new("other", "a");
    store.append(state(&others, "s", Claim::Shared)).await.unwrap();
    store.finish(&others, &Claim::Shared).await.unwrap();
    // By the clock of the server, in whole milliseconds.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let pruned = store.prune(Some("shop")).await.unwrap();
    assert_eq!((pruned.workflows, pruned.records), (200, 200));
    assert_eq!(store.list(Some("shop"), None, 999).await.unwrap().len(), 100);
    assert_eq!(store.prune(None).await.unwrap().workflows, 1);
    let client = scratch.client().await;
    let left = "SELECT (SELECT count(*) FROM record), (SELECT count(*) FROM step)";
    let left = client.query_one(left, &[]).await.unwrap();
    assert_eq!((left.get::<_, i64>(0), left.get::<_, i64>(1)), (100, 100));
}

#[tokio::test]
async fn a_fork_does_what_was_done_no_more_and_a_stone_stays_of_what_was_deleted() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let (id, copy) = (workflow("a"), workflow("b"));
    done(&store, &id, "pay", "me").await;
    let doubt = fresh(store.begin(&begin(&id, "ship", take("me"))).await.unwrap());
    let summary = store.fork(&id, 3, &copy).await.unwrap();
    assert_eq!((summary.latest, summary.pending), (1, 0));
    assert_eq!(summary.forked, Some(("a".into(), 3)));
    assert!(matches!(
        store.begin(&begin(&copy, "pay", take("you"))).await.unwrap(),
        Begun::Completed { .. }
    ));
    let again = fresh(store.begin(&begin(&copy, "ship", take("you"))).await.unwrap());
    assert_ne!(again.key, doubt.key);
    assert!(matches!(store.fork(&id, 1, &copy).await, Err(StoreError::Exists { .. })));

    store.delete(&id).await.unwrap();
    let late = store.complete(&doubt, Entry::done(payload("late"))).await;
    assert!(matches!(late, Err(StoreError::Deleted { .. })));
    assert_eq!(store.summary(&id).await.unwrap().unwrap().life, Life::Deleted);
    assert_eq!(store.history(&id, 0, 9).await.unwrap(), []);
    assert!(store.verify(&copy).await.unwrap().findings.is_empty());
}

#[tokio::test]
async fn people_see_how_the_workflows_are() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let id = workflow("a");
    store.begin(&begin(&id, "pay", take("me"))).await.unwrap();
    let client = scratch.client().await;
    let row = "SELECT life, pending, held_by, until > now() AS held, touched <= clock_timestamp() AS past FROM overview";
    let row = client.query_one(row, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>("life"), "open");
    assert_eq!(row.get::<_, i64>("pending"), 1);
    assert_eq!(row.get::<_, &str>("held_by"), "me");
    assert!(row.get::<_, bool>("held") && row.get::<_, bool>("past"));
    let row = client.query_one("SELECT step, status FROM record", &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), ("pay", "intent"));
}

#[tokio::test]
async fn a_pool_of_ones_own_is_used() {
    use deadpool_postgres::{Manager, Pool};

    let scratch = Scratch::new();
    let manager = Manager::new(scratch.url.parse().unwrap(), tokio_postgres::NoTls);
    let pool = Pool::builder(manager).max_size(1).build().unwrap();
    let store = scratch.options().from_pool(pool.clone()).await.unwrap();
    done(&store, &workflow("a"), "pay", "me").await;
    assert_eq!(pool.status().size, 1);
    let _all = pool.get().await.unwrap();
    let hasty = scratch.options().timeout(Duration::from_millis(50)).from_pool(pool.clone()).await;
    assert!(hasty.unwrap_err().to_string().contains("did not answer within"));
}

#[tokio::test]
async fn the_tests_have_a_server() {
    let client = client(&url()).await;
    client.query_one("SELECT 1", &[]).await.unwrap();
}

/// A step that is done more than once.
fn times(step: &str, occurrence: u32) -> StepId {
    StepId::new(step).occurrence(occurrence)
}
