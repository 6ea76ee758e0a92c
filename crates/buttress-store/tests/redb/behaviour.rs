//! What is kept over a restart, who may write, and what is written together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress::store::{Begun, Entry, Life, Pruned, Retention, Store, StoreError, Version};
use buttress_store::{
    RedbStore,
    redb::{Options, Point},
};

use crate::support::{TTL, begin, effect, id, owner, payload, result, take, ticket};

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    let workflow = id("a");
    let store = RedbStore::open(&path).expect("a new file");
    let settled = effect(&store, &workflow, "charge", "paid").await.expect("done");
    assert!(settled.ours);
    drop(store);
    let store = RedbStore::open(&path).expect("the same file");
    let record = result(&store, &workflow, "charge").await.expect("done before");
    assert_eq!(record, settled.record);
    assert_eq!(record.payload, payload("paid"));
    assert_eq!(store.verify(&workflow).await.expect("it is there").findings, []);
}

#[tokio::test]
async fn leases_of_an_earlier_start_are_over_and_fenced() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    let workflow = id("a");
    let store = RedbStore::open(&path).expect("a new file");
    let old = store.acquire(&workflow, &owner("a"), TTL).await.expect("free");
    let held = store.acquire(&workflow, &owner("b"), TTL).await;
    assert!(matches!(held, Err(StoreError::Held { .. })), "{held:?}");
    drop(store);
    let store = RedbStore::open(&path).expect("the same file");
    let new = store.acquire(&workflow, &owner("b"), TTL).await.expect("free at once");
    assert!(new.epoch > old.epoch);
    let renewed = store.renew(&old, TTL).await;
    assert!(matches!(renewed, Err(StoreError::Fenced { .. })), "{renewed:?}");
}

#[tokio::test]
async fn what_waits_goes_into_one_commit() {
    let directory = tempfile::tempdir().expect("a directory");
    let commits = Arc::new(AtomicUsize::new(0));
    let counted = commits.clone();
    let store = Options::new()
        .on_point(move |point| {
            if point == Point::AfterCommit {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        })
        .open(directory.path().join("store.redb"))
        .expect("a new file");
    let writers: Vec<_> = (0..32)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(
                async move { effect(&store, &id(&n.to_string()), "s", "r").await.map(drop) },
            )
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic").expect("done");
    }
    let commits = commits.load(Ordering::SeqCst);
    assert!(commits < 32, "64 operations took {commits} commits");
}

#[tokio::test]
async fn one_that_is_refused_does_not_spoil_the_others() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = RedbStore::open(directory.path().join("store.redb")).expect("a new file");
    let (a, b) = (id("a"), id("b"));
    let stale = store.acquire(&a, &owner("x"), TTL).await.expect("free");
    store.release(&stale).await.expect("held");
    let me = owner("me");
    let (fenced, taken) = tokio::join!(store.renew(&stale, TTL), store.acquire(&b, &me, TTL));
    assert!(matches!(fenced, Err(StoreError::Fenced { .. })), "{fenced:?}");
    assert!(taken.is_ok());
}

#[tokio::test]
async fn an_operation_whose_future_was_dropped_is_done_or_not_done() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = RedbStore::open(directory.path().join("store.redb")).expect("a new file");
    for polls in 0..8 {
        let workflow = id(&polls.to_string());
        let owner = owner("me");
        let mut acquire = store.acquire(&workflow, &owner, TTL);
        for _ in 0..polls {
            let waker = std::task::Waker::noop();
            let mut context = std::task::Context::from_waker(waker);
            if acquire.as_mut().poll(&mut context).is_ready() {
                break;
            }
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
        drop(acquire);
        // Later operations see the one or the other, whole.
        let settled = effect(&store, &workflow, "s", "r").await.expect("the same owner");
        assert_eq!(settled.record.version, 2);
        assert_eq!(store.verify(&workflow).await.expect("kept").findings, []);
    }
}

#[tokio::test]
async fn retention_keeps_the_newest_and_the_last_of_each_step() {
    let directory = tempfile::tempdir().expect("a directory");
    let four = std::num::NonZeroU64::new(4).expect("four");
    let store = Options::new()
        .retention(Retention { versions: four, ..Retention::default() })
        .open(directory.path().join("store.redb"))
        .expect("a new file");
    let workflow = id("a");
    effect(&store, &workflow, "first", "kept").await.expect("done");
    for round in 0..6 {
        for step in ["x", "y", "z", "u", "v", "w"] {
            let append = buttress::store::Append {
                workflow: workflow.clone(),
                step: step.into(),
                claim: take("me"),
                expect: None,
                parent: None,
                fingerprint: Default::default(),
                entry: Entry::state(payload(&format!("{step}{round}"))),
            };
            store.append(append).await.expect("written");
        }
    }
    let kept = store.history(&workflow, 0, 100).await.expect("kept");
    let kept: Vec<_> = kept
        .iter()
        .map(|version| match version {
            Version::Intact(record) => record.step.to_string(),
            Version::Damaged(finding) => panic!("{finding:?}"),
        })
        .collect();
    assert_eq!(kept, ["first", "x", "y", "z", "u", "v", "w"]);
    assert_eq!(store.verify(&workflow).await.expect("kept").findings, []);
}

#[tokio::test]
async fn what_was_deleted_stays_deleted_and_is_pruned() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Options::new()
        .retention(Retention { ended: Some(Duration::ZERO), ..Retention::default() })
        .open(directory.path().join("store.redb"))
        .expect("a new file");
    let workflow = id("a");
    let late = ticket(&store, &begin(&workflow, "s", take("me"), true)).await;
    store.delete(&workflow).await.expect("it is there");
    let refused = store.complete(&late, Entry::done(payload("late"))).await;
    assert!(matches!(refused, Err(StoreError::Deleted { .. })), "{refused:?}");
    let summary = store.summary(&workflow).await.expect("readable").expect("a stone");
    assert_eq!(summary.life, Life::Deleted);
    assert_eq!(store.latest(&workflow, None).await, Ok(None));
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.prune(None).await, Ok(Pruned { workflows: 1, records: 0 }));
    assert_eq!(store.summary(&workflow).await, Ok(None));
    // The name is free; the late one is not let in.
    let fresh = store.begin(&begin(&workflow, "s", take("me"), true)).await;
    assert!(matches!(fresh, Ok(Begun::Fresh(_))), "{fresh:?}");
    let refused = store.complete(&late, Entry::done(payload("late"))).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
}

#[tokio::test]
async fn workflows_are_listed_by_name_within_their_namespace() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = RedbStore::open(directory.path().join("store.redb")).expect("a new file");
    let ids: Vec<_> = [("a", "b"), ("a", "b\u{1}"), ("a", "bc"), ("a\u{1}", ""), ("ab", "a")]
        .map(|(namespace, name)| buttress::store::WorkflowId::new(namespace, name))
        .into();
    for workflow in ids.iter().rev() {
        store.acquire(workflow, &owner("me"), TTL).await.expect("free");
    }
    let names = |list: Result<Vec<buttress::store::Summary>, StoreError>| -> Vec<_> {
        list.expect("readable").into_iter().map(|summary| summary.workflow).collect()
    };
    assert_eq!(names(store.list(None, None, 10).await), ids);
    assert_eq!(names(store.list(Some("a"), None, 10).await), ids[..3]);
    assert_eq!(names(store.list(Some("a"), Some(&ids[0]), 1).await), ids[1..2]);
    assert_eq!(names(store.list(None, Some(&ids[2]), 10).await), ids[3..]);
    assert_eq!(names(store.list(Some("a"), Some(&ids[4]), 10).await), []);
}
