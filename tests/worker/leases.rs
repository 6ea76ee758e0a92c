//! Workers that die, stall, and are cut off.

use buttress::{
    CheckpointLayer, Rejection,
    checkpoint::{Effects, InDoubt, Step},
    store::{Append, Begin, Claim, Digest, Entry, Lease, Payload, Sealed, StoreError, Ticket},
};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::faulty;

/// Counts a handler's polls, and tells when it is dropped.
#[derive(Clone, Default)]
struct Watched(Arc<Mutex<(u32, Option<Instant>)>>);

struct Watch(Watched);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().1 = Some(Instant::now());
    }
}

impl Watched {
    /// Works in steps of a tenth of a second, without an end.
    fn endless(&self) -> impl Future<Output = ()> + Send + use<> {
        let watch = Watch(self.clone());
        async move {
            loop {
                watch.0.0.lock().unwrap().0 += 1;
                sleep(SECOND / 10).await;
            }
        }
    }

    fn polls(&self) -> u32 {
        self.0.lock().unwrap().0
    }

    fn dropped(&self) -> Option<Instant> {
        self.0.lock().unwrap().1
    }
}

#[tokio::test(start_paused = true)]
async fn when_a_worker_dies_another_resumes_after_its_last_done_step() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    let charged = Arc::new(AtomicU32::new(0));
    let handler = |hangs: bool| {
        let charged = charged.clone();
        move |task: Task| {
            let charged = charged.clone();
            async move {
                let tool = async |step: Step<u64>| {
                    charged.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, Rejection>(step.request)
                };
                let effects = Effects::SideEffect(InDoubt::Fail);
                let layer = CheckpointLayer::new(task.journal().clone(), effects);
                let step = Step::new(task.id(), "charge", task.input::<u64>()?);
                let charge = layer.layer(service_fn(tool)).oneshot(step).await;
                let charge = charge.map_err(|_| Failure(Verdict::unknown(), "no charge"))?;
                if hangs {
                    std::future::pending::<()>().await;
                }
                sleep(3 * TTL).await;
                Ok((charge, task.attempt()))
            }
        }
    };
    submit(&journal, "a", &7_u64).await.unwrap();
    let (first, second) = (Process::new(&store), Process::new(&store));
    let (_stop, dying) = first.start(handler(true));
    sleep(2 * SECOND).await;
    assert_eq!(charged.load(Ordering::Relaxed), 1);
    let _second = second.start(handler(false));
    sleep(20 * TTL).await;
    assert_eq!(charged.load(Ordering::Relaxed), 1, "it is held for as long as it runs");
    assert_eq!(second.told("a"), []);
    dying.abort();
    let died = Instant::now();
    assert_eq!(wait(&journal, "a", POLL).await, Ok((7_u64, 2_u32)));
    assert!(died.elapsed() <= TTL + POLL + 3 * TTL + POLL, "{:?}", died.elapsed());
    assert_eq!(charged.load(Ordering::Relaxed), 1);
    let [Event::Claimed { attempt: 2, .. }, Event::Recorded { attempt: 2, .. }] =
        second.told("a")[..]
    else {
        panic!("{:?}", second.told("a"));
    };
}

fn append(journal: &Journal, workflow: &WorkflowId) -> Append {
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

fn begin(journal: &Journal, workflow: &WorkflowId, intent: bool) -> Begin {
    Begin {
        workflow: workflow.clone(),
        step: "late".into(),
        fingerprint: Digest::default(),
        claim: journal.claim(workflow, intent).unwrap(),
        intent,
        restart: None,
        mark: None,
    }
}

fn fenced<T: fmt::Debug>(late: Result<T, StoreError>) {
    assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stalls_past_its_lease_is_fenced_and_its_handler_not_polled_again() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    submit(&journal, "a", &7_u64).await.unwrap();
    let (first, second) = (Process::new(&store), Process::new(&store));
    let (kept, watched) = (Arc::new(Mutex::new(None)), Watched::default());
    let handler = {
        let (kept, watched) = (kept.clone(), watched.clone());
        move |task: Task| {
            let (kept, watched) = (kept.clone(), watched.clone());
            async move {
                if task.id() != "a" {
                    return double(task).await;
                }
                let (workflow, journal) = (task.workflow().clone(), task.journal().clone());
                let begun = journal.store().begin(&begin(&journal, &workflow, true)).await.unwrap();
                let buttress::store::Begun::Fresh(ticket) = begun else { panic!("{begun:?}") };
                *kept.lock().unwrap() = Some((journal, ticket));
                watched.endless().await;
                Ok(0_u64)
            }
        }
    };
    let _first = first.start(handler);
    sleep(SECOND).await;
    let _second = second.start(double);
    first.stopped.send(true).unwrap();
    let (stopped, polls) = (Instant::now(), watched.polls());
    assert!(polls >= 9);
    assert_eq!(wait(&journal, "a", POLL).await, Ok(14_u64));
    assert!(stopped.elapsed() <= TTL + POLL + SECOND + POLL);
    // It wakes, and the timers of its handler are due.
    first.stopped.send(false).unwrap();
    settle().await;
    assert_eq!(watched.polls(), polls);
    assert!(watched.dropped().is_some());
    let lost = |event: &Event| matches!(event, Event::Fenced { .. });
    assert_eq!(first.told("a").iter().filter(|event| lost(event)).count(), 1);
    // Whatever it had under way comes too late.
    let (journal, ticket): (Journal, Ticket) = kept.lock().unwrap().take().unwrap();
    let lease = journal.lease().unwrap();
    fenced(store.append(append(&journal, &id("a"))).await);
    fenced(store.complete(&ticket, Entry::done(Payload::default())).await);
    fenced(store.begin(&begin(&journal, &id("a"), true)).await);
    fenced(store.begin(&begin(&journal, &id("a"), false)).await);
    fenced(store.renew(lease, TTL).await);
    fenced(store.finish(&id("a"), &Claim::Held { epoch: lease.epoch }).await);
    assert_eq!(result::<u64>(&desk(&store), "a").await, Ok(Some(14)));
    // The process goes on with other work.
    submit(&desk(&store), "b", &7_u64).await.unwrap();
    sleep(2 * SECOND).await;
    assert_eq!(result::<u64>(&desk(&store), "b").await, Ok(Some(14)));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_cut_off_stops_its_handler_before_another_may_start() {
    for fault in [faulty::Fault::Down, faulty::Fault::AnswersLost, faulty::Fault::Silent] {
        let store = MemoryStore::new();
        let journal = desk(&store);
        submit(&journal, "a", &7_u64).await.unwrap();
        let (first, second) = (Process::new(&store), Process::new(&store));
        let watched = Watched::default();
        let endless = watched.clone();
        let _first = first.start(move |_: Task| {
            let endless = endless.endless();
            async move {
                endless.await;
                Ok(0_u64)
            }
        });
        settle().await;
        let held = Instant::now();
        first.store.set(fault);
        let started = Arc::new(Mutex::new(None));
        let starts = started.clone();
        let _second = second.start(move |task: Task| {
            *starts.lock().unwrap() = Some(Instant::now());
            double(task)
        });
        assert_eq!(wait(&journal, "a", POLL).await, Ok(14_u64));
        let (dropped, started) = (watched.dropped().unwrap(), started.lock().unwrap().unwrap());
        let after = dropped - held;
        assert!(after >= TTL - MARGIN - 2 * TICK && after <= TTL - MARGIN + TICK, "{after:?}");
        assert!(dropped < started, "{fault:?}");
        // Cut off, it still has its slots: well again, it works.
        first.store.set(faulty::Fault::None);
        second.stopped.send(true).unwrap();
        submit(&journal, "b", &7_u64).await.unwrap();
        sleep(2 * TTL).await;
        assert!(matches!(first.told("b")[..], [Event::Claimed { attempt: 1, .. }]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_is_recorded_once_though_answers_are_lost() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    submit(&journal, "a", &7_u64).await.unwrap();
    let process = Process::new(&store);
    let way = process.store.clone();
    let heal = process.store.clone();
    let _running = process.start(move |task: Task| {
        let way = way.clone();
        async move {
            let doubled = double(task).await;
            way.set(faulty::Fault::AnswersLost);
            doubled
        }
    });
    sleep(2 * SECOND).await;
    assert_eq!(result::<u64>(&journal, "a").await, Ok(Some(14)));
    heal.set(faulty::Fault::None);
    sleep(TTL).await;
    let history = store.history(&id("a"), 0, 100).await.unwrap();
    let results = history.iter().filter(|version| {
        matches!(version, buttress::store::Version::Intact(Sealed { record, .. })
            if &*record.step.name == buttress_flow::worker::RESULT)
    });
    assert_eq!(results.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_is_deleted_is_let_go() {
    let store = MemoryStore::new();
    let journal = desk(&store);
    submit(&journal, "a", &7_u64).await.unwrap();
    let process = Process::new(&store);
    let watched = Watched::default();
    let endless = watched.clone();
    let _running = process.start(move |_: Task| {
        let endless = endless.endless();
        async move {
            endless.await;
            Ok(0_u64)
        }
    });
    sleep(SECOND).await;
    store.delete(&id("a")).await.unwrap();
    sleep(TTL / 3).await;
    assert!(watched.dropped().is_some());
    let late = Lease { workflow: id("a"), epoch: 1, owner: "x".into(), ttl: TTL };
    assert!(matches!(store.renew(&late, TTL).await, Err(StoreError::Deleted { .. })));
    assert_eq!(status(&journal, "a").await.unwrap().unwrap().state, State::Deleted);
}
