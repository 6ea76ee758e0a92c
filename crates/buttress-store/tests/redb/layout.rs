//! What is told from the rest of a file, and how a file of an older layout gets it; and how small a file can be.

use std::{collections::BTreeSet, fs, path::Path};

use buttress::store::{
    Append, Claim, Digest, Entry, Retention, Store, StoreError, TroubleKind, WorkflowId,
};
use buttress_store::{RedbStore, redb::Options};
use redb::{Database, ReadableTable as _, TableDefinition};

use crate::support::{Dice, TTL, effect, id, owner, payload};

const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
const OPEN: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("open");

async fn save(store: &RedbStore, workflow: &WorkflowId, finish: bool) {
    let entry = Entry::state(payload("state"));
    let append = Append {
        workflow: workflow.clone(),
        step: "state".into(),
        claim: Claim::Shared,
        expect: None,
        parent: None,
        fingerprint: Digest::default(),
        entry: if finish { entry.finish() } else { entry },
    };
    store.append(append).await.expect("saved");
}

async fn claimed(store: &RedbStore) -> BTreeSet<String> {
    let mut claimed = BTreeSet::new();
    while let Some(lease) = store.claim("test", &owner("me"), TTL).await.expect("readable") {
        assert!(claimed.insert(lease.workflow.workflow.to_string()), "claimed twice");
    }
    claimed
}

/// Makes a file what the release with layout 1 left.
fn older(path: &Path) {
    let database = Database::open(path).expect("it is there");
    let transaction = database.begin_write().expect("nobody else");
    assert!(transaction.delete_table(OPEN).expect("deleted"));
    {
        let mut meta = transaction.open_table(META).expect("a table");
        let mut bytes =
            meta.get(b"store".as_slice()).expect("readable").expect("one").value()[..16].to_vec();
        bytes[4] = 1;
        let Digest(digest) = Digest::of(&bytes);
        bytes.extend_from_slice(&digest);
        meta.insert(b"store".as_slice(), bytes.as_slice()).expect("written");
    }
    transaction.commit().expect("written");
}

#[tokio::test]
async fn a_file_of_an_older_layout_is_brought_up_to_date() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    let store = RedbStore::open(&path).expect("a new file");
    for name in ["a", "b", "ended", "deleted"] {
        save(&store, &id(name), name == "ended").await;
    }
    store.delete(&id("deleted")).await.expect("it is there");
    drop(store);
    older(&path);
    let mut out = Vec::new();
    let exported = RedbStore::export(&path, &mut out).expect("it can be read as it is");
    assert_eq!(exported.damaged, 0);
    let store = RedbStore::open(&path).expect("an older layout");
    assert_eq!(claimed(&store).await, BTreeSet::from(["a".into(), "b".into()]));
    drop(store);

    // One that is damaged besides is rescued first.
    older(&path);
    let mut file = fs::read(&path).expect("readable");
    let words = b"state";
    let at = file.windows(words.len()).rposition(|window| window == words).expect("there is one");
    file[at] ^= 1;
    fs::write(&path, file).expect("written");
    let store = RedbStore::open(&path).expect("the rest is intact");
    assert_eq!(claimed(&store).await, BTreeSet::from(["a".into(), "b".into()]));
}

#[tokio::test]
async fn what_goes_on_is_claimed_and_nothing_else_whatever_was_done_to_it() {
    let seed = 7;
    println!("seed {seed}");
    let dice = Dice::new(seed);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    let none = Some(std::time::Duration::ZERO);
    let options = || Options::new().retention(Retention { ended: none, ..Retention::default() });
    let mut store = options().open(&path).expect("a new file");
    let mut expected = BTreeSet::new();
    for _ in 0..120 {
        let name = dice.below(9).to_string();
        let workflow = id(&name);
        match dice.below(7) {
            0 | 1
                if store
                    .summary(&workflow)
                    .await
                    .expect("readable")
                    .is_none_or(|summary| summary.life != buttress::store::Life::Deleted) =>
            {
                save(&store, &workflow, false).await;
                expected.insert(name);
            }
            2 if expected.contains(&name) => {
                save(&store, &workflow, true).await;
                expected.remove(&name);
            }
            3 if expected.contains(&name) => {
                store.finish(&workflow, &Claim::Shared).await.expect("ended");
                expected.remove(&name);
            }
            4 if expected.remove(&name) => store.delete(&workflow).await.expect("deleted"),
            5 => drop(store.prune(None).await.expect("pruned")),
            _ => {
                drop(store);
                store = options().open(&path).expect("it is there");
                assert_eq!(claimed(&store).await, expected, "seed {seed}");
                drop(store);
                store = options().open(&path).expect("it is there");
            }
        }
    }
    assert_eq!(claimed(&store).await, expected, "seed {seed}");
}

#[tokio::test]
async fn a_file_that_held_much_is_made_small() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    let long = "x".repeat(400_000);
    let store = RedbStore::open(&path).expect("a new file");
    effect(&store, &id("kept"), "step", "result").await.expect("done");
    for n in 0..10 {
        effect(&store, &id("gone"), &n.to_string(), &long).await.expect("done");
    }
    store.delete(&id("gone")).await.expect("deleted");
    let busy = Options::new().compact(&path).expect_err("it is open");
    assert!(matches!(&busy, StoreError::Engine(trouble) if trouble.kind == TroubleKind::Locked));
    drop(store);
    let (before, after) = Options::new().compact(&path).expect("nobody has it open");
    assert!(before > 4_000_000 && after < 200_000, "{before} bytes are {after} now");
    assert_eq!(fs::metadata(&path).expect("it is there").len(), after);
    let store = RedbStore::open(&path).expect("it is a store");
    assert_eq!(store.verify(&id("kept")).await.expect("readable").findings, []);
    assert_eq!(store.history(&id("kept"), 0, 9).await.expect("readable").len(), 2);
    drop(store);

    let missing = directory.path().join("missing.redb");
    let refused = Options::new().compact(&missing).expect_err("there is none");
    assert!(refused.to_string().contains("missing.redb"), "{refused}");
    assert!(!missing.exists(), "and none is made");
}
