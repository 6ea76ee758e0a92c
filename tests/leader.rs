//! LeaderLayer: who is let in, and when.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

mod chaos;

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

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_calls_are_let_in_until_the_lease_is_not_proven() {
    for fault in [Fault::Down, Fault::AnswersLost, Fault::Silent] {
        let store = MemoryStore::new();
        let a = Process::new(&store);
        let _a = a.stand();
        let epoch = a.handle.wait_until_leader().await;
        let asked = Instant::now();
        a.store.set(fault);
        // The last moment before the margin.
        sleep(TTL - MARGIN - 2 * TICK).await;
        assert_eq!(a.fence().await, Ok(epoch), "{fault:?} after {:?}", asked.elapsed());
        assert!(a.handle.trouble().is_some());
        sleep(TICK).await;
        assert!(a.fence().await.is_err(), "{fault:?} after {:?}", asked.elapsed());
        sleep(TICK).await;
        let told = a.told();
        assert_eq!(told[0], Event::Elected { epoch });
        let deposed = Event::Deposed { epoch, why: Why::LeaseLost };
        assert_eq!(told.iter().filter(|event| **event == deposed).count(), 1, "{told:?}");
        let failures =
            told.iter().filter(|event| matches!(event, Event::StoreFailed { .. })).count();
        assert!((1..=12).contains(&failures), "{told:?}");
        // Nobody took it: it goes on under the same fence.
        a.store.set(Fault::None);
        assert_eq!(timeout(TTL, a.handle.wait_until_leader()).await, Ok(epoch));
        assert_eq!(a.handle.trouble(), None);
        assert_eq!(a.told().last(), Some(&Event::Elected { epoch }));
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_was_cut_off_does_not_come_back_when_another_leads() {
    let store = MemoryStore::new();
    let (a, b) = (Process::new(&store), Process::new(&store));
    let _a = a.stand();
    let first = a.handle.wait_until_leader().await;
    let _b = b.stand();
    a.store.set(Fault::Down);
    let second = b.handle.wait_until_leader().await;
    a.store.set(Fault::None);
    sleep(TTL).await;
    assert!(second > first);
    assert_eq!((a.handle.epoch(), b.handle.epoch()), (None, Some(second)));
    assert_eq!(a.handle.leader(), b.handle.leader());
    // It stands again, and is next.
    assert!(b.handle.step_down());
    assert!(timeout(2 * POLL, a.handle.wait_until_leader()).await.unwrap() > second);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_refuses_at_once_without_its_campaign() {
    let store = MemoryStore::new();
    let a = Process::new(&store);
    let mut campaign = Box::pin(a.layer.campaign(pending()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(campaign.as_mut().poll(&mut cx).is_pending());
    let epoch = a.handle.epoch().unwrap();
    assert_eq!(a.fence().await, Ok(epoch));
    // Time goes by, and the campaign is not polled.
    advance(TTL - MARGIN - TICK).await;
    assert_eq!(a.fence().await, Err(None));
    assert_eq!((a.handle.is_leader(), a.handle.epoch(), a.handle.lease()), (false, None, None));
    // Awake again, it finds out, and what it lost it may get back.
    assert_eq!(a.told(), [Event::Elected { epoch }]);
    assert!(campaign.as_mut().poll(&mut cx).is_pending());
    let deposed = Event::Deposed { epoch, why: Why::LeaseLost };
    assert_eq!(a.told(), [deposed, Event::Elected { epoch }]);
    assert_eq!(a.fence().await, Ok(epoch));
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
async fn a_candidate_is_shut_down_while_the_store_is_silent() {
    let a = Process::new(&MemoryStore::new());
    a.store.set(Fault::Silent);
    let (stop, ended) = a.stand();
    sleep(TTL).await;
    assert!(matches!(a.told()[..], [Event::StoreFailed { attempt: 1, .. }, ..]));
    stop.send(()).unwrap();
    timeout(TTL, ended).await.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_who_gets_no_answers_keeps_nobody_from_leading() {
    let store = MemoryStore::new();
    let (a, b) = (Process::new(&store), Process::new(&store));
    a.store.set(Fault::AnswersLost);
    let _a = a.stand();
    settle().await;
    let _b = b.stand();
    // It may take the office once or twice again without knowing.
    let epoch = timeout(9 * TTL, b.handle.wait_until_leader()).await.unwrap();
    sleep(5 * TTL).await;
    assert_eq!(b.handle.epoch(), Some(epoch));
}

#[tokio::test(start_paused = true)]
async fn an_office_that_was_deleted_ends_the_campaign() {
    let store = MemoryStore::new();
    let a = Process::new(&store);
    let running = a.stand_until_death();
    a.handle.wait_until_leader().await;
    store.delete(&WorkflowId::new(NAMESPACE, "default/scheduler")).await.unwrap();
    let ended = timeout(TTL, running).await.unwrap().unwrap();
    assert!(matches!(ended, Err(StoreError::Deleted { .. })));
    assert!(a.fence().await.is_err());
    let long = LeaderLayer::new(store, "x".repeat(600));
    assert!(matches!(long.campaign(pending()).await, Err(StoreError::TooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_let_in_outlives_the_leadership() {
    let store = MemoryStore::new();
    let a = Process::new(&store);
    let _a = a.stand();
    let epoch = a.handle.wait_until_leader().await;
    let tool = async |call: Led<()>| {
        sleep(2 * TTL).await;
        Ok::<_, Rejection>(call.token)
    };
    let call = tokio::spawn(a.layer.layer(service_fn(tool)).oneshot(Led::new(())));
    settle().await;
    assert!(a.handle.step_down());
    assert_eq!(call.await.unwrap(), Ok(Some(FencingToken::new(epoch))));
}

#[tokio::test(start_paused = true)]
async fn a_readied_instance_is_let_go_when_the_process_leads_no_more() {
    let a = Process::new(&MemoryStore::new());
    let _a = a.stand();
    a.handle.wait_until_leader().await;
    let (mut service, probe) = a.over_probe();
    let mut other = service.clone();
    service.ready().await.unwrap();
    probe.assert_reserved(1);
    assert!(a.handle.step_down());
    let refused = service.call(ProbeRequest::new(1)).await;
    assert!(matches!(refused, Err(ProbeError::Rejected(Rejection::NotLeader { .. }))));
    probe.assert_idle();
    // Not the leader: ready without the inner service.
    probe.block();
    service.ready().await.unwrap();
    probe.assert_nothing_waiting();
    // Elected in between: the instance was never made ready, and is not called.
    probe.unblock();
    other.ready().await.unwrap();
    a.handle.wait_until_leader().await;
    match other.call(ProbeRequest::new(2)).await {
        Err(ProbeError::Rejected(rejection)) => {
            assert_eq!(rejection.retry_after(), Some(Duration::ZERO));
            assert_eq!(rejection.verdict().kind, Verdict::rejected().kind);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(probe.counts().calls, 0);
    assert!(other.oneshot(ProbeRequest::new(3)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_for_the_service_is_woken_when_the_process_leads_no_more() {
    let a = Process::new(&MemoryStore::new());
    let _a = a.stand();
    a.handle.wait_until_leader().await;
    let (mut service, probe) = a.over_probe();
    probe.block();
    let alarm = Alarm::new();
    let mut cx = Context::from_waker(alarm.waker());
    assert!(service.poll_ready(&mut cx).is_pending());
    assert_eq!(alarm.count(), 0);
    assert!(a.handle.step_down());
    assert!(alarm.count() > 0);
    assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
    probe.assert_nothing_waiting();
    drop(service);
    probe.assert_gone();
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

#[tokio::test(start_paused = true)]
async fn a_future_dropped_at_any_poll_leads_no_more() {
    let store = MemoryStore::new();
    for polls in 0..6 {
        let a = Process::new(&store);
        let mut campaign: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(a.layer.campaign(pending()));
        for _ in 0..polls {
            let poll = crate::support::poll_once(pin!(&mut campaign)).await;
            assert!(poll.is_pending());
            sleep(TTL / 3).await;
        }
        assert_eq!(a.handle.is_leader(), polls > 0);
        drop(campaign);
        assert!(!a.handle.is_leader());
        sleep(TTL).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_the_service_is_passed_on() {
    let a = Process::new(&MemoryStore::new());
    let _a = a.stand();
    a.handle.wait_until_leader().await;
    let (service, probe) = a.over_probe();
    probe.otherwise(Act::fail(Verdict::permanent()));
    let failed = service.clone().oneshot(ProbeRequest::new(1)).await;
    assert_eq!(failed.unwrap_err(), ProbeError::Failed(Verdict::permanent()));
    assert_eq!(a.told().len(), 1, "only its election is told");
}

#[tokio::test(start_paused = true)]
async fn who_waits_while_a_stopped_leader_cannot_prove_its_lease_is_told_when_it_can_again() {
    let process = Process::new(&MemoryStore::new());
    let stopped = watch::Sender::new(false);
    let campaign = process.layer.campaign(pending());
    let running = tokio::spawn(stoppable(campaign, stopped.subscribe()));
    let fence = process.handle.wait_until_leader().await;
    // A renewal is on its way when the process is stopped.
    process.store.set(Fault::Silent);
    sleep(TTL / 3 + TICK).await;
    stopped.send(true).unwrap();
    process.store.set(Fault::None);
    sleep(TTL - MARGIN - TTL / 3).await;
    assert!(!process.handle.is_leader());
    let waiting = process.handle.clone();
    let waiting = tokio::spawn(async move { waiting.wait_until_leader().await });
    settle().await;
    // It is answered late, and in time for the store.
    stopped.send(false).unwrap();
    assert_eq!(timeout(TICK, waiting).await.unwrap().unwrap(), fence);
    assert!(process.handle.is_leader());
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_granted_late_counts_from_the_question() {
    let process = Process::new(&MemoryStore::new());
    process.store.set(Fault::Silent);
    let asked = Instant::now();
    let _running = process.stand_until_death();
    sleep(2 * SECOND).await;
    process.store.set(Fault::None);
    process.handle.wait_until_leader().await;
    // No renewal is answered.
    process.store.set(Fault::Silent);
    // Thousands call at the moment at which it is over, each at a time of its own.
    let end = asked + TTL - MARGIN - TICK;
    let mut calls = Vec::new();
    for number in 0..4_000_u64 {
        let at = end - SECOND + Duration::from_micros(500 * number);
        let service = process.layer.layer(service_fn(async |_: Led<()>| Ok::<_, Rejection>(())));
        calls.push(tokio::spawn(async move {
            sleep_until(at).await;
            (Instant::now(), service.oneshot(Led::new(())).await.is_ok())
        }));
    }
    let (mut let_in, mut refused) = (0, 0);
    for call in calls {
        let (at, is_in) = call.await.unwrap();
        assert_eq!(is_in, at < end, "{:?} after the question", at - asked);
        *(if is_in { &mut let_in } else { &mut refused }) += 1;
    }
    assert!(let_in > 1_900 && refused > 1_900, "{let_in} {refused}");
}
