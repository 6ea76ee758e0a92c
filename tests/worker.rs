//! Workers: who does a workflow, how often, and what comes of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

mod chaos;
mod ends;
mod leases;
mod within;

use std::{
    fmt,
    future::Future,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    Backoff, Event, Fault, Jitter, Teller, Verdict,
    store::{Journal, MemoryStore, Store, WorkflowId},
};
use buttress_flow::worker::{
    HOUSEKEEPING, State, Status, Submitted, Task, WorkError, Worker, result, status, submit, wait,
};
use serde::Serialize;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{faulty::Faulty, support::stoppable};

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(9);
const MARGIN: Duration = SECOND;
const POLL: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(1);

/// What a handler says of its failure.
#[derive(Clone, Debug)]
struct Failure(Verdict, &'static str);

impl Fault for Failure {
    fn verdict(&self) -> Verdict {
        self.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }
}

impl From<WorkError> for Failure {
    fn from(error: WorkError) -> Self {
        Self(error.verdict(), "the input is not what it should be")
    }
}

/// One process with a worker in it.
struct Process {
    worker: Worker,
    store: Faulty,
    told: Arc<Mutex<Vec<(String, Event)>>>,
    stopped: watch::Sender<bool>,
}

impl Process {
    fn new(store: &MemoryStore) -> Self {
        let (store, told) = (Faulty::new(store.clone()), Arc::<Mutex<Vec<_>>>::default());
        let hears = told.clone();
        let worker = Worker::new(Journal::new(store.clone()).ttl(TTL).namespace("shop"))
            .margin(MARGIN)
            .poll(POLL)
            .backoff(Backoff::constant(10 * SECOND).jitter(Jitter::None))
            .grace(2 * SECOND)
            .observe(move |teller: Teller<'_>, event: &Event| {
                assert_eq!(teller.pattern, "worker");
                hears.lock().unwrap().push((teller.name.to_owned(), *event));
            });
        Self { worker, store, told, stopped: watch::Sender::new(false) }
    }

    fn set(mut self, set: impl FnOnce(Worker) -> Worker) -> Self {
        self.worker = set(self.worker);
        self
    }

    /// Works until the sender is used or dropped; abort the task to have the process die.
    fn start<H, F, T>(&self, handler: H) -> (oneshot::Sender<()>, JoinHandle<()>)
    where
        H: Fn(Task) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
        T: Serialize + Send,
    {
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = self.worker.clone();
        let run = async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            worker.run(handler, shutdown).await;
        };
        (stop, tokio::spawn(stoppable(run, self.stopped.subscribe())))
    }

    /// What was told of a workflow.
    fn told(&self, id: &str) -> Vec<Event> {
        let name = format!("shop/{id}");
        let told = self.told.lock().unwrap();
        told.iter().filter(|(teller, _)| *teller == name).map(|(_, event)| *event).collect()
    }
}

/// The way to the store of those who want work done.
fn desk(store: &MemoryStore) -> Journal {
    Journal::new(store.clone()).namespace("shop")
}

fn id(name: &str) -> WorkflowId {
    WorkflowId::new("shop", name)
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn double(task: Task) -> Result<u64, Failure> {
    sleep(SECOND).await;
    Ok(2 * task.input::<u64>()?)
}

#[tokio::test(start_paused = true)]
async fn several_workers_do_each_workflow_once() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    for n in 0..40_u64 {
        let submitted = submit(&journal, format!("order-{n}"), &n).await;
        assert_eq!(submitted, Ok(Submitted::New));
    }
    let (calls, running, most) =
        (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let start = Instant::now();
    let three = NonZeroU32::new(3).unwrap();
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let process = Process::new(&store).set(|worker| worker.concurrency(three));
            let (calls, running, most) = (calls.clone(), running.clone(), most.clone());
            let handler = move |task: Task| {
                calls.fetch_add(1, Ordering::Relaxed);
                let now = running.fetch_add(1, Ordering::Relaxed) + 1;
                most.fetch_max(now, Ordering::Relaxed);
                let running = running.clone();
                async move {
                    let doubled = double(task).await;
                    running.fetch_sub(1, Ordering::Relaxed);
                    doubled
                }
            };
            process.start(handler)
        })
        .collect();
    for n in 0..40_u64 {
        assert_eq!(wait(&journal, format!("order-{n}"), POLL).await, Ok(2 * n));
    }
    assert_eq!(calls.load(Ordering::Relaxed), 40);
    assert_eq!(most.load(Ordering::Relaxed), 9);
    // 40 seconds of work, nine at a time.
    assert!(start.elapsed() < 6 * SECOND, "{:?}", start.elapsed());
    for (stop, ended) in workers {
        stop.send(()).unwrap();
        ended.await.unwrap();
    }
    for summary in store.list(Some("shop"), None, 100).await.unwrap() {
        assert_eq!((summary.life.as_str(), summary.held), ("finished", None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_workflow_is_submitted_once() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    assert_eq!(status(&journal, "a").await, Ok(None));
    assert!(matches!(result::<u64>(&journal, "a").await, Err(WorkError::Store(_))));
    let (first, second) =
        tokio::join!(submit(&journal, "a", &1_u64), submit(&journal, "a", &1_u64));
    assert_eq!((first, second), (Ok(Submitted::New), Ok(Submitted::Known)));
    let conflict = submit(&journal, "a", &2_u64).await;
    assert_eq!(conflict, Err(WorkError::Conflict { workflow: id("a") }));
    assert_eq!(result::<u64>(&journal, "a").await, Ok(None));
    let process = Process::new(&store);
    let _running = process.start(double);
    assert_eq!(wait(&journal, "a", POLL).await, Ok(2_u64));
    // Done, it is answered with its result, and not done again.
    assert_eq!(submit(&journal, "a", &1_u64).await, Ok(Submitted::Known));
    sleep(TTL).await;
    assert_eq!(process.told("a").len(), 2, "{:?}", process.told("a"));
    store.delete(&id("a")).await.unwrap();
    assert!(matches!(submit(&journal, "a", &1_u64).await, Err(WorkError::Store(_))));
    assert_eq!(status(&journal, "a").await.unwrap().unwrap().state, State::Deleted);
}

#[tokio::test(start_paused = true)]
async fn how_a_workflow_stands_is_told() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    submit(&journal, "a", &1).await.unwrap();
    let waiting = Status { state: State::Waiting { backoff: None }, attempts: 0, error: None };
    assert_eq!(status(&journal, "a").await, Ok(Some(waiting)));
    let process = Process::new(&store);
    let _running = process.start(async |task: Task| {
        sleep(SECOND).await;
        if task.attempt() == 1 { Err(Failure(Verdict::transient(), "busy")) } else { Ok(()) }
    });
    sleep(SECOND / 2).await;
    let Some(Status { state: State::Running { left, .. }, attempts: 1, error: None }) =
        status(&journal, "a").await.unwrap()
    else {
        panic!("it runs");
    };
    assert!(left <= TTL);
    sleep(SECOND).await;
    let Some(Status {
        state: State::Waiting { backoff: Some(_) },
        attempts: 1,
        error: Some(error),
    }) = status(&journal, "a").await.unwrap()
    else {
        panic!("it waits for another attempt");
    };
    assert_eq!(error, "busy");
    wait::<()>(&journal, "a", POLL).await.unwrap();
    let done = Status { state: State::Done, attempts: 2, error: Some("busy".to_owned()) };
    assert_eq!(status(&journal, "a").await, Ok(Some(done)));
}

#[tokio::test(start_paused = true)]
async fn one_of_the_idle_slots_asks_for_all() {
    let store = MemoryStore::new();
    let process = Process::new(&store);
    let _running = process.start(double);
    sleep(20 * POLL).await;
    let claims = process.store.asked("claim");
    assert!((21..=41).contains(&claims), "{claims}");
}

#[tokio::test(start_paused = true)]
async fn workers_that_were_started_together_do_not_ask_together() {
    let store = MemoryStore::new();
    let (one, other) = (Process::new(&store), Process::new(&store));
    let _running = (one.start(double), other.start(double));
    let (mut together, mut before) = (0, [0, 0]);
    for _ in 0..50_000 {
        sleep(TICK).await;
        let asked = [&one, &other].map(|process| process.store.asked("claim"));
        together += u32::from(asked[0] > before[0] && asked[1] > before[1]);
        before = asked;
    }
    // The first time they cannot help it.
    assert!(together < 10, "{together} times of {before:?}");
    assert!(before.iter().all(|times| (101..=201).contains(times)), "{before:?}");
}

#[tokio::test(start_paused = true)]
async fn one_of_the_workers_prunes_every_hour() {
    let retention = buttress::store::Retention {
        ended: Some(30 * 60 * SECOND),
        ..buttress::store::Retention::default()
    };
    let store = MemoryStore::with_retention(retention);
    let journal = desk(&store);
    let processes: Vec<_> = (0..3).map(|_| Process::new(&store)).collect();
    let _running: Vec<_> = processes.iter().map(|process| process.start(double)).collect();
    submit(&journal, "a", &1_u64).await.unwrap();
    assert_eq!(wait(&journal, "a", POLL).await, Ok(2_u64));
    sleep(60 * 60 * 5 * SECOND + 30 * 60 * SECOND).await;
    let pruned: u64 = processes.iter().map(|process| process.store.asked("prune")).sum();
    assert_eq!(pruned, 6, "at the start, and after each hour");
    assert_eq!(status(&journal, "a").await, Ok(None));
    assert_eq!(
        store.summary(&WorkflowId::new(HOUSEKEEPING, "shop")).await.unwrap().unwrap().latest,
        0
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_no_time_starts_nothing_and_does_not_spin() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    submit(&journal, "a", &7_u64).await.unwrap();
    let faulty = Faulty::new(store.clone());
    let journal = Journal::new(faulty.clone()).ttl(Duration::ZERO).namespace("shop");
    let worker = Worker::new(journal).poll(POLL);
    let handler = async |_: Task| -> Result<(), Failure> { panic!("it is not held") };
    let running = worker.run(handler, std::future::pending());
    let counting = async {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        faulty.asked("claim")
    };
    let claims = tokio::select! {
        biased;
        claims = counting => claims,
        () = running => unreachable!("a worker does not end by itself"),
    };
    assert!(claims < 10, "{claims}");
}

#[tokio::test(start_paused = true)]
async fn workers_of_one_name_share_thousands_of_workflows_in_the_order_they_came() {
    const ORDERS: u64 = 2_000;
    let store = MemoryStore::new();
    let journal = desk(&store);
    for n in 0..ORDERS {
        submit(&journal, format!("order-{n}"), &n).await.unwrap();
        sleep(TICK).await;
    }
    let (started, running) = (Mutex::new(Vec::new()), AtomicU32::new(0));
    let handler = async |task: Task| {
        started.lock().unwrap().push(task.input::<u64>()?);
        let now = running.fetch_add(1, Ordering::Relaxed);
        assert!(now < 32, "two workers, sixteen each");
        sleep(SECOND).await;
        running.fetch_sub(1, Ordering::Relaxed);
        Ok::<_, Failure>(())
    };
    let worker = Worker::new(Journal::new(store.clone()).owner("one").ttl(TTL).namespace("shop"))
        .concurrency(NonZeroU32::new(16).unwrap())
        .poll(POLL);
    let other = worker.clone();
    let start = Instant::now();
    let waiting = async {
        for n in 0..ORDERS {
            wait::<()>(&journal, format!("order-{n}"), POLL).await.unwrap();
        }
    };
    tokio::select! {
        () = worker.run(handler, std::future::pending()) => unreachable!("it does not end"),
        () = other.run(handler, std::future::pending()) => unreachable!("it does not end"),
        () = waiting => {}
    }
    assert!(start.elapsed() < SECOND * (ORDERS as u32 / 32 + 3), "{:?}", start.elapsed());
    let started = started.into_inner().unwrap();
    assert_eq!(started.len(), ORDERS as usize);
    assert!(started.is_sorted(), "{started:?}");
}
