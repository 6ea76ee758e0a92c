//! LeaderLayer: who is let in, and when.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

mod calls;
mod chaos;
mod cut_off;

use std::{
    future::{Future, pending},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress::{
    Event, LeaderHandle, LeaderLayer, Rejection, Teller, Verdict, Why,
    leader::{FencingToken, Led, NAMESPACE},
    store::{
        Append, Claim, Digest, Entry, Journal, MemoryStore, Payload, Store, StoreError, WorkflowId,
    },
};
use buttress_sim::probe::{
    Act, Alarm, ProbeError, ProbeHandle, ProbeReply, ProbeRequest, ProbeService,
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, advance, sleep, sleep_until, timeout},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::{
    faulty::{Fault, Faulty},
    support::stoppable,
};

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(9);
const MARGIN: Duration = SECOND;
const POLL: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(1);

type Told = Arc<Mutex<Vec<Event>>>;

/// One process that stands for the office.
struct Process {
    layer: LeaderLayer,
    handle: LeaderHandle,
    store: Faulty,
    told: Told,
}

impl Process {
    fn new(store: &MemoryStore) -> Self {
        Self::with(store, TTL)
    }

    fn with(store: &MemoryStore, ttl: Duration) -> Self {
        let (store, told) = (Faulty::new(store.clone()), Told::default());
        let hears = told.clone();
        let layer = LeaderLayer::new(Journal::new(store.clone()).ttl(ttl), "scheduler")
            .margin(MARGIN)
            .poll(POLL)
            .observe(move |teller: Teller<'_>, event: &Event| {
                assert_eq!((teller.pattern, teller.name), ("leader", "scheduler"));
                hears.lock().unwrap().push(*event);
            });
        Self { handle: layer.handle(), layer, store, told }
    }

    /// Stands until the sender is used or dropped.
    fn stand(&self) -> (oneshot::Sender<()>, JoinHandle<Result<(), StoreError>>) {
        let (stop, stopped) = oneshot::channel();
        let campaign = self.layer.campaign(async move {
            let _ = stopped.await;
        });
        (stop, tokio::spawn(campaign))
    }

    /// Stands until the task is aborted: until the process dies.
    fn stand_until_death(&self) -> JoinHandle<Result<(), StoreError>> {
        tokio::spawn(self.layer.campaign(pending()))
    }

    /// Asks for the fence that a call would carry.
    async fn fence(&self) -> Result<u64, Option<Duration>> {
        let tool = async |call: Led<()>| Ok::<_, Rejection>(call.token);
        let service = self.layer.layer(service_fn(tool));
        match service.oneshot(Led::new(())).await {
            Ok(token) => Ok(token.expect("it was let in").get()),
            Err(Rejection::NotLeader { name, retry_after }) => {
                assert_eq!(name.as_str(), "scheduler");
                Err(retry_after)
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn told(&self) -> Vec<Event> {
        let rejected = |event: &Event| !matches!(event, Event::Rejected { .. });
        let mut told = std::mem::take(&mut *self.told.lock().unwrap());
        told.retain(rejected);
        told
    }

    /// A service over a probe, and the handle of that.
    fn over_probe(
        &self,
    ) -> (BoxCloneSyncService<ProbeRequest, ProbeReply, ProbeError>, ProbeHandle) {
        let probe = ProbeService::new(1);
        let handle = probe.handle();
        let service = ServiceBuilder::new()
            .map_request(Led::new)
            .layer(self.layer.clone())
            .map_request(Led::into_request)
            .service(probe);
        (BoxCloneSyncService::new(service), handle)
    }
}

/// Lets every task go on that can.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_candidates_one_is_let_in_and_the_other_told_when_to_come_back() {
    let store = MemoryStore::new();
    let (a, b) = (Process::new(&store), Process::new(&store));
    assert_eq!(a.fence().await, Err(None), "nobody stands yet");
    let _a = a.stand();
    let epoch = a.handle.wait_until_leader().await;
    let _b = b.stand();
    settle().await;
    assert_eq!(a.fence().await, Ok(epoch));
    assert_eq!(b.fence().await, Err(Some(TTL)));
    sleep(2 * SECOND).await;
    assert!(b.fence().await.unwrap_err().unwrap() <= TTL);
    assert_eq!((a.handle.is_leader(), b.handle.is_leader()), (true, false));
    assert_eq!((a.handle.epoch(), b.handle.epoch()), (Some(epoch), None));
    assert_eq!(a.handle.leader(), b.handle.leader());
    // It is renewed for as long as it stands.
    sleep(20 * TTL).await;
    assert_eq!(a.fence().await, Ok(epoch));
    assert!(b.fence().await.is_err());
    assert_eq!(a.told(), [Event::Elected { epoch }]);
    assert_eq!(b.told(), []);
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_dies_another_leads_after_the_lease_and_a_poll() {
    for later in [0, 2_900, 3_100, 17_777] {
        let store = MemoryStore::new();
        let (a, b) = (Process::new(&store), Process::new(&store));
        let dying = a.stand_until_death();
        let first = a.handle.wait_until_leader().await;
        let _b = b.stand();
        sleep(Duration::from_millis(later)).await;
        dying.abort();
        let died = Instant::now();
        settle().await;
        assert!(!a.handle.is_leader(), "what is dropped leads no more");
        let second = b.handle.wait_until_leader().await;
        assert!(second > first);
        assert!(died.elapsed() <= TTL + POLL, "{:?}", died.elapsed());
        assert!(died.elapsed() >= TTL - TTL / 3, "{:?}", died.elapsed());
        assert_eq!(
            a.told(),
            [Event::Elected { epoch: first }, Event::Deposed { epoch: first, why: Why::Command }]
        );
    }
}

fn version(journal: &Journal, workflow: &WorkflowId) -> Append {
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

#[tokio::test(start_paused = true)]
async fn the_store_refuses_a_fence_that_is_over() {
    let store = MemoryStore::new();
    let (a, b) = (Process::new(&store), Process::new(&store));
    let dying = a.stand_until_death();
    let first = a.handle.wait_until_leader().await;
    let (journal, lease) = (a.handle.journal().unwrap(), a.handle.lease().unwrap());
    store.append(version(&journal, &lease.workflow)).await.unwrap();
    dying.abort();
    let _b = b.stand();
    let second = b.handle.wait_until_leader().await;
    let late = store.append(version(&journal, &lease.workflow)).await;
    assert!(matches!(late, Err(StoreError::Fenced { epoch, .. }) if epoch == first));
    assert!(matches!(store.renew(&lease, TTL).await, Err(StoreError::Fenced { .. })));
    // To give back what was lost takes nothing from the next.
    store.release(&lease).await.unwrap();
    let journal = b.handle.journal().unwrap();
    assert_eq!(journal.claim(&lease.workflow, true), Ok(Claim::Held { epoch: second }));
    assert_eq!(store.append(version(&journal, &lease.workflow)).await.unwrap().epoch, second);
    assert!(a.handle.journal().is_none());
}

#[tokio::test(start_paused = true)]
async fn who_steps_down_refuses_at_once_and_lets_others_lead_after_a_poll() {
    let store = MemoryStore::new();
    let (a, b) = (Process::new(&store), Process::new(&store));
    assert!(!a.handle.step_down(), "there is nothing to give up");
    let _a = a.stand();
    let first = a.handle.wait_until_leader().await;
    let named = a.handle.leader();
    let _b = b.stand();
    sleep(SECOND).await;
    assert!(a.handle.step_down());
    assert!(a.fence().await.is_err(), "before the campaign has run");
    assert!(!a.handle.step_down());
    let second = timeout(POLL + 2 * TICK, b.handle.wait_until_leader()).await.unwrap();
    assert!(second > first);
    assert_eq!(
        a.told(),
        [Event::Elected { epoch: first }, Event::Deposed { epoch: first, why: Why::Command }]
    );
    // Alone, it leads again after a rest; by another name, so that nothing late can be mistaken.
    assert!(b.handle.step_down());
    assert!(timeout(4 * POLL, a.handle.wait_until_leader()).await.unwrap() > second);
    assert_ne!(a.handle.leader(), named);
}

#[tokio::test(start_paused = true)]
async fn a_campaign_that_is_shut_down_gives_the_office_back_and_ends() {
    let store = MemoryStore::new();
    let (a, b) = (Process::new(&store), Process::new(&store));
    let (stop, ended) = a.stand();
    a.handle.wait_until_leader().await;
    let (stop_b, ended_b) = b.stand();
    settle().await;
    // A candidate too.
    stop_b.send(()).unwrap();
    ended_b.await.unwrap().unwrap();
    stop.send(()).unwrap();
    ended.await.unwrap().unwrap();
    assert!(!a.handle.is_leader());
    let office = WorkflowId::new(NAMESPACE, "default/scheduler");
    assert_eq!(store.summary(&office).await.unwrap().unwrap().held, None);
    // With the store down it ends all the same, and in bounded time.
    for fault in [Fault::Down, Fault::Silent] {
        let (stop, ended) = a.stand();
        a.handle.wait_until_leader().await;
        a.store.set(fault);
        stop.send(()).unwrap();
        timeout(TTL, ended).await.unwrap().unwrap().unwrap();
        assert!(!a.handle.is_leader());
        a.store.set(Fault::None);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_to_lead_is_told_and_so_is_who_follows() {
    let store = MemoryStore::new();
    let (a, b) = (Process::new(&store), Process::new(&store));
    let (stop, _ended) = a.stand();
    let first = a.handle.wait_until_leader().await;
    let mut changes = a.handle.subscribe();
    assert_eq!(*changes.borrow_and_update(), Some(first));
    let _b = b.stand();
    let waiting = tokio::spawn({
        let handle = b.handle.clone();
        async move { handle.wait_until_leader().await }
    });
    settle().await;
    stop.send(()).unwrap();
    changes.changed().await.unwrap();
    assert_eq!(*changes.borrow_and_update(), None);
    assert!(waiting.await.unwrap() > first);
}

#[tokio::test(start_paused = true)]
async fn two_campaigns_of_one_process_are_two_candidates() {
    let store = MemoryStore::new();
    let a = Process::new(&store);
    let (first, second) = (a.stand_until_death(), a.stand_until_death());
    let epoch = a.handle.wait_until_leader().await;
    sleep(3 * TTL).await;
    assert_eq!(a.told(), [Event::Elected { epoch }]);
    first.abort();
    settle().await;
    let next = timeout(TTL + POLL, a.handle.wait_until_leader()).await.unwrap();
    assert!(next > epoch);
    sleep(3 * TTL).await;
    assert_eq!(a.fence().await, Ok(next));
    second.abort();
    settle().await;
    assert!(!a.handle.is_leader());
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_no_time_never_leads_and_does_not_spin() {
    let a = Process::with(&MemoryStore::new(), Duration::ZERO);
    let layer = a.layer.clone().poll(Duration::ZERO);
    let running = tokio::spawn(layer.campaign(pending()));
    sleep(SECOND).await;
    assert!(!layer.handle().is_leader());
    assert!(a.store.asked("acquire") <= 1_001, "{}", a.store.asked("acquire"));
    running.abort();
}
