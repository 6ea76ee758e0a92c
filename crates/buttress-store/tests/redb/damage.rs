//! What is kept besides the records rots: it is put together again, or it is said that it cannot be.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use buttress::{
    Event, Teller,
    store::{Begun, Damage, Digest, Entry, IdempotencyKey, Life, Store, StoreError},
};
use buttress_store::{RedbStore, redb::Options};
use redb::{Database, ReadableTable as _, TableDefinition};
use tempfile::TempDir;

use crate::support::{TTL, begin, effect, id, owner, payload, take, ticket};

/// Flips a bit of each value of a table whose key has these words in it.
pub(crate) fn rot(path: &Path, table: &str, words: &[&str]) {
    let database = Database::open(path).expect("it is there");
    let transaction = database.begin_write().expect("nobody else");
    {
        let definition = TableDefinition::<&[u8], &[u8]>::new(table);
        let mut table = transaction.open_table(definition).expect("a table");
        let rows: Vec<_> = table
            .iter()
            .expect("readable")
            .map(|row| row.expect("readable"))
            .map(|(at, bytes)| (at.value().to_vec(), bytes.value().to_vec()))
            .filter(|(at, _)| {
                words.iter().all(|word| at.windows(word.len()).any(|part| part == word.as_bytes()))
            })
            .collect();
        assert!(!rows.is_empty());
        for (at, mut bytes) in rows {
            bytes[0] ^= 1;
            table.insert(at.as_slice(), bytes.as_slice()).expect("written");
        }
    }
    transaction.commit().expect("written");
}

/// A closed store with a step that was done and one in doubt, and the key of that.
async fn closed() -> (TempDir, PathBuf, IdempotencyKey) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    let store = RedbStore::open(&path).expect("a new file");
    effect(&store, &id("rotten"), "done", "result").await.expect("done");
    let key = ticket(&store, &begin(&id("rotten"), "doubt", take("me"), true)).await.key;
    effect(&store, &id("sound"), "done", "result").await.expect("done");
    drop(store);
    (directory, path, key)
}

fn opened(path: &Path) -> (RedbStore, Arc<AtomicUsize>) {
    let told = Arc::new(AtomicUsize::new(0));
    let heard = told.clone();
    let store = Options::new()
        .observe(move |teller: Teller<'_>, event: &Event| {
            assert_eq!(teller.pattern, "store");
            assert_eq!(*event, Event::Damaged { version: 0 });
            heard.fetch_add(1, Ordering::SeqCst);
        })
        .open(path)
        .expect("it is there");
    (store, told)
}

#[tokio::test]
async fn a_rotten_head_is_put_together_and_keys_stay_what_they_were() {
    let (_directory, path, key) = closed().await;
    rot(&path, "heads", &["rotten"]);
    let (store, told) = opened(&path);
    let workflow = id("rotten");
    let audit = store.verify(&workflow).await.expect("readable");
    assert_eq!(audit.findings.first().map(|finding| finding.version), Some(0), "{audit:?}");
    let summary = store.summary(&workflow).await.expect("readable").expect("it is there");
    assert_eq!((summary.latest, summary.pending, summary.life), (3, 1, Life::Open));
    assert_eq!(store.list(None, None, 10).await.expect("readable").len(), 2);
    // The next write puts it right.
    let seen = told.load(Ordering::SeqCst);
    let lease = store.acquire(&workflow, &owner("me"), TTL).await.expect("free");
    assert_eq!(told.load(Ordering::SeqCst), seen + 1);
    let doubt = store.begin(&begin(&workflow, "doubt", take("me"), true)).await;
    assert!(matches!(&doubt, Ok(Begun::Pending { key: same, .. }) if *same == key), "{doubt:?}");
    assert_eq!(store.verify(&workflow).await.expect("readable").findings, []);
    assert_eq!(told.load(Ordering::SeqCst), seen + 1, "and once is enough");
    let sound = store.summary(&id("sound")).await.expect("readable").expect("it is there");
    assert!(lease.epoch > sound.epoch);
}

#[tokio::test]
async fn a_workflow_beyond_repair_does_not_keep_others_and_can_be_deleted() {
    let (_directory, path, _) = closed().await;
    rot(&path, "heads", &["rotten"]);
    rot(&path, "births", &["rotten"]);
    let (store, _) = opened(&path);
    let workflow = id("rotten");
    let corrupt =
        StoreError::Corrupt { workflow: workflow.clone(), version: None, damage: Damage::Digest };
    let begun = store.begin(&begin(&workflow, "done", take("me"), true)).await;
    assert_eq!(begun, Err(corrupt.clone()), "under which key, nobody knows");
    assert_eq!(store.summary(&workflow).await, Err(corrupt));
    assert_eq!(
        store.get(&workflow, 2).await.expect("its records are there").payload,
        payload("result")
    );
    let names: Vec<_> = store
        .list(None, None, 10)
        .await
        .expect("one is no reason to hide the others")
        .into_iter()
        .map(|summary| summary.workflow)
        .collect();
    assert_eq!(names, [workflow.clone(), id("sound")]);
    let claimed = store.claim("test", &owner("worker"), TTL).await.expect("readable");
    assert_eq!(claimed.map(|lease| lease.workflow), Some(id("sound")));
    store.delete(&workflow).await.expect("that is always possible");
    let summary = store.summary(&workflow).await.expect("readable").expect("a stone");
    assert_eq!(summary.life, Life::Deleted);
}

#[tokio::test]
async fn a_lost_birth_is_found_before_it_is_needed() {
    let (_directory, path, _) = closed().await;
    rot(&path, "births", &["rotten"]);
    let (store, _) = opened(&path);
    let audit = store.verify(&id("rotten")).await.expect("readable");
    assert_eq!(audit.findings.len(), 1);
    assert!(store.acquire(&id("rotten"), &owner("me"), TTL).await.is_ok());
}

#[tokio::test]
async fn a_step_whose_pointer_rots_is_searched_for() {
    let (_directory, path, key) = closed().await;
    rot(&path, "steps", &["rotten"]);
    let (store, told) = opened(&path);
    let workflow = id("rotten");
    let done = store.begin(&begin(&workflow, "done", take("me"), true)).await;
    assert!(matches!(done, Ok(Begun::Completed { .. })), "{done:?}");
    let doubt = store.begin(&begin(&workflow, "doubt", take("me"), true)).await;
    assert!(matches!(&doubt, Ok(Begun::Pending { key: same, .. }) if *same == key), "{doubt:?}");
    assert_eq!(told.load(Ordering::SeqCst), 2);
    // Both were put right.
    store.begin(&begin(&workflow, "done", take("me"), true)).await.expect("readable");
    assert_eq!(told.load(Ordering::SeqCst), 2);
    assert_eq!(store.verify(&workflow).await.expect("readable").findings, []);
}

#[tokio::test]
async fn a_step_that_may_be_the_damaged_one_is_in_doubt() {
    let (_directory, path, _) = closed().await;
    rot(&path, "steps", &["rotten"]);
    let (store, _) = opened(&path);
    let workflow = id("rotten");
    let change = |mut bytes: Vec<u8>| {
        bytes[60] ^= 1;
        Some(bytes)
    };
    assert_eq!(store.replace(&workflow, 3, change).await, Ok(true));
    // Version 3 is the intent of the other, but who could tell.
    let done = store.begin(&begin(&workflow, "done", take("me"), true)).await;
    assert!(matches!(done, Ok(Begun::Damaged { version: 3, .. })), "{done:?}");
}

#[tokio::test]
async fn epochs_leap_when_it_is_not_known_which_were_handed_out() {
    let (_directory, path, _) = closed().await;
    let before = {
        let (store, _) = opened(&path);
        store.acquire(&id("new"), &owner("me"), TTL).await.expect("free")
    };
    rot(&path, "meta", &["store"]);
    let (store, told) = opened(&path);
    assert_eq!(told.load(Ordering::SeqCst), 1);
    let after = store.acquire(&id("newer"), &owner("me"), TTL).await.expect("free");
    assert!(after.epoch > before.epoch + (1 << 31), "{} and {}", before.epoch, after.epoch);
    drop(store);
    let (_store, told) = opened(&path);
    assert_eq!(told.load(Ordering::SeqCst), 0, "it was put right");
}

#[tokio::test]
async fn a_stone_that_rots_does_not_let_late_writers_in() {
    let (_directory, path, _) = closed().await;
    let workflow = id("rotten");
    let late = {
        let (store, _) = opened(&path);
        let late = ticket(&store, &begin(&workflow, "late", take("me"), true)).await;
        store.delete(&workflow).await.expect("it is there");
        late
    };
    rot(&path, "heads", &["rotten"]);
    let (store, _) = opened(&path);
    let written = store.complete(&late, Entry::done(payload("late"))).await;
    assert!(matches!(written, Err(StoreError::Corrupt { .. })), "{written:?}");
    let begun = store.begin(&begin(&workflow, "late", take("me"), true)).await;
    assert!(matches!(begun, Err(StoreError::Corrupt { .. })), "{begun:?}");
    assert_ne!(late.fingerprint, Digest::default());
}
