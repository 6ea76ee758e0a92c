//! Steps that are done once.

mod crash;
mod doubt;
mod flaky;
mod flight;
mod http;
mod itself;
mod lost;
mod panics;
mod ready;
mod rivals;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress::{
    CheckpointLayer, Event, Observe, Rejection, Teller, Verdict,
    checkpoint::{Codec, Effects, Halt, InDoubt, Keyed, Step, StepOf, Unkeyed},
    store::{Digest, IdempotencyKey, Journal, MemoryStore, Status, Store, Version, WorkflowId},
};
use buttress_sim::probe::{Act, ProbeError, ProbeHandle, ProbeReply, ProbeRequest, ProbeService};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);
const FAIL: Effects = Effects::SideEffect(InDoubt::Fail);
const RETRY: Effects = Effects::SideEffect(InDoubt::Retry);
const ALL: [Effects; 4] = [Effects::ReadOnly, Effects::Idempotent, FAIL, RETRY];

fn charge(cents: u64) -> Step<u64> {
    Step::new("order-17", "charge", cents)
}

fn order() -> WorkflowId {
    WorkflowId::new("default", "order-17")
}

/// The keys that a tool was called with, in turn.
type Keys = Arc<Mutex<Vec<IdempotencyKey>>>;

/// A tool that answers with what it was sent, as scripted, and notes the keys.
#[derive(Clone)]
struct Tool {
    probe: ProbeService,
    handle: ProbeHandle,
    keys: Keys,
}

impl Tool {
    fn new() -> Self {
        let probe = ProbeService::new(9);
        Self { handle: probe.handle(), probe, keys: Keys::default() }
    }

    /// One that does so first, and then answers.
    fn scripted(acts: impl IntoIterator<Item = Act>) -> Self {
        let tool = Self::new();
        tool.handle.script(acts);
        tool
    }

    fn service(
        &self,
    ) -> impl Service<Step<u64>, Response = u64, Error = ProbeError, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
    + use<> {
        let keys = self.keys.clone();
        let send = move |step: Step<u64>| {
            keys.lock().unwrap().push(step.key.expect("a step has a key"));
            ProbeRequest::new(step.request)
        };
        self.probe.clone().map_response(|reply: ProbeReply| reply.id()).map_request(send)
    }

    fn calls(&self) -> usize {
        self.keys.lock().unwrap().len()
    }

    /// The key of all calls.
    fn key(&self) -> IdempotencyKey {
        let keys = self.keys.lock().unwrap();
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:?}");
        keys[0]
    }
}

/// Does a step in a process of its own.
async fn once(store: impl Store, effects: Effects, tool: &Tool) -> Result<u64, ProbeError> {
    CheckpointLayer::new(store, effects).layer(tool.service()).oneshot(charge(5)).await
}

/// Why a step was not done.
fn halt<T: std::fmt::Debug>(outcome: Result<T, ProbeError>) -> Halt {
    match outcome {
        Err(ProbeError::Rejected(Rejection::Halted { halt, .. })) => *halt,
        other => unreachable!("not halted: {other:?}"),
    }
}

fn in_doubt(attempt: u32) -> Halt {
    Halt::InDoubt { step: "charge".into(), attempt }
}

/// What is kept of the workflow.
async fn statuses(store: &impl Store) -> Vec<Status> {
    match store.history(&order(), 0, 99).await {
        Ok(history) => history
            .into_iter()
            .map(|version| match version {
                Version::Intact(record) => record.status,
                Version::Damaged(finding) => unreachable!("{finding:?}"),
            })
            .collect(),
        Err(_) => vec![],
    }
}

/// What was told.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Event>>>);

impl Log {
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observe for Log {
    fn event(&self, teller: Teller<'_>, event: &Event) {
        assert_eq!(teller.pattern, "checkpoint");
        self.0.lock().unwrap().push(*event);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_not_done_again() {
    for effects in ALL {
        let (store, tool, log) = (MemoryStore::new(), Tool::new(), Log::default());
        let layer = CheckpointLayer::new(store.clone(), effects).observe(log.clone());
        let done = if effects.intend() {
            vec![
                Event::Intended { attempt: 1, version: 1 },
                Event::Recorded { attempt: 1, version: 2 },
            ]
        } else {
            vec![Event::Recorded { attempt: 1, version: 1 }]
        };
        let replayed = [Event::Replayed { version: done.len() as u64 }];
        let mut service = layer.layer(tool.service());
        assert_eq!(service.ready().await.unwrap().call(charge(5)).await.unwrap(), 5);
        assert_eq!(log.take(), done);
        assert_eq!(service.call(charge(5)).await.unwrap(), 5);
        assert_eq!(log.take(), replayed);
        // In another process.
        assert_eq!(once(store.clone(), effects, &tool).await.unwrap(), 5);
        assert_eq!(tool.calls(), 1, "{effects:?}");
        tool.handle.assert_idle();
        let other = layer.layer(tool.service()).oneshot(charge(6)).await;
        assert_eq!(halt(other), Halt::Mismatch { step: "charge".into() });
    }
}

#[tokio::test(start_paused = true)]
async fn a_side_effect_writes_twice_and_others_once() {
    for effects in ALL {
        let store = MemoryStore::new();
        once(store.clone(), effects, &Tool::new()).await.unwrap();
        let expected: &[Status] =
            if effects.intend() { &[Status::Intent, Status::Done] } else { &[Status::Done] };
        assert_eq!(statuses(&store).await, expected, "{effects:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_may_pass_is_not_recorded() {
    for effects in [Effects::ReadOnly, Effects::Idempotent, RETRY] {
        let tool = Tool::scripted([Act::fail(Verdict::transient())]);
        let layer = CheckpointLayer::new(MemoryStore::new(), effects).record_failures();
        let service = layer.layer(tool.service());
        let failed = service.clone().oneshot(charge(5)).await;
        assert_eq!(failed, Err(ProbeError::Failed(Verdict::transient())));
        assert_eq!(service.oneshot(charge(5)).await, Ok(5), "{effects:?}");
        // The same key both times.
        tool.key();
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_for_good_is_recorded_if_asked() {
    for effects in ALL {
        let store = MemoryStore::new();
        let tool = Tool::scripted([Act::fail(Verdict::permanent())]);
        let layer = CheckpointLayer::new(store.clone(), effects).record_failures();
        let failed = layer.layer(tool.service()).oneshot(charge(5)).await;
        assert_eq!(failed, Err(ProbeError::Failed(Verdict::permanent())), "as it was");
        let message = "planned failure: permanent".to_owned();
        let recorded = Halt::Failed { step: "charge".into(), message };
        assert_eq!(halt(once(store, effects, &tool).await), recorded);
        assert_eq!(tool.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_judged_a_failure_is_returned_and_not_recorded() {
    let judge = |outcome: Result<&u64, &ProbeError>| match outcome {
        Ok(5) => Verdict::permanent(),
        _ => Verdict::success(),
    };
    let (store, tool) = (MemoryStore::new(), Tool::new());
    let layer = CheckpointLayer::new(store.clone(), Effects::Idempotent).classify(judge);
    assert_eq!(layer.layer(tool.service()).oneshot(charge(5)).await, Ok(5));
    assert_eq!(statuses(&store).await, []);
    // Unless failures are: then it is replayed as it was.
    for calls in [2, 2] {
        let layer = layer.clone().record_failures();
        assert_eq!(layer.layer(tool.service()).oneshot(charge(5)).await, Ok(5));
        assert_eq!((tool.calls(), statuses(&store).await), (calls, vec![Status::Failed]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_an_error_and_not_done_again() {
    let (store, tool) = (MemoryStore::new(), Tool::new());
    once(store.clone(), FAIL, &tool).await.unwrap();
    let layer = CheckpointLayer::new(store.clone(), FAIL).schema(2);
    let unreadable = halt(layer.layer(tool.service()).oneshot(charge(5)).await);
    let Halt::Unreadable { found, wanted, .. } = &unreadable else { panic!("{unreadable:?}") };
    assert_eq!((*found, *wanted), ((1, 1), (1, 2)));

    // The same numbers and another type.
    let never = service_fn(async |_: Step<u64>| -> Result<String, ProbeError> { panic!("called") });
    let layer = CheckpointLayer::new(store, FAIL);
    let unreadable = halt(layer.layer(never).oneshot(charge(5)).await);
    assert!(unreadable.to_string().contains("invalid type: integer `5`"), "{unreadable}");
    assert_eq!(tool.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_changes_nothing_in_the_store() {
    // JSON has no maps with such keys.
    let odd = service_fn(async |_: Step<u64>| Ok::<_, ProbeError>(HashMap::from([((1, 2), 3)])));
    for effects in ALL {
        let store = MemoryStore::new();
        let error =
            CheckpointLayer::new(store.clone(), effects).layer(odd).oneshot(charge(5)).await;
        let unwritable = halt(error);
        assert!(unwritable.to_string().contains("key must be a string"), "{unwritable}");
        let intent: &[Status] = if effects.intend() { &[Status::Intent] } else { &[] };
        assert_eq!(statuses(&store).await, intent, "{effects:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_codec_of_ones_own_is_used() {
    #[derive(Clone, Debug)]
    struct Decimal;
    impl Codec<u64> for Decimal {
        fn number(&self) -> u8 {
            200
        }
        fn encode(&self, value: &u64) -> Result<Vec<u8>, BoxError> {
            Ok(format!("={value}").into_bytes())
        }
        fn decode(&self, bytes: &[u8]) -> Result<u64, BoxError> {
            Ok(std::str::from_utf8(bytes)?.trim_start_matches('=').parse()?)
        }
    }
    let (store, tool) = (MemoryStore::new(), Tool::new());
    let layer = CheckpointLayer::new(store.clone(), Effects::ReadOnly).codec(Decimal);
    for _ in 0..2 {
        assert_eq!(layer.layer(tool.service()).oneshot(charge(5)).await, Ok(5));
    }
    let record = store.get(&order(), 1).await.unwrap();
    assert_eq!((record.payload.codec, &*record.payload.bytes), (200, &b"=5"[..]));
    assert_eq!(tool.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_no_step_is_refused() {
    struct Stray;
    impl Keyed for Stray {
        fn step(&self) -> Result<StepOf, Unkeyed> {
            Err(Unkeyed::new("it has no name"))
        }
        fn fingerprint(&self) -> Result<Digest, Unkeyed> {
            panic!("asked for without a step")
        }
        fn place(&mut self, _: IdempotencyKey) {}
    }
    let never = service_fn(async |_: Stray| -> Result<u64, ProbeError> { panic!("called") });
    let layer = CheckpointLayer::new(MemoryStore::new(), FAIL);
    let unkeyed = halt(layer.layer(never).oneshot(Stray).await);
    assert_eq!(unkeyed.to_string(), "it has no name");
    assert_eq!(unkeyed.verdict().kind, buttress::Kind::Permanent);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_told_from_others_is_refused() {
    // JSON has no maps with such keys: all such requests would be one.
    let ask = |cents: u64| Step::new("order-17", "charge", HashMap::from([((1, 2), cents)]));
    let never = service_fn(async |_: Step<HashMap<(u8, u8), u64>>| -> Result<u64, ProbeError> {
        panic!("called")
    });
    let layer = CheckpointLayer::new(MemoryStore::new(), FAIL);
    let refused = halt(layer.layer(never).oneshot(ask(5)).await);
    assert!(matches!(refused, Halt::Unkeyed(_)), "{refused:?}");
    assert!(refused.to_string().contains("key must be a string"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn names_of_any_kind_are_taken_or_refused_in_words() {
    let (store, tool) = (MemoryStore::new(), Tool::new());
    let service = CheckpointLayer::new(store, FAIL).layer(tool.service());
    for name in ["", " ", "héllo/wörld#2", "步骤\u{1F4B3}", "a\nb", &"n".repeat(512)] {
        for _ in 0..2 {
            let step = Step::new(name, name, 5);
            assert_eq!(service.clone().oneshot(step).await, Ok(5), "{name:?}");
        }
    }
    assert_eq!(tool.calls(), 6);
    for name in ["n".repeat(513), "n".repeat(1 << 20), "a\0b".to_owned()] {
        for step in [Step::new("w", name.clone(), 5), Step::new(name.clone(), "s", 5)] {
            let refused = halt(service.clone().oneshot(step).await);
            assert!(matches!(refused, Halt::Store(_)), "{refused:?}");
            assert!(refused.to_string().len() < 200, "{refused}");
        }
    }
    assert_eq!(tool.calls(), 6);
}

#[tokio::test(start_paused = true)]
async fn occurrences_and_forks_have_keys_of_their_own() {
    let (store, tool) = (MemoryStore::new(), Tool::new());
    let service = CheckpointLayer::new(store.clone(), FAIL).layer(tool.service());
    let second = buttress::store::StepId::new("charge").occurrence(2);
    for step in ["charge".into(), second] {
        service.clone().oneshot(Step::new("order-17", step, 5)).await.unwrap();
    }
    // Forked after the first: the second is done again, under another key.
    store.fork(&order(), 2, &WorkflowId::new("default", "copy")).await.unwrap();
    for occurrence in [1, 2] {
        let step = buttress::store::StepId::new("charge").occurrence(occurrence);
        service.clone().oneshot(Step::new("copy", step, 5)).await.unwrap();
    }
    let keys = tool.keys.lock().unwrap().clone();
    assert_eq!(keys.len(), 3);
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "{keys:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_workflow_is_not_brought_back() {
    for effects in ALL {
        let (store, tool) = (MemoryStore::new(), Tool::scripted([Act::Answer { after: SECOND }]));
        let layer = CheckpointLayer::new(Journal::new(store.clone()), effects);
        let service = layer.layer(tool.service());
        service.clone().oneshot(Step::new("order-17", "look", 1)).await.unwrap();
        tool.handle.script([Act::Answer { after: SECOND }]);
        let call = tokio::spawn(service.clone().oneshot(charge(5)));
        tokio::time::sleep(SECOND / 2).await;
        store.delete(&order()).await.unwrap();
        let late = halt(call.await.unwrap());
        assert!(matches!(late, Halt::Unrecorded { .. }), "{late:?}");
        assert!(late.to_string().contains("was deleted"), "{late}");
        let after = halt(service.oneshot(charge(5)).await);
        assert!(matches!(after, Halt::Store(_)), "{after:?}");
        assert_eq!(statuses(&store).await, []);
    }
}
