//! The process is killed at each point of the writer: what it was told is done is there.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use buttress::store::{Begun, Digest, Entry, Store};
use buttress_store::{
    RedbStore,
    redb::{Options, Point},
};

use crate::support::{begin, id, payload, take};

/// What a child is told: where the store is, and at which point it is killed, for the how many-th time.
const KILL: &str = "BUTTRESS_TEST_KILL";

/// Not a test of its own: what the child of the next does.
#[tokio::test]
async fn child_is_killed() {
    let Ok(told) = std::env::var(KILL) else { return };
    let mut told = told.splitn(3, ' ');
    let mut next = || told.next().expect("three words");
    let (point, times, path) = (next(), next(), next());
    let point = *Point::ALL.iter().find(|at| at.as_str() == point).expect("a point");
    let left = AtomicU32::new(times.parse().expect("a number"));
    let store = Options::new()
        .on_point(move |at| {
            if at == point && left.fetch_sub(1, Ordering::SeqCst) == 1 {
                let me = std::process::id().to_string();
                Command::new("kill").args(["-9", &me]).status().expect("there is `kill`");
            }
        })
        .open(path)
        .expect("the file of the parent");
    for n in 0_u32.. {
        let workflow = id(&(n % 3).to_string());
        let step = format!("{} {n}", std::process::id());
        let mut asked = begin(&workflow, &step, take("me"), true);
        asked.fingerprint = Digest::default();
        let Ok(Begun::Fresh(ticket)) = store.begin(&asked).await else { panic!("{step} is new") };
        let entry = Entry::done(payload(&step));
        let settled = store.complete(&ticket, entry).await.expect("the lease holds");
        println!("\nanswered\t{}\t{step}\t{}", n % 3, settled.record.digest);
    }
}

/// Runs a child until it is killed, and returns what it was answered.
fn killed(path: &Path, point: Point, times: u32) -> Vec<(String, String, String)> {
    let output = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "kill::child_is_killed", "--nocapture"])
        .env(KILL, format!("{point} {times} {}", path.display()))
        .stdin(Stdio::null())
        .output()
        .expect("the test runs itself");
    assert_eq!(output.status.code(), None, "killed by a signal: {output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    let answered = said.lines().filter_map(|line| line.strip_prefix("answered\t"));
    answered
        .map(|line| {
            let mut parts = line.split('\t').map(str::to_owned);
            let mut next = || parts.next().expect("three parts");
            (next(), next(), next())
        })
        .collect()
}

#[tokio::test]
async fn what_was_answered_outlives_a_kill_at_each_point() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    let mut answered = Vec::new();
    for point in Point::ALL {
        for times in [1, 2, 7] {
            answered.extend(killed(&path, point, times));
            let store = RedbStore::open(&path).expect("it is there");
            for (workflow, step, digest) in &answered {
                let mut asked = begin(&id(workflow), step, take("me"), true);
                asked.fingerprint = Digest::default();
                match store.begin(&asked).await {
                    Ok(Begun::Completed { record }) => {
                        assert_eq!(record.digest.to_string(), *digest);
                        assert_eq!(record.payload, payload(step));
                    }
                    other => panic!("{step}, killed at {point}: {other:?}"),
                }
            }
            for summary in store.list(None, None, 10).await.expect("readable") {
                let audit = store.verify(&summary.workflow).await.expect("readable");
                assert_eq!(audit.findings, []);
            }
        }
    }
    println!("{} answers outlived {} kills", answered.len(), Point::ALL.len() * 3);
    assert!(answered.len() > 10);
}
