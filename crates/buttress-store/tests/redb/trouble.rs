//! What the store says when it cannot go on, and that it goes on when it can.

use std::{fs, io, path::Path, process::Command};

use buttress::store::{Digest, Store, StoreError, TroubleKind};
use buttress_store::{RedbStore, redb::Options};
use redb::{Database, StorageBackend, TableDefinition};

use crate::{
    disk::Disk,
    support::{TTL, effect, id, owner, result},
};

fn kind(error: &StoreError) -> TroubleKind {
    match error {
        StoreError::Engine(trouble) => trouble.kind,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(path: &Path, kind_of: TroubleKind, words: &[&str]) {
    let error = RedbStore::open(path).expect_err("it cannot be opened");
    let message = error.to_string();
    assert_eq!(kind(&error), kind_of, "{message}");
    assert!(message.contains(&path.display().to_string()), "{message}");
    for words in words {
        assert!(message.contains(words), "{message}");
    }
    println!("{message}");
}

#[tokio::test]
async fn each_trouble_with_a_file_has_one_message_that_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");

    refused(&directory.path().join("no/store.redb"), TroubleKind::Other, &["create it first"]);
    refused(directory.path(), TroubleKind::Other, &["is a directory", "name a file"]);

    let store = RedbStore::open(&path).expect("a new file");
    refused(&path, TroubleKind::Locked, &["another process", "end the other"]);
    effect(&store, &id("a"), "s", "r").await.expect("done");
    drop(store);

    let whole = fs::read(&path).expect("readable");
    for left in [1, 100, 4096, whole.len() / 2] {
        fs::write(&path, &whole[..left]).expect("writable");
        refused(&path, TroubleKind::Damaged, &["lab store export", "backup"]);
    }
    fs::write(&path, b"These are my notes, and no store. ".repeat(300)).expect("writable");
    refused(&path, TroubleKind::Damaged, &["not a redb file"]);
    assert!(fs::read(&path).expect("readable").starts_with(b"These"), "it is left as it is");
    fs::write(&path, [0; 4096 * 3]).expect("writable");
    assert!(RedbStore::open(&path).is_ok(), "blank: the power failed as it was made");
}

#[test]
fn a_file_of_another_program_or_a_later_release_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    const MINE: TableDefinition<'_, u64, u64> = TableDefinition::new("mine");
    let database = Database::create(&path).expect("a new file");
    let transaction = database.begin_write().expect("nobody else");
    transaction.open_table(MINE).expect("a table").insert(1, 1).expect("written");
    transaction.commit().expect("written");
    drop(database);
    refused(&path, TroubleKind::Format, &["another program", "file of its own"]);

    fs::remove_file(&path).expect("it is there");
    drop(RedbStore::open(&path).expect("a new file"));
    const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
    let database = Database::open(&path).expect("it is there");
    let transaction = database.begin_write().expect("nobody else");
    let mut later = b"BTRM".to_vec();
    later.extend_from_slice(&9_u32.to_le_bytes());
    later.extend_from_slice(&1_u64.to_le_bytes());
    let Digest(digest) = Digest::of(&later);
    later.extend_from_slice(&digest);
    {
        let mut meta = transaction.open_table(META).expect("a table");
        meta.insert(b"store".as_slice(), later.as_slice()).expect("written");
    }
    transaction.commit().expect("written");
    drop(database);
    refused(&path, TroubleKind::Format, &["layout 9", "the release that wrote it"]);
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_store_goes_on_when_there_is_room() {
    let disk = Disk::default();
    let store = Options::new().open_backend(disk.clone()).expect("an empty disk");
    let workflow = id("a");
    effect(&store, &workflow, "before", "kept").await.expect("there is room");
    disk.set_room(Some(disk.len().expect("it has a length")));
    let long = "x".repeat(200_000);
    let mut full = None;
    for n in 0..40 {
        if let Err(error) = effect(&store, &workflow, &format!("step {n}"), &long).await {
            full = Some(error);
            break;
        }
    }
    let full = full.expect("the disk is full");
    assert_eq!(kind(&full), TroubleKind::Full, "{full}");
    assert!(full.to_string().contains("free some"), "{full}");
    disk.set_room(None);
    let settled = effect(&store, &workflow, "after", "kept").await.expect("there is room again");
    assert!(settled.ours);
    assert!(result(&store, &workflow, "before").await.is_some());
    assert_eq!(store.verify(&workflow).await.expect("readable").findings, []);
}

#[tokio::test]
async fn a_lease_outlives_an_error_of_the_disk() {
    let disk = Disk::default();
    let store = Options::new().open_backend(disk.clone()).expect("an empty disk");
    let workflow = id("a");
    let lease = store.acquire(&workflow, &owner("me"), TTL).await.expect("free");
    disk.fail_after(0);
    let failed = store.renew(&lease, TTL).await.expect_err("the disk is gone");
    assert_eq!(kind(&failed), TroubleKind::Other, "{failed}");
    // Until it is back, whoever reads is told so.
    assert_eq!(kind(&store.summary(&workflow).await.expect_err("closed")), TroubleKind::Other);
    disk.repair();
    assert!(store.summary(&workflow).await.expect("open again").is_some());
    let renewed = store.renew(&lease, TTL).await.expect("it is back");
    assert_eq!(renewed.epoch, lease.epoch);
}

/// A disk that answers every write so.
#[derive(Debug)]
struct Refusing(io::ErrorKind);

impl StorageBackend for Refusing {
    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn read(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(self.0.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(self.0.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(self.0.into())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(self.0.into())
    }
}

#[test]
fn each_refusal_of_a_file_system_has_its_kind() {
    for (refusal, expected) in [
        (io::ErrorKind::StorageFull, TroubleKind::Full),
        (io::ErrorKind::QuotaExceeded, TroubleKind::Full),
        (io::ErrorKind::ReadOnlyFilesystem, TroubleKind::ReadOnly),
        (io::ErrorKind::PermissionDenied, TroubleKind::Denied),
        (io::ErrorKind::TimedOut, TroubleKind::Other),
    ] {
        let error = Options::new().open_backend(Refusing(refusal)).expect_err("refused");
        assert_eq!(kind(&error), expected, "{error}");
    }
}

/// What a child process is told to open.
const OPEN: &str = "BUTTRESS_TEST_OPEN";

/// Not a test of its own: what the child of the next does.
#[test]
fn child_opens() {
    let Ok(path) = std::env::var(OPEN) else { return };
    match RedbStore::open(path) {
        Ok(_) => println!("opened"),
        Err(error) => println!("{:?}: {error}", kind(&error)),
    }
}

/// Opens a store in another process, of a user without rights if this one has all.
///
/// That user need not reach where this was built, so it runs a copy: `itself`.
#[cfg(unix)]
fn opened_elsewhere(itself: &Path, path: &Path) -> String {
    use std::os::unix::{fs::MetadataExt as _, process::CommandExt as _};
    let mut child = Command::new(itself);
    child.args(["--exact", "trouble::child_opens", "--nocapture"]).env(OPEN, path);
    if fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
        child.uid(65_534).gid(65_534).current_dir("/");
    }
    let output = child.output().expect("the test runs itself");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[cfg(unix)]
#[test]
fn missing_rights_and_other_processes_are_told_apart() {
    use std::os::unix::fs::PermissionsExt as _;
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    let home = tempfile::tempdir().expect("a directory");
    set(home.path(), 0o755);
    let itself = home.path().join("itself");
    fs::copy(std::env::current_exe().expect("a path"), &itself).expect("there is room");
    set(&itself, 0o755);
    let opened_elsewhere = |path: &Path| opened_elsewhere(&itself, path);
    let directory = tempfile::tempdir().expect("a directory");
    set(directory.path(), 0o777);
    let path = directory.path().join("store.redb");
    let store = RedbStore::open(&path).expect("a new file");
    set(&path, 0o666);
    let said = opened_elsewhere(&path);
    assert!(said.contains("Locked: ") && said.contains("another process"), "{said}");
    drop(store);
    let said = opened_elsewhere(&path);
    assert!(said.contains("opened"), "{said}");
    set(&path, 0o444);
    let said = opened_elsewhere(&path);
    assert!(said.contains("ReadOnly: ") && said.contains("allow writing"), "{said}");
    set(&path, 0o000);
    let said = opened_elsewhere(&path);
    assert!(said.contains("Denied: ") && said.contains("no rights"), "{said}");
    fs::remove_file(&path).expect("it is ours");
    set(directory.path(), 0o555);
    let said = opened_elsewhere(&path);
    assert!(said.contains("ReadOnly: ") && said.contains("directory"), "{said}");
}
