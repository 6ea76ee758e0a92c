//! How attempts end, and what comes of it.

use std::collections::BTreeMap;

use buttress::{
    CheckpointLayer, Rejection, Why,
    checkpoint::{Effects, Step},
};
use tower::{Layer, ServiceExt, service_fn};

use super::*;

/// Fails in this way so many times, then succeeds. The times at which it was called.
fn failing(
    times: u32,
    failure: Failure,
) -> (impl Fn(Task) -> std::future::Ready<Result<u32, Failure>> + Clone, Arc<Mutex<Vec<Instant>>>) {
    let calls = Arc::<Mutex<Vec<Instant>>>::default();
    let called = calls.clone();
    let handler = move |task: Task| {
        called.lock().unwrap().push(Instant::now());
        let failed = called.lock().unwrap().len() <= times as usize;
        std::future::ready(if failed { Err(failure.clone()) } else { Ok(task.attempt()) })
    };
    (handler, calls)
}

fn pauses(calls: &Arc<Mutex<Vec<Instant>>>) -> Vec<u64> {
    let calls = calls.lock().unwrap();
    calls.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_may_pass_is_tried_again_after_the_backoff_by_any_worker() {
    for (verdict, pause) in [
        (Verdict::transient(), 10),
        (Verdict::unknown(), 10),
        (Verdict::rejected(), 10),
        (Verdict::throttled().with_retry_after(60 * SECOND), 60),
        (Verdict::throttled().with_retry_after(SECOND), 10),
    ] {
        let store = MemoryStore::new();
        let journal = desk(&store);
        submit(&journal, "a", &()).await.unwrap();
        let (handler, calls) = failing(2, Failure(verdict, "busy"));
        let processes = [Process::new(&store), Process::new(&store)];
        let _running = processes.each_ref().map(|process| process.start(handler.clone()));
        assert_eq!(wait(&journal, "a", POLL).await, Ok(3_u32));
        assert_eq!(pauses(&calls), [pause, pause], "{verdict:?}");
        let told: Vec<_> = processes.iter().flat_map(|process| process.told("a")).collect();
        let delay = Duration::from_secs(pause);
        for attempt in [1, 2] {
            assert!(told.contains(&Event::Failed { attempt, verdict }), "{told:?}");
            assert!(told.contains(&Event::Retrying { attempt: attempt + 1, delay }), "{told:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_recorded() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    submit(&journal, "a", &()).await.unwrap();
    let (handler, calls) = failing(99, Failure(Verdict::permanent(), "no such account"));
    let process = Process::new(&store);
    let _running = process.start(handler);
    let failed = wait::<u32>(&journal, "a", POLL).await.unwrap_err();
    assert_eq!(failed.to_string(), "the workflow failed at attempt 1: no such account");
    sleep(10 * TTL).await;
    assert_eq!(calls.lock().unwrap().len(), 1);
    assert_eq!(status(&journal, "a").await.unwrap().unwrap().state, State::Failed);
    let given_up = Event::GivenUp { attempt: 1, why: Why::Permanent };
    assert_eq!(process.told("a").last(), Some(&given_up));
}

#[tokio::test(start_paused = true)]
async fn one_that_only_fails_is_given_up_after_its_attempts() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    submit(&journal, "a", &()).await.unwrap();
    let (handler, calls) = failing(99, Failure(Verdict::transient(), "busy"));
    let process = Process::new(&store).set(|worker| worker.attempts(3));
    let _running = process.start(handler);
    let failed = wait::<u32>(&journal, "a", POLL).await;
    assert_eq!(failed, Err(WorkError::Failed { message: "busy".to_owned(), attempts: 3 }));
    assert_eq!(pauses(&calls), [10, 10]);
    assert_eq!(process.told("a").last(), Some(&Event::GivenUp { attempt: 3, why: Why::Attempts }));
}

#[tokio::test(start_paused = true)]
async fn one_that_kills_its_worker_is_given_up_too() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    submit(&journal, "poison", &()).await.unwrap();
    let (mut deaths, mut last) = (0, None);
    for _ in 0..10 {
        let process = Process::new(&store).set(|worker| worker.attempts(3));
        let (dies, died) = watch::channel(false);
        let (_stop, running) = process.start(move |_: Task| {
            dies.send_replace(true);
            std::future::pending::<Result<(), Failure>>()
        });
        let mut died = died;
        if timeout(2 * TTL, died.wait_for(|died| *died)).await.is_ok() {
            deaths += 1;
        }
        running.abort();
        last = process.told("poison").last().copied().or(last);
    }
    assert_eq!(deaths, 3);
    assert_eq!(last, Some(Event::GivenUp { attempt: 3, why: Why::Attempts }));
    let failed = result::<()>(&journal, "poison").await.unwrap_err();
    let message = "its workers died or lost their leases".to_owned();
    assert_eq!(failed, WorkError::Failed { message, attempts: 3 });
    // After a repair: a copy of what was there before the result, at which no attempt was made.
    let result = store.summary(&id("poison")).await.unwrap().unwrap().latest;
    store.fork(&id("poison"), result - 1, &id("mended")).await.unwrap();
    let stands = status(&journal, "mended").await.unwrap().unwrap();
    assert_eq!((stands.state, stands.attempts), (State::Waiting { backoff: None }, 0));
    let process = Process::new(&store).set(|worker| worker.attempts(3));
    let _running = process.start(async |task: Task| Ok::<_, Failure>(task.attempt()));
    assert_eq!(wait(&journal, "mended", POLL).await, Ok(1_u32));
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_one_that_was_given_up_has_attempts_of_its_own() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    submit(&journal, "a", &()).await.unwrap();
    let (handler, _) = failing(2, Failure(Verdict::transient(), "busy"));
    let process = Process::new(&store).set(|worker| worker.attempts(2));
    let _running = process.start(handler);
    assert!(wait::<u32>(&journal, "a", POLL).await.is_err());
    // As it was at the last version before its result: with all that was done, and was counted.
    let result = store.summary(&id("a")).await.unwrap().unwrap().latest;
    store.fork(&id("a"), result - 1, &id("again")).await.unwrap();
    assert_eq!(wait(&journal, "again", POLL).await, Ok(1_u32));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_takes_nobody_with_it() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    for name in ["bad", "worse", "good"] {
        submit(&journal, name, name).await.unwrap();
    }
    let process = Process::new(&store).set(|worker| worker.attempts(2));
    let _running = process.start(|task: Task| {
        assert_ne!(task.id(), "worse", "before there is a future");
        async move {
            sleep(SECOND).await;
            assert_ne!(task.id(), "bad", "it is bad");
            Ok::<_, Failure>(task.attempt())
        }
    });
    assert_eq!(wait(&journal, "good", POLL).await, Ok(1_u32));
    for name in ["bad", "worse"] {
        let failed = wait::<u32>(&journal, name, POLL).await.unwrap_err().to_string();
        assert!(failed.contains("attempt 2: the handler panicked: assertion"), "{failed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_lets_handlers_end_and_gives_back_what_does_not() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    for seconds in [1_u64, 3, 9] {
        submit(&journal, format!("{seconds} s"), &seconds).await.unwrap();
    }
    let handler = async |task: Task| {
        sleep(SECOND * task.input::<u32>()?).await;
        Ok::<_, Failure>(task.attempt())
    };
    let first = Process::new(&store);
    let (stop, ended) = first.start(handler);
    sleep(SECOND / 2).await;
    stop.send(()).unwrap();
    let start = Instant::now();
    submit(&journal, "late", &0_u64).await.unwrap();
    ended.await.unwrap();
    // Two seconds of grace.
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(result(&journal, "1 s").await, Ok(Some(1_u32)));
    assert_eq!(status(&journal, "late").await.unwrap().unwrap().attempts, 0);
    for seconds in [3, 9] {
        let stands = status(&journal, format!("{seconds} s")).await.unwrap().unwrap();
        assert_eq!((stands.state, stands.attempts), (State::Waiting { backoff: None }, 0));
    }
    // Another takes over at once, and nothing counts against it.
    let second = Process::new(&store);
    let _second = second.start(handler);
    for (name, seconds) in [("late", 0), ("3 s", 3), ("9 s", 9)] {
        assert_eq!(wait(&journal, name, POLL).await, Ok(1_u32));
        assert!(start.elapsed() < Duration::from_secs(seconds + 4), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_is_shut_down_at_once() {
    let process = Process::new(&MemoryStore::new()).set(|worker| worker.poll(60 * SECOND));
    let (stop, ended) = process.start(double);
    sleep(SECOND).await;
    stop.send(()).unwrap();
    timeout(TICK, ended).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_or_written_is_told() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    // An input of another type.
    submit(&journal, "text", "many").await.unwrap();
    // JSON has no maps with such keys.
    let odd = BTreeMap::from([((1, 2), 3)]);
    assert!(matches!(submit(&journal, "odd", &odd).await, Err(WorkError::Unwritable { .. })));
    submit(&journal, "odd", &1_u64).await.unwrap();
    let process = Process::new(&store);
    let _running = process.start(async |task: Task| {
        let number = task.input::<u64>()?;
        Ok::<_, Failure>(BTreeMap::from([((number, number), number)]))
    });
    let failed = wait::<u64>(&journal, "text", POLL).await.unwrap_err().to_string();
    assert_eq!(failed, "the workflow failed at attempt 1: the input is not what it should be");
    let failed = wait::<u64>(&journal, "odd", POLL).await.unwrap_err().to_string();
    assert!(failed.contains("the result of the workflow cannot be recorded"), "{failed}");
    // A result of another type.
    submit(&journal, "number", &1_u64).await.unwrap();
    let other = Process::new(&store);
    drop(_running);
    let _running = other.start(double);
    let unreadable = wait::<String>(&journal, "number", POLL).await;
    assert!(matches!(unreadable, Err(WorkError::Unreadable { what: "result", .. })));
}

#[tokio::test(start_paused = true)]
async fn an_open_workflow_that_was_never_submitted_has_no_input() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    let layer = CheckpointLayer::new(journal.clone(), Effects::ReadOnly);
    let tool = service_fn(async |step: Step<u32>| Ok::<_, Rejection>(step.request));
    layer.layer(tool).oneshot(Step::new("by hand", "look", 1_u32)).await.unwrap();
    let process = Process::new(&store);
    let _running = process.start(async |task: Task| {
        let missing = task.input::<u64>();
        assert_eq!(missing, Err(WorkError::NoInput { workflow: id("by hand") }));
        Ok::<_, Failure>(missing?)
    });
    assert!(wait::<u64>(&journal, "by hand", POLL).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_damaged_input_ends_the_workflow_and_a_damaged_count_does_not() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    submit(&journal, "a", &1_u64).await.unwrap();
    assert!(store.tamper(&id("a"), 1, |bytes| bytes[9] ^= 1));
    let process = Process::new(&store);
    let _running = process.start(async |_: Task| {
        sleep(SECOND).await;
        Err::<u64, _>(Failure(Verdict::transient(), "busy"))
    });
    let failed = wait::<u64>(&journal, "a", POLL).await.unwrap_err().to_string();
    assert!(failed.contains("version 1 of workflow `shop/a` is damaged"), "{failed}");
    assert_eq!(process.told("a")[0], Event::Damaged { version: 1 });

    submit(&journal, "b", &1_u64).await.unwrap();
    sleep(5 * SECOND).await;
    let count = store.summary(&id("b")).await.unwrap().unwrap().latest;
    assert!(store.tamper(&id("b"), count, |bytes| bytes[9] ^= 1));
    sleep(9 * SECOND).await;
    let told = process.told("b");
    assert!(told.contains(&Event::Damaged { version: count }), "{told:?}");
    // The newest that is intact counts.
    assert!(told.iter().any(|event| matches!(event, Event::Claimed { attempt: 2, .. })));
}

/// What cannot be told and cannot be written.
struct Rude;

impl fmt::Display for Rude {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("it has no words")
    }
}

impl Fault for Rude {
    fn verdict(&self) -> Verdict {
        Verdict::transient()
    }
}

impl Serialize for Rude {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("it has no shape")
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_or_an_error_that_panics_takes_nobody_with_it() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    for name in ["words", "shape"] {
        submit(&journal, name, name).await.unwrap();
    }
    let process = Process::new(&store).set(|worker| worker.attempts(2));
    let handler = async |task: Task| match task.id() {
        "words" => Err(Rude),
        _ => Ok(Rude),
    };
    let running = process.worker.run(handler, std::future::pending());
    let waiting = async {
        for name in ["words", "shape"] {
            let failed = wait::<u32>(&journal, name, POLL).await.unwrap_err().to_string();
            assert!(failed.contains("the handler panicked: it has no"), "{failed}");
        }
    };
    tokio::select! {
        () = running => unreachable!("a worker does not end by itself"),
        () = waiting => {}
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_while_a_shutdown_comes_is_given_back() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    submit(&journal, "a", &7_u64).await.unwrap();
    let process = Process::new(&store);
    process.store.set(crate::faulty::Fault::Silent);
    let started = Arc::new(AtomicU32::new(0));
    let starts = started.clone();
    let (stop, ended) = process.start(move |task: Task| {
        starts.fetch_add(1, Ordering::Relaxed);
        double(task)
    });
    settle().await;
    stop.send(()).unwrap();
    settle().await;
    // Now the store answers: the workflow was taken.
    process.store.set(crate::faulty::Fault::None);
    timeout(TICK, ended).await.unwrap().unwrap();
    assert_eq!(started.load(Ordering::Relaxed), 0);
    let stands = status(&journal, "a").await.unwrap().unwrap();
    assert_eq!((stands.state, stands.attempts), (State::Waiting { backoff: None }, 0));
}

#[tokio::test(start_paused = true)]
async fn the_leases_of_those_who_clean_up_are_no_work() {
    let store = MemoryStore::new();
    let started = AtomicU32::new(0);
    let handler = async |_: Task| {
        started.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Failure>(())
    };
    let worker = |namespace: &str| {
        Worker::new(Journal::new(store.clone()).namespace(namespace).ttl(TTL)).poll(60 * SECOND)
    };
    // One that cleaned and died, and one that has an obvious name.
    let (cleans, works) = (worker("shop"), worker("workers").housekeeping(None));
    timeout(SECOND, cleans.run(handler, std::future::pending())).await.unwrap_err();
    timeout(3 * 3_600 * SECOND, works.run(handler, std::future::pending())).await.unwrap_err();
    assert_eq!(started.load(Ordering::Relaxed), 0);
}
