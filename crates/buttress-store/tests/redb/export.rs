//! What is intact is rescued, from whatever is left of a file.

use std::{collections::BTreeSet, fs, path::PathBuf};

use buttress::store::{Entry, Payload, Store, StoreError, TroubleKind, Version};
use buttress_store::{RedbStore, redb::Exported};
use tempfile::TempDir;

use crate::support::{begin, effect, id, take, ticket};

/// A closed store, and the digests of its records.
async fn closed() -> (TempDir, PathBuf, BTreeSet<String>) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    let store = RedbStore::open(&path).expect("a new file");
    let mut digests = BTreeSet::new();
    for n in 0..20 {
        let workflow = id(&format!("\"{n}\"\n\\"));
        for step in ["plan", "charge"] {
            let text = format!("{{\"said\": \"{}\"}}", "é ".repeat(n * 400));
            effect(&store, &workflow, step, &text).await.expect("done");
        }
        let begun = ticket(&store, &begin(&workflow, "binary", take("me"), true)).await;
        let payload = Payload { bytes: vec![0xff; n * 10 + 1], ..Payload::default() };
        store.complete(&begun, Entry::done(payload)).await.expect("done");
        for version in store.history(&workflow, 0, 100).await.expect("kept") {
            let Version::Intact(record) = version else { panic!("{version:?}") };
            digests.insert(record.digest.to_string());
        }
    }
    (directory, path, digests)
}

/// What an export says, and the digests of the records in it.
fn exported(path: &PathBuf) -> (Exported, BTreeSet<String>, String) {
    let before = fs::read(path).expect("readable");
    let mut lines = Vec::new();
    let exported = RedbStore::export(path, &mut lines).expect("it can be read");
    assert_eq!(fs::read(path).expect("readable"), before, "the file is left as it is");
    let lines = String::from_utf8(lines).expect("text");
    let digest = |line: &str| {
        let (_, rest) = line.split_once("\"digest\":\"")?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let digests = lines.lines().filter_map(digest).collect();
    (exported, digests, lines)
}

#[tokio::test]
async fn a_sound_file_is_written_down_whole() {
    let (_directory, path, digests) = closed().await;
    let (exported, found, lines) = exported(&path);
    let whole = Exported { workflows: 20, records: digests.len() as u64, ..Exported::default() };
    assert_eq!(exported, whole);
    assert_eq!(found, digests);
    let line = lines
        .lines()
        .find(|line| line.contains("\"status\":\"done\"") && line.contains("\"plan\""))
        .expect("a result");
    for part in [
        r#""kind":"record","namespace":"test","workflow":"\"0\"\n\\","version":2,"parent":1"#,
        r#""codec":0,"schema":1,"encoding":"text","payload":"{\"said\": \"\"}""#,
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert!(lines.contains(r#""encoding":"hex","payload":"ff"}"#));
}

#[tokio::test]
async fn a_file_without_its_beginning_gives_up_every_record() {
    let (_directory, path, digests) = closed().await;
    let mut bytes = fs::read(&path).expect("readable");
    bytes[..4096].fill(0xab);
    fs::write(&path, &bytes).expect("writable");
    let (exported, found, _) = exported(&path);
    assert!(exported.salvaged >= digests.len() as u64, "{exported:?}");
    assert!(
        matches!(&exported.trouble, Some(StoreError::Engine(trouble)) if trouble.kind == TroubleKind::Damaged)
    );
    assert!(found.is_superset(&digests));
}

#[tokio::test]
async fn what_is_left_of_a_file_cut_short_is_rescued() {
    let (_directory, path, digests) = closed().await;
    let bytes = fs::read(&path).expect("readable");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("not blank");
    fs::write(&path, &bytes[..used / 2]).expect("writable");
    let (exported, found, _) = exported(&path);
    assert!(exported.trouble.is_some());
    assert!(exported.salvaged > 0, "{exported:?}");
    assert!(!found.is_superset(&digests), "half of it is gone");
    let left = found.intersection(&digests).count();
    println!("{left} of {} records, and {exported:?}", digests.len());
    assert!(left * 4 > digests.len(), "{left} of {}", digests.len());
}

#[tokio::test]
async fn a_damaged_record_is_written_down_as_such() {
    let (_directory, path, digests) = closed().await;
    let workflow = id("\"3\"\n\\");
    let store = RedbStore::open(&path).expect("it is there");
    let change = |mut bytes: Vec<u8>| {
        bytes[50] ^= 1;
        Some(bytes)
    };
    assert_eq!(store.replace(&workflow, 2, change).await, Ok(true));
    drop(store);
    let (exported, found, lines) = exported(&path);
    assert_eq!((exported.damaged, exported.trouble), (1, None));
    assert_eq!(found.len(), digests.len() - 1);
    let damaged = r#"{"kind":"damaged","namespace":"test","workflow":"\"3\"\n\\","version":2,"#;
    assert!(lines.contains(damaged));
}

#[tokio::test]
async fn a_file_in_use_or_missing_is_told() {
    let (directory, path, _) = closed().await;
    let store = RedbStore::open(&path).expect("it is there");
    let kind = |path: &PathBuf| match RedbStore::export(path, &mut Vec::new()) {
        Err(StoreError::Engine(trouble)) => trouble.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(&path), TroubleKind::Locked);
    drop(store);
    assert_eq!(kind(&directory.path().join("other")), TroubleKind::Other);
}
