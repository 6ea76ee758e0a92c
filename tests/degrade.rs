//! DegradeLayer: what a caller sees.

use std::{
    future::Future,
    num::NonZeroU32,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress::{
    Answers, Deadline, Degrade, DegradeHandle, DegradeLayer, Effect, Event, Fault, Kind, Once,
    Ratio, Rejection, RetryLayer, Teller, Thresholds, TimeoutLayer, Verdict, Why, degrade::Level,
};
use buttress_sim::probe::{
    Act, Hold, ProbeError, ProbeHandle, ProbeReply, ProbeRequest, ProbeService, Readiness,
};
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::poll_once;

const SECOND: Duration = Duration::from_secs(1);
const FAILS: Act = Act::fail(Verdict::transient());
const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

type Outcome = Result<Answers<ProbeReply>, ProbeError>;

fn answers(seconds: u32) -> Act {
    Act::Answer { after: seconds * SECOND }
}

/// A service of its own for each member, with one permit, that always does the same.
fn probe(act: Act) -> (ProbeHandle, ProbeService) {
    let probe = ProbeService::new(1);
    probe.handle().otherwise(act);
    (probe.handle(), probe)
}

/// Required members, then optional ones, named by the alphabet.
fn layer(required: &[Act], optional: &[Act]) -> (Vec<ProbeHandle>, DegradeLayer<ProbeService>) {
    let mut layer = DegradeLayer::new();
    let mut handles = vec![];
    for (place, act) in required.iter().chain(optional).enumerate() {
        let (handle, probe) = probe(*act);
        handles.push(handle);
        layer = if place < required.len() {
            layer.required(NAMES[place], probe)
        } else {
            layer.optional(NAMES[place], probe)
        };
    }
    (handles, layer)
}

async fn call<C, R>(service: &Degrade<ProbeService, C, R>) -> Outcome
where
    Degrade<ProbeService, C, R>:
        Clone + Service<ProbeRequest, Response = Answers<ProbeReply>, Error = ProbeError>,
{
    service.clone().oneshot(ProbeRequest::new(7)).await
}

fn answered(outcome: &Outcome) -> Vec<&str> {
    outcome.as_ref().unwrap().iter().map(|(name, _)| name.as_str()).collect()
}

fn failed(outcome: &Outcome) -> Vec<String> {
    outcome.as_ref().unwrap().failed().iter().map(ToString::to_string).collect()
}

/// How many are required, which of them failed, and what that means.
fn too_few(outcome: Outcome) -> (u32, Vec<String>, Verdict) {
    let Err(ProbeError::Rejected(rejection)) = outcome else {
        unreachable!("it should have been refused: {outcome:?}")
    };
    let verdict = rejection.verdict();
    let Rejection::TooFew { required, causes, .. } = rejection else {
        unreachable!("by the ensemble: {rejection:?}")
    };
    (required, causes.iter().map(|cause| cause.who().to_string()).collect(), verdict)
}

fn log() -> (Arc<Mutex<Vec<Event>>>, impl Fn(Teller<'_>, &Event) + Send + Sync + 'static) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    (told, move |_: Teller<'_>, event: &Event| log.lock().unwrap().push(*event))
}

#[tokio::test(start_paused = true)]
async fn members_are_called_at_once_and_answer_in_their_order() {
    let start = Instant::now();
    let (handles, layer) = layer(&[answers(3), answers(2)], &[answers(1)]);
    let outcome = call(&layer.into_service()).await;
    assert_eq!(start.elapsed(), 3 * SECOND);
    assert_eq!(answered(&outcome), ["a", "b", "c"]);
    let mut answers = outcome.unwrap();
    assert_eq!((answers.level(), answers.len()), (Level::Full, 3));
    assert!(answers.failed().is_empty());
    assert_eq!(answers.get("b").map(ProbeReply::id), Some(7));
    assert!(answers.get("x").is_none());
    assert!(answers.take("b").is_some() && answers.take("b").is_none());
    let rest: Vec<String> = answers.into_iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(rest, ["a", "c"]);
    assert!(handles.iter().all(|handle| handle.counts().calls == 1));
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_in_the_order_of_the_members() {
    let late = Act::Fail { verdict: Verdict::permanent(), after: SECOND };
    let (_, layer) = layer(&[answers(0)], &[late, FAILS, answers(2)]);
    let outcome = call(&layer.into_service()).await;
    assert_eq!(answered(&outcome), ["a", "d"]);
    assert_eq!(
        failed(&outcome),
        ["b: planned failure: permanent", "c: planned failure: transient"]
    );
    assert_eq!(outcome.unwrap().level(), Level::Degraded);
}

#[tokio::test(start_paused = true)]
async fn three_of_ten_required_may_fail_and_not_four() {
    for failures in 0..=10 {
        let mut acts = [answers(1); 10];
        acts[..failures].fill(FAILS);
        let (handles, layer) = layer(&acts, &[]);
        let outcome = call(&layer.name("report").into_service()).await;
        if failures <= 3 {
            assert_eq!(answered(&outcome).len(), 10 - failures);
            continue;
        }
        let error = outcome.unwrap_err();
        assert!(error.to_string().starts_with("4 of 10 required members of `report` failed: a: "));
        let (required, causes, verdict) = too_few(Err(error));
        assert_eq!((required, causes), (10, NAMES[..4].iter().map(ToString::to_string).collect()));
        assert_eq!(verdict.kind, Kind::Transient);
        assert!(handles[4..].iter().all(|handle| handle.counts().calls == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn levels_change_at_half_and_at_four_fifths() {
    for successes in 0..=10 {
        let mut acts = [FAILS; 10];
        acts[..successes].fill(answers(0));
        let (_, layer) = layer(&[], &acts);
        let level = call(&layer.into_service()).await.unwrap().level();
        let expected = match successes {
            0..=4 => Level::Minimal,
            5..=7 => Level::Degraded,
            _ => Level::Full,
        };
        assert_eq!(level, expected, "{successes} of 10");
    }
}

#[tokio::test(start_paused = true)]
async fn shares_can_be_set() {
    let acts = [answers(0), FAILS, FAILS];
    let all = Ratio::ONE;
    let (_, tolerant) = layer(&acts, &[]);
    let tolerant = tolerant.tolerate(all).thresholds(Thresholds::new(all, all).unwrap());
    assert_eq!(call(&tolerant.into_service()).await.unwrap().level(), Level::Minimal);
    let (_, strict) = layer(&[answers(0); 9], &[]);
    assert!(call(&strict.require_all().into_service()).await.is_ok());
    let mut acts = [answers(0); 9];
    acts[8] = FAILS;
    let (_, strict) = layer(&acts, &[]);
    assert_eq!(too_few(call(&strict.require_all().into_service()).await).1, ["i"]);
}

#[tokio::test(start_paused = true)]
async fn the_rest_is_dropped_before_a_refusal_returns() {
    let start = Instant::now();
    let after = 2 * SECOND;
    let late = Act::Fail { verdict: Verdict::transient(), after };
    let (handles, layer) = layer(&[answers(1), late], &[Act::Hang]);
    let service = layer.into_service();
    let mut future = Box::pin(service.clone().oneshot(ProbeRequest::new(1)));
    let outcome = future.as_mut().await;
    assert_eq!(start.elapsed(), after);
    // The future is still there.
    for handle in &handles {
        handle.assert_idle();
    }
    assert_eq!(handles[2].counts().dropped_running, 1);
    assert_eq!(too_few(outcome).1, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_what_members_that_did_not_fail_may_have_done() {
    let unsent = Act::fail(Verdict::transient().with_effect(Effect::None));
    let cases: [(&[Act], &[Act], Effect); 5] = [
        (&[unsent], &[Act::Hang], Effect::None),
        (&[answers(0), unsent], &[], Effect::Applied),
        (&[Act::Hang, unsent], &[], Effect::Maybe),
        (&[unsent], &[FAILS], Effect::None),
        (&[FAILS], &[], Effect::Maybe),
    ];
    for (required, optional, effect) in cases {
        let (_, layer) = layer(required, optional);
        let (_, _, verdict) = too_few(call(&layer.into_service()).await);
        assert_eq!(verdict.effect, effect, "{required:?}, {optional:?}");
    }
    // A readiness error: whatever it says, nothing was sent.
    let (handles, layer) = layer(&[answers(0)], &[]);
    handles[0].readiness([Readiness::Fail(Verdict::transient())]);
    let (_, _, verdict) = too_few(call(&layer.into_service()).await);
    assert_eq!((verdict.kind, verdict.effect), (Kind::Transient, Effect::None));
}

#[tokio::test(start_paused = true)]
async fn who_hangs_is_given_up_when_patience_ends() {
    let start = Instant::now();
    let (handles, layer) = layer(&[answers(1)], &[Act::Hang, answers(2), answers(3)]);
    // It never becomes ready.
    handles[2].block();
    let (told, observe) = log();
    let layer = layer.patience(5 * SECOND).observe(observe);
    let outcome = call(&layer.into_service()).await;
    assert_eq!(start.elapsed(), 5 * SECOND);
    assert_eq!(answered(&outcome), ["a", "d"]);
    assert_eq!(failed(&outcome), ["b: no answer within 5s", "c: service not ready within 5s"]);
    let answers = outcome.unwrap();
    assert_eq!(answers.level(), Level::Degraded);
    let verdicts: Vec<Effect> = answers.failed().iter().map(|c| c.verdict().effect).collect();
    assert_eq!(verdicts, [Effect::Maybe, Effect::None]);
    drop(answers);
    for handle in &handles {
        handle.assert_gone();
    }
    let verdict = Verdict::transient();
    assert_eq!(
        *told.lock().unwrap(),
        [
            Event::Failed { attempt: 2, verdict },
            Event::Failed { attempt: 3, verdict: verdict.with_effect(Effect::None) },
            Event::LevelChanged { from: Level::Full, to: Level::Degraded, why: Why::Failure },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_required_member_that_hangs_counts_against_the_call() {
    let (_, layer) = layer(&[answers(1), Act::Hang], &[answers(1)]);
    let (required, causes, verdict) =
        too_few(call(&layer.patience(SECOND * 5).into_service()).await);
    assert_eq!((required, causes), (2, vec!["b".to_owned()]));
    assert_eq!((verdict.kind, verdict.effect), (Kind::Transient, Effect::Applied));
}

#[tokio::test(start_paused = true)]
async fn without_patience_only_what_is_there_at_once_counts() {
    let start = Instant::now();
    let (_, layer) = layer(&[answers(0)], &[answers(1)]);
    let outcome = call(&layer.patience(Duration::ZERO).into_service()).await;
    assert_eq!((answered(&outcome), start.elapsed()), (vec!["a"], Duration::ZERO));
    // More than can be told as a time is for ever.
    let (_, layer) = self::layer(&[answers(0)], &[answers(1)]);
    let outcome = call(&layer.patience(Duration::MAX).into_service()).await;
    assert_eq!((answered(&outcome), start.elapsed()), (vec!["a", "b"], SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_around_the_call_ends_patience() {
    for patience in [None, Some(90 * SECOND), Some(3 * SECOND)] {
        let start = Instant::now();
        let (handles, layer) = layer(&[answers(1)], &[Act::Hang]);
        let layer = match patience {
            Some(patience) => layer.patience(patience),
            None => layer,
        };
        let end = patience.unwrap_or(9 * SECOND).min(9 * SECOND);
        let service = ServiceBuilder::new()
            .layer(TimeoutLayer::new(9 * SECOND))
            .service(layer.into_service());
        let outcome = service.oneshot(ProbeRequest::new(1)).await;
        assert_eq!(start.elapsed(), end);
        assert_eq!(answered(&outcome), ["a"]);
        assert_eq!(failed(&outcome), [format!("b: no answer within {end:?}")]);
        drop(outcome);
        handles[1].assert_gone();
    }
}

#[tokio::test(start_paused = true)]
async fn members_see_patience_as_their_deadline() {
    let seen = Arc::new(Mutex::new(vec![]));
    let log = seen.clone();
    let member = service_fn(move |(): ()| {
        log.lock().unwrap().push(Deadline::remaining());
        let log = log.clone();
        async move {
            sleep(SECOND).await;
            log.lock().unwrap().push(Deadline::remaining());
            Ok::<_, BoxError>(())
        }
    });
    let layer = DegradeLayer::new().required("a", member).patience(4 * SECOND);
    assert!(layer.into_service().oneshot(()).await.is_ok());
    assert_eq!(*seen.lock().unwrap(), [Some(4 * SECOND), Some(3 * SECOND)]);
    // So a retry inside does not begin what it cannot end.
    let calls = Arc::new(Mutex::new(0));
    let count = calls.clone();
    let weak = service_fn(move |(): ()| {
        *count.lock().unwrap() += 1;
        async move {
            sleep(3 * SECOND).await;
            Err::<(), BoxError>(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
        }
    });
    let backoff = buttress::Backoff::constant(2 * SECOND).jitter(buttress::Jitter::None);
    let member = RetryLayer::new().backoff(backoff).layer(weak);
    let start = Instant::now();
    let layer = DegradeLayer::new().optional("a", member).patience(4 * SECOND);
    assert!(layer.into_service().oneshot(()).await.unwrap().is_empty());
    assert_eq!((start.elapsed(), *calls.lock().unwrap()), (3 * SECOND, 1));
}

#[tokio::test(start_paused = true)]
async fn answers_and_errors_are_judged() {
    // The first answers unacceptably, the second fails acceptably.
    let judge = |outcome: Result<&ProbeReply, &ProbeError>| match outcome {
        Ok(reply) if reply.id() == 7 => Verdict::reroute(),
        Ok(_) => Verdict::success(),
        Err(ProbeError::Failed(verdict)) if verdict.kind == Kind::Permanent => Verdict::success(),
        Err(error) => error.verdict(),
    };
    let (handles, layer) = layer(&[], &[answers(0), Act::fail(Verdict::permanent())]);
    let outcome = call(&layer.classify(judge).into_service()).await;
    assert_eq!(failed(&outcome), ["a: the answer was not accepted"]);
    let answers = outcome.unwrap();
    assert_eq!(answers.failed().iter().next().unwrap().verdict().kind, Kind::Reroute);
    assert_eq!((answers.len(), answers.level()), (0, Level::Degraded));
    assert_eq!(handles[0].counts().replies, 0);
}

#[tokio::test(start_paused = true)]
async fn the_inner_service_is_the_first_required_member() {
    let (handles, layer) = layer(&[], &[FAILS, FAILS]);
    let (inner, service) = probe(answers(0));
    let service = layer.inner_name("main").layer(service);
    let outcome = call(&service).await;
    assert_eq!(answered(&outcome), ["main"]);
    assert_eq!(failed(&outcome).len(), 2);
    inner.otherwise(FAILS);
    assert_eq!(too_few(call(&service).await).1, ["main"]);
    assert!(handles.iter().all(|handle| handle.counts().calls == 1));
}

#[tokio::test(start_paused = true)]
async fn an_ensemble_of_nobody_has_nothing_to_say() {
    let service = DegradeLayer::<ProbeService>::new().into_service();
    let answers = call(&service).await.unwrap();
    assert_eq!((answers.level(), answers.is_empty()), (Level::Full, true));
}

#[tokio::test(start_paused = true)]
async fn the_last_member_gets_the_request_and_the_others_copies() {
    let (handles, layer) = layer(&[answers(0); 2], &[answers(0); 2]);
    let request = handles[0].request(7);
    layer.into_service().oneshot(request).await.unwrap();
    assert_eq!(handles[0].counts().copies, 3);
}

#[tokio::test(start_paused = true)]
async fn who_gets_no_copy_of_the_request_has_failed() {
    let (told, observe) = log();
    let (handles, layer) = layer(&[answers(0)], &[answers(0); 2]);
    let service = layer.replay(Once).observe(observe).into_service();
    let outcome = call(&service).await;
    assert_eq!(answered(&outcome), ["a"]);
    assert_eq!(
        failed(&outcome),
        ["b: the request could not be copied", "c: the request could not be copied"]
    );
    let why = Why::NotRepeatable;
    assert_eq!(
        told.lock().unwrap()[..2],
        [Event::Suppressed { attempt: 2, why }, Event::Suppressed { attempt: 3, why }]
    );
    assert_eq!(handles[1].counts().calls, 0);
    // If that leaves too few, nothing is sent at all.
    let (handles, layer) = self::layer(&[answers(0); 2], &[]);
    let (_, causes, verdict) = too_few(call(&layer.replay(Once).into_service()).await);
    assert_eq!((causes, verdict.effect), (vec!["b".to_owned()], Effect::None));
    assert_eq!(verdict.kind, Kind::Permanent);
    assert_eq!(handles[0].counts().calls, 0);
    // A rule may stop copying on the way: the next one gets the request itself.
    let (handles, layer) = self::layer(&[], &[answers(0); 4]);
    let left = Mutex::new(1);
    let rule = move |request: &ProbeRequest| {
        let mut left = left.lock().unwrap();
        (*left > 0).then(|| {
            *left -= 1;
            request.clone()
        })
    };
    let outcome = layer.replay(rule).into_service().oneshot(ProbeRequest::new(1)).await;
    assert_eq!(answered(&outcome), ["a", "b"]);
    drop(outcome);
    handles.iter().for_each(ProbeHandle::assert_gone);
}

/// An ensemble of ten optional members of which as many succeed as its handle was last told.
struct Staged {
    handles: Vec<ProbeHandle>,
    service: Degrade<ProbeService>,
    handle: DegradeHandle,
}

impl Staged {
    fn new(set: impl FnOnce(DegradeLayer<ProbeService>) -> DegradeLayer<ProbeService>) -> Self {
        let (handles, layer) = layer(&[], &[answers(0); 10]);
        let layer = set(layer);
        let handle = layer.handle();
        Self { handles, service: layer.into_service(), handle }
    }

    /// Calls, at this level, and tells the level across calls.
    async fn call(&self, level: Level) -> Level {
        let successes = match level {
            Level::Full => 10,
            Level::Degraded => 6,
            Level::Minimal => 2,
        };
        for (place, handle) in self.handles.iter().enumerate() {
            handle.otherwise(if place < successes { answers(0) } else { FAILS });
        }
        assert_eq!(call(&self.service).await.unwrap().level(), level);
        self.handle.level()
    }

    async fn calls<const N: usize>(&self, levels: [Level; N]) -> [Level; N] {
        let mut after = levels;
        for (level, after) in levels.into_iter().zip(&mut after) {
            *after = self.call(level).await;
        }
        after
    }
}

#[tokio::test(start_paused = true)]
async fn the_level_across_calls_rises_at_once_and_falls_after_three_better_calls() {
    use Level::{Degraded, Full, Minimal};
    let (told, observe) = log();
    let staged = Staged::new(|layer| layer.observe(observe));
    let mut followed = staged.handle.subscribe();
    assert_eq!(staged.handle.level(), Full);
    assert_eq!(staged.calls([Full, Minimal, Full, Full]).await, [Full, Minimal, Minimal, Minimal]);
    assert_eq!(*followed.borrow_and_update(), Minimal);
    assert_eq!(staged.calls([Degraded, Full, Full]).await, [Degraded, Degraded, Degraded]);
    assert_eq!(staged.calls([Full, Full, Full]).await, [Full, Full, Full]);
    assert!(followed.has_changed().unwrap());
    assert_eq!(*followed.borrow_and_update(), Full);
    let changes: Vec<Event> = told
        .lock()
        .unwrap()
        .iter()
        .filter(|event| matches!(event, Event::LevelChanged { .. }))
        .copied()
        .collect();
    assert_eq!(
        changes,
        [
            Event::LevelChanged { from: Full, to: Minimal, why: Why::Failure },
            Event::LevelChanged { from: Minimal, to: Degraded, why: Why::Recovered },
            Event::LevelChanged { from: Degraded, to: Full, why: Why::Recovered },
        ]
    );
    let counters = staged.handle.counters();
    assert_eq!((counters.full, counters.degraded, counters.minimal), (8, 1, 1));
    assert_eq!((counters.rejected, counters.rose), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn recovery_can_be_set_in_calls_and_in_time() {
    use Level::{Full, Minimal};
    let at_once = Staged::new(|layer| layer.recover_after(NonZeroU32::MIN));
    assert_eq!(at_once.calls([Minimal, Full]).await, [Minimal, Full]);
    let slow = Staged::new(|layer| layer.recover_for(10 * SECOND));
    assert_eq!(slow.calls([Minimal, Full, Full, Full]).await, [Minimal; 4]);
    sleep(9 * SECOND).await;
    assert_eq!(slow.call(Full).await, Minimal);
    sleep(SECOND).await;
    assert_eq!(slow.handle.level(), Minimal, "it falls when a call ends");
    assert_eq!(slow.call(Full).await, Full);
}

#[tokio::test(start_paused = true)]
async fn the_level_can_be_forced_and_released() {
    use Level::{Degraded, Full, Minimal};
    let (told, observe) = log();
    let staged = Staged::new(|layer| layer.observe(observe));
    let followed = staged.handle.subscribe();
    staged.handle.force(Minimal);
    assert!(staged.handle.is_forced());
    assert_eq!(staged.calls([Full, Full, Full, Full]).await, [Minimal; 4]);
    assert_eq!(staged.service.handle().level(), Minimal);
    // What calls come to meanwhile shows after the release.
    assert_eq!(staged.call(Degraded).await, Minimal);
    staged.handle.release();
    assert_eq!((staged.handle.level(), staged.handle.is_forced()), (Degraded, false));
    assert_eq!(*followed.borrow(), Degraded);
    let told = told.lock().unwrap();
    let changes: Vec<&Event> =
        told.iter().filter(|event| matches!(event, Event::LevelChanged { .. })).collect();
    let why = Why::Command;
    assert_eq!(
        changes,
        [
            &Event::LevelChanged { from: Full, to: Minimal, why },
            &Event::LevelChanged { from: Minimal, to: Degraded, why },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_is_minimal_and_a_dropped_one_nothing() {
    let (handles, layer) = layer(&[answers(1)], &[]);
    let (told, observe) = log();
    let layer = layer.observe(observe);
    let handle = layer.handle();
    let service = layer.into_service();
    handles[0].otherwise(Act::Hang);
    assert!(timeout(SECOND, call(&service)).await.is_err());
    assert_eq!((handle.level(), handle.counters()), (Level::Full, Default::default()));
    let verdict = Verdict::throttled().with_retry_after(4 * SECOND);
    handles[0].otherwise(Act::fail(verdict));
    assert!(call(&service).await.is_err());
    assert_eq!((handle.level(), handle.counters().rejected), (Level::Minimal, 1));
    assert_eq!(
        *told.lock().unwrap(),
        [
            Event::Failed { attempt: 1, verdict },
            Event::LevelChanged { from: Level::Full, to: Level::Minimal, why: Why::Failure },
            Event::Rejected { retry_after: Some(4 * SECOND) },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn one_layer_value_is_one_level() {
    let (_, first) = layer(&[], &[]);
    let handle = first.handle();
    let services = [first.clone(), first.clone()].map(|layer| layer.layer(probe(FAILS).1));
    assert!(call(&services[0]).await.is_err());
    assert_eq!(services[1].handle().level(), Level::Minimal);
    assert_eq!(handle.counters().rejected, 1);
    // A setter of what it is made of makes another.
    assert_eq!(first.clone().name("other").handle().level(), Level::Full);
    assert_eq!(first.patience(SECOND).handle().level(), Level::Minimal);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_poll_leaves_nothing() {
    let acts = [
        answers(0),
        answers(2),
        FAILS,
        Act::Fail { verdict: Verdict::transient(), after: SECOND },
        Act::Hang,
    ];
    for hold in [Hold::Answer, Hold::Future, Hold::Reply] {
        for case in 0..acts.len().pow(3) {
            let [first, second, third] = [1, 5, 25].map(|step| acts[case / step % acts.len()]);
            for polls in 0.. {
                let (handles, layer) = layer(&[first, second], &[third]);
                handles.iter().for_each(|handle| handle.hold(hold));
                // The second has to wait until it is ready.
                handles[1].readiness([Readiness::Pending]);
                let service =
                    layer.patience(4 * SECOND).tolerate(Ratio::percent(50)).into_service();
                let mut future = Box::pin(service.oneshot(ProbeRequest::new(1)));
                let mut ended = false;
                for _ in 0..polls {
                    // Its waker wakes nobody: whatever may go on goes on.
                    ended = poll_once(future.as_mut()).await.is_ready();
                    if ended {
                        break;
                    }
                    handles[1].wake();
                    sleep(SECOND / 2).await;
                }
                if ended {
                    // Even while the future is still there.
                    handles.iter().for_each(ProbeHandle::assert_idle);
                }
                drop(future);
                handles.iter().for_each(ProbeHandle::assert_gone);
                if ended {
                    break;
                }
                assert!(polls < 20, "{first:?}, {second:?}, {third:?}: no end");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_task_do_not_block_each_other() {
    let (handles, layer) = layer(&[answers(1)], &[answers(1)]);
    let service = layer.into_service();
    let mut calls: Vec<_> = (0..3).map(|_| Box::pin(call(&service))).collect();
    // The last is polled first, and once; then only the others are, in turns.
    for future in calls.iter_mut().rev() {
        assert!(poll_once(future.as_mut()).await.is_pending());
    }
    let last = calls.pop().unwrap();
    drop(last);
    for future in calls.into_iter().rev() {
        assert_eq!(answered(&timeout(9 * SECOND, future).await.unwrap()), ["a", "b"]);
    }
    handles.iter().for_each(ProbeHandle::assert_idle);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_user_code_leaves_the_level_usable() {
    let panics = Arc::new(Mutex::new(true));
    let flag = panics.clone();
    let observe = move |_: Teller<'_>, event: &Event| {
        let on = *flag.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        assert!(!on || !matches!(event, Event::LevelChanged { .. }), "planned");
    };
    let (_, layer) = layer(&[FAILS], &[]);
    let layer = layer.observe(observe);
    let (handle, service) = (layer.handle(), layer.into_service());
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut future = pin!(service.clone().oneshot(ProbeRequest::new(1)));
        let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }));
    assert!(panicked.is_err());
    *panics.lock().unwrap() = false;
    assert_eq!((handle.level(), *handle.subscribe().borrow()), (Level::Minimal, Level::Minimal));
    assert!(call(&service).await.is_err());
    assert_eq!(handle.counters().rejected, 2);
    // A classifier that panics takes only its own call along.
    let judge = |outcome: Result<&ProbeReply, &ProbeError>| {
        assert!(outcome.is_err(), "planned");
        Verdict::transient()
    };
    let (handles, layer) = self::layer(&[answers(0)], &[Act::Hang]);
    let service = layer.classify(judge).into_service();
    let handle = service.handle();
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut future = pin!(service.clone().oneshot(ProbeRequest::new(1)));
        let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }));
    assert!(panicked.is_err());
    handles.iter().for_each(ProbeHandle::assert_idle);
    handles[0].otherwise(FAILS);
    assert!(call(&service).await.is_err());
    assert_eq!(handle.level(), Level::Minimal);
}

#[tokio::test(start_paused = true)]
async fn a_future_that_has_ended_stays_silent() {
    let (_, layer) = layer(&[answers(0)], &[]);
    let mut service = layer.into_service();
    let mut future = pin!(service.call(ProbeRequest::new(1)));
    assert!(matches!(poll_once(future.as_mut()).await, Poll::Ready(Ok(_))));
    assert!(poll_once(future.as_mut()).await.is_pending());
    assert!(format!("{future:?}").contains("ended: true"));
}

#[tokio::test(start_paused = true)]
async fn without_patience_nobody_waits_for_a_tick_of_the_clock() {
    // Timers count whole milliseconds.
    tokio::time::advance(Duration::from_micros(300)).await;
    let (_, layer) = layer(&[answers(0)], &[Act::Hang]);
    let mut service = layer.patience(Duration::ZERO).into_service();
    let mut future = pin!(service.call(ProbeRequest::new(1)));
    let Poll::Ready(outcome) = poll_once(future.as_mut()).await else { panic!("it waits") };
    assert_eq!(answered(&outcome), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn an_accepted_error_of_readiness_had_no_effect() {
    let accept = |outcome: Result<&ProbeReply, &ProbeError>| match outcome {
        Err(ProbeError::Unready(_)) => Verdict::success(),
        Err(error) => error.verdict(),
        Ok(_) => Verdict::success(),
    };
    let unsent = Act::fail(Verdict::transient().with_effect(Effect::None));
    let (handles, layer) = layer(&[answers(0), unsent], &[]);
    handles[0].readiness([Readiness::Fail(Verdict::permanent())]);
    let (_, causes, verdict) = too_few(call(&layer.classify(accept).into_service()).await);
    assert_eq!((causes, verdict.effect), (vec!["b".to_owned()], Effect::None));
}

#[tokio::test(start_paused = true)]
async fn answers_hold_what_they_hold_until_all_members_have_ended() {
    for patience in [None, Some(5 * SECOND)] {
        // Both members take turns with the only permit, which a reply holds.
        let (handle, probe) = probe(answers(1));
        handle.hold(Hold::Reply);
        let layer = DegradeLayer::new().required("a", probe.clone()).optional("b", probe);
        let layer = patience.map_or(layer.clone(), |patience| layer.patience(patience));
        let outcome = timeout(100 * SECOND, call(&layer.into_service())).await;
        assert_eq!(outcome.is_ok(), patience.is_some());
        if let Ok(outcome) = outcome {
            assert_eq!(failed(&outcome), ["b: service not ready within 5s"]);
        }
        handle.assert_gone();
    }
}
