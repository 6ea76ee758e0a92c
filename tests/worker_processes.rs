//! Workers and leaders in processes of their own, over PostgreSQL, that are stopped past their leases.
//!
//! The processes are this test binary, started again for the one test that plays them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

use std::{
    env,
    fs::{self, File, OpenOptions},
    future::pending,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use buttress::{
    LeaderLayer, Rejection,
    leader::Led,
    store::{Append, Digest, Entry, Journal, Payload, Store, StoreError, Version, WorkflowId},
};
use buttress_flow::worker::{Task, WorkError, Worker, submit, wait};
use buttress_store::{PostgresStore, postgres::Options};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::postgres::{Scratch, url};

const TTL: Duration = Duration::from_millis(1_000);
const PATIENCE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(10);

/// What a process is told of its part.
const PART: &str = "BUTTRESS_TEST_PART";
const SCHEMA: &str = "BUTTRESS_TEST_SCHEMA";
const DIARY: &str = "BUTTRESS_TEST_DIARY";

/// A process that writes down what it sees.
struct Process {
    child: Child,
    diary: PathBuf,
    _directory: TempDir,
}

impl Process {
    fn start(part: &str, scratch: &Scratch) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let diary = directory.path().join("diary");
        File::create(&diary).unwrap();
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "worker_processes::plays_its_part", "--nocapture"])
            .envs([(PART, part), (SCHEMA, &scratch.schema), ("BUTTRESS_POSTGRES", &scratch.url)])
            .env(DIARY, &diary)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, diary, _directory: directory }
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.diary).unwrap().lines().map(str::to_owned).collect()
    }

    /// Waits until so many lines are written that begin with a word.
    async fn writes(&self, word: &str, times: usize) {
        let written = async {
            while self.lines().iter().filter(|line| line.starts_with(word)).count() < times {
                sleep(TICK).await;
            }
        };
        let waited = timeout(PATIENCE, written).await;
        assert!(waited.is_ok(), "no {times} times `{word}` in {:?}", self.lines());
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn write(diary: &Path, line: &str) {
    let mut file = OpenOptions::new().append(true).open(diary).unwrap();
    writeln!(file, "{line}").unwrap();
}

fn journal(store: PostgresStore) -> Journal {
    Journal::new(store).namespace("shop").ttl(TTL)
}

fn candidate(store: PostgresStore) -> LeaderLayer {
    LeaderLayer::new(journal(store), "scheduler").poll(TTL / 10)
}

/// Not a test of its own: the part of another process.
#[tokio::test]
async fn plays_its_part() {
    let Ok(part) = env::var(PART) else { return };
    let diary: PathBuf = env::var_os(DIARY).unwrap().into();
    let options = Options::new().schema(env::var(SCHEMA).unwrap());
    let store = options.connect(&url()).await.unwrap();
    match part.as_str() {
        "worker" => work(store, diary).await,
        "leader" => lead(store, diary).await,
        part => panic!("nobody plays {part}"),
    }
}

/// A worker whose handler never ends, and starts something that writes on and on, whatever becomes of it.
async fn work(store: PostgresStore, diary: PathBuf) {
    let handler = |task: Task| {
        let diary = diary.clone();
        async move {
            let (journal, workflow) = (task.journal().clone(), task.workflow().clone());
            let late = diary.clone();
            tokio::spawn(async move {
                loop {
                    let append = state(&journal, &workflow);
                    match journal.store().append(append).await {
                        Ok(_) => write(&late, "wrote"),
                        Err(StoreError::Fenced { .. }) => write(&late, "fenced"),
                        Err(error) => write(&late, &format!("failed: {error}")),
                    }
                    sleep(TICK).await;
                }
            });
            // Longer than any test.
            for _ in 0..100_000 {
                write(&diary, "goes on");
                sleep(TICK).await;
            }
            Ok::<_, WorkError>(0)
        }
    };
    Worker::new(journal(store)).poll(TTL / 10).run(handler, pending()).await;
}

fn state(journal: &Journal, workflow: &WorkflowId) -> Append {
    Append {
        workflow: workflow.clone(),
        step: "state".into(),
        claim: journal.claim(workflow, true).unwrap(),
        expect: None,
        parent: None,
        fingerprint: Digest::default(),
        entry: Entry::state(Payload::default()),
    }
}

#[tokio::test]
async fn every_late_write_of_a_worker_that_was_stopped_is_fenced() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let journal = journal(store.clone());
    submit(&journal, "a", &7_u32).await.unwrap();
    let stalled = Process::start("worker", &scratch);
    stalled.writes("wrote", 5).await;
    stalled.signal("STOP");
    // Another worker takes over when the lease has run out.
    let worker = Worker::new(journal.clone()).poll(TTL / 10);
    let handler = async |task: Task| Ok::<_, WorkError>((task.input::<u32>()?, task.attempt()));
    let running = tokio::spawn(async move { worker.run(handler, pending()).await });
    let done = timeout(PATIENCE, wait::<(u32, u32)>(&journal, "a", TICK)).await.unwrap();
    assert_eq!(done, Ok((7, 2)));
    let before = stalled.lines();
    stalled.signal("CONT");
    stalled.writes("fenced", 20).await;
    let after = stalled.lines().split_off(before.len());
    // One write may have been answered while it was stopped, and one line been on its way.
    let of = |word: &str| after.iter().filter(|line| line.starts_with(word)).count();
    assert!(of("wrote") <= 1 && of("goes on") <= 1 && of("failed") == 0, "{after:?}");
    assert!(of("fenced") >= 20, "{after:?}");
    // In the store, nothing of it comes after the takeover.
    let versions = store.history(&WorkflowId::new("shop", "a"), 0, 10_000).await.unwrap();
    let epochs: Vec<u64> = versions
        .iter()
        .map(|version| match version {
            Version::Intact(record) => record.epoch,
            Version::Damaged(finding) => panic!("{finding:?}"),
        })
        .collect();
    assert!(epochs.is_sorted(), "{epochs:?}");
    running.abort();
}

/// Calls a tool all the time, and writes down what becomes of it.
async fn lead(store: PostgresStore, diary: PathBuf) {
    let layer = candidate(store);
    tokio::spawn(layer.campaign(pending()));
    let tool = service_fn(async |_: Led<()>| Ok::<_, Rejection>(()));
    let service = layer.layer(tool);
    loop {
        let let_in = service.clone().oneshot(Led::new(())).await.is_ok();
        write(&diary, if let_in { "in" } else { "out" });
        sleep(TICK / 5).await;
    }
}

#[tokio::test]
async fn a_leader_that_was_stopped_lets_no_call_in_when_it_wakes() {
    let scratch = Scratch::new();
    let stalled = Process::start("leader", &scratch);
    stalled.writes("in", 5).await;
    stalled.signal("STOP");
    let layer = candidate(scratch.store().await);
    let handle = layer.handle();
    let stopped = Instant::now();
    let running = tokio::spawn(layer.campaign(pending()));
    timeout(PATIENCE, handle.wait_until_leader()).await.unwrap();
    assert!(stopped.elapsed() >= TTL / 2, "{:?}", stopped.elapsed());
    let before = stalled.lines();
    stalled.signal("CONT");
    stalled.writes("out", before.iter().filter(|line| *line == "out").count() + 50).await;
    let after = stalled.lines().split_off(before.len());
    // One call may have been let in before, and not been written down.
    let admitted = after.iter().skip(1).filter(|line| *line == "in").count();
    assert_eq!(admitted, 0, "{after:?}");
    assert!(handle.is_leader());
    running.abort();
}
