//! QuorumLayer: what a caller sees.

use std::{
    future::pending,
    num::NonZeroU32,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    CallError, Disagreement, Effect, EffectsIf, Event, Fault, Kind, Once, QuorumLayer, Ratio,
    Rejection, Teller, TimeoutLayer, Tolerance, Verdict, Votes, Why,
    quorum::{Agree, AnyAnswer, Cast},
};
use buttress_sim::{
    Fate, Faults, Rule, Takes, Tool, ToolReply, ToolRequest, When,
    probe::{
        Act, Hold, ProbeError, ProbeHandle, ProbeReply, ProbeRequest, ProbeService, Readiness,
    },
};
use tokio::time::{Instant, sleep, timeout};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService,
};

use crate::support::poll_once;

const SECOND: Duration = Duration::from_secs(1);

/// What a member does after a time: answer, or fail.
type Plan = (Duration, Result<u32, Verdict>);

const HANGS: Plan = (Duration::from_secs(1 << 30), Ok(0));

fn says(answer: u32, after: u32) -> Plan {
    (after * SECOND, Ok(answer))
}

fn fails(verdict: Verdict, after: u32) -> Plan {
    (after * SECOND, Err(verdict))
}

type Member = BoxCloneService<u32, u32, ProbeError>;

/// How many calls have been made, and how many are under way.
#[derive(Clone, Default)]
struct Seen(Arc<(AtomicU32, AtomicU32)>);

struct Here(Seen);

impl Seen {
    fn enter(&self) -> Here {
        self.0.0.fetch_add(1, Ordering::Relaxed);
        self.0.1.fetch_add(1, Ordering::Relaxed);
        Here(self.clone())
    }
    fn calls(&self) -> u32 {
        self.0.0.load(Ordering::Relaxed)
    }
    fn alive(&self) -> u32 {
        self.0.1.load(Ordering::Relaxed)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.0.1.fetch_sub(1, Ordering::Relaxed);
    }
}

fn member((after, outcome): Plan, seen: &Seen) -> Member {
    let seen = seen.clone();
    BoxCloneService::new(service_fn(move |_: u32| {
        let here = seen.enter();
        async move {
            let _here = here;
            if !after.is_zero() {
                sleep(after).await;
            }
            outcome.map_err(ProbeError::Failed)
        }
    }))
}

/// The first of them, and the others.
fn members<const N: usize>(plans: [Plan; N]) -> (Member, Vec<Member>, Seen) {
    let seen = Seen::default();
    let mut all = plans.map(|plan| member(plan, &seen)).to_vec();
    (all.remove(0), all, seen)
}

fn log() -> (Arc<Mutex<Vec<Event>>>, impl Fn(Teller<'_>, &Event) + Send + Sync + 'static) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    (told, move |_: Teller<'_>, event: &Event| log.lock().unwrap().push(*event))
}

/// What two of these members agree on, and after how many seconds.
async fn two_of<const N: usize>(plans: [Plan; N]) -> (Result<u32, ProbeError>, u64, Seen) {
    let (first, others, seen) = members(plans);
    let service = QuorumLayer::with(others).needed(2).layer(first);
    let start = Instant::now();
    let outcome = service.oneshot(7).await;
    assert_eq!(seen.alive(), 0, "somebody still runs");
    (outcome, start.elapsed().as_secs(), seen)
}

#[track_caller]
fn votes_of(error: &ProbeError) -> Votes {
    let ProbeError::Rejected(Rejection::NoQuorum { split, .. }) = error else {
        unreachable!("no refusal for want of a quorum: {error:?}")
    };
    split.votes
}

#[tokio::test(start_paused = true)]
async fn ends_with_the_vote_that_decides() {
    let (outcome, seconds, seen) = two_of([says(1, 9), says(1, 1), says(1, 3)]).await;
    assert_eq!((outcome, seconds, seen.calls()), (Ok(1), 3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_lie_is_outvoted() {
    let (outcome, seconds, _) = two_of([says(0, 1), says(1, 2), says(1, 3)]).await;
    assert_eq!((outcome, seconds), (Ok(1), 3));
}

#[tokio::test(start_paused = true)]
async fn who_hangs_holds_nothing_up() {
    let (outcome, seconds, _) = two_of([HANGS, says(1, 1), says(1, 2)]).await;
    assert_eq!((outcome, seconds), (Ok(1), 2));
}

#[tokio::test(start_paused = true)]
async fn who_is_never_ready_holds_nothing_up() {
    let (blocked, well) = (ProbeService::new(0), ProbeService::new(1));
    well.handle().otherwise(Act::Answer { after: SECOND });
    let others = vec![well.clone(), well.clone()];
    let service = QuorumLayer::with(others).agree_by(ProbeReply::id).layer(blocked.clone());
    let start = Instant::now();
    // The two that are well share one permit and take turns.
    assert_eq!(service.oneshot(ProbeRequest::new(7)).await.unwrap().id(), 7);
    assert_eq!(start.elapsed(), 2 * SECOND);
    well.handle().assert_idle();
    blocked.handle().assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_lone_answer_among_failures_is_no_quorum() {
    let transient = Verdict::transient();
    let (outcome, seconds, _) =
        two_of([fails(transient, 1), says(1, 2), fails(transient, 3)]).await;
    assert_eq!(
        votes_of(&outcome.unwrap_err()),
        Votes { needed: 2, cast: 1, largest: 1, failed: 2 }
    );
    assert_eq!(seconds, 3);
}

#[tokio::test(start_paused = true)]
async fn ends_once_agreement_has_become_impossible() {
    let transient = Verdict::transient();
    let (outcome, seconds, _) = two_of([fails(transient, 1), HANGS, fails(transient, 2)]).await;
    let error = outcome.unwrap_err();
    assert_eq!(votes_of(&error), Votes { needed: 2, cast: 0, largest: 0, failed: 2 });
    // All that failed may pass, so a retry outside tries again.
    assert_eq!((seconds, error.verdict().kind), (2, Kind::Transient));

    let (first, others, _) = members([says(1, 1), says(2, 2), HANGS]);
    let service = QuorumLayer::with(others).needed(3).layer(first);
    let error = timeout(2 * SECOND, service.oneshot(7)).await.unwrap().unwrap_err();
    assert_eq!(votes_of(&error), Votes { needed: 3, cast: 2, largest: 1, failed: 0 });
    // Who answered did what was asked.
    assert_eq!(error.verdict(), Verdict::unknown().with_effect(Effect::Applied));
}

#[tokio::test(start_paused = true)]
async fn the_refusal_names_who_failed_and_why() {
    let throttled = Verdict::throttled();
    let (first, others, _) = members([says(1, 3), fails(throttled, 2), fails(throttled, 1)]);
    let layer = QuorumLayer::with(others).name("models").names(["large", "small"]);
    let error = layer.layer(first).oneshot(7).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no quorum in `models`: 0 of 2 needed agree, 0 dissent, 2 failed: \
         replica 3: planned failure: throttled; small: planned failure: throttled"
    );
}

#[tokio::test(start_paused = true)]
async fn permanent_errors_agree_with_each_other() {
    let permanent = Verdict::permanent();
    let (outcome, seconds, _) =
        two_of([fails(permanent, 1), says(1, 2), fails(permanent, 3), HANGS]).await;
    assert_eq!((outcome, seconds), (Err(ProbeError::Failed(permanent)), 3));
    // One is outvoted, and not enough to end the call.
    let (outcome, ..) = two_of([fails(permanent, 1), says(1, 2), says(1, 3)]).await;
    assert_eq!(outcome, Ok(1));
    let (outcome, ..) = two_of([fails(permanent, 1), says(1, 2)]).await;
    assert_eq!(
        votes_of(&outcome.unwrap_err()),
        Votes { needed: 2, cast: 2, largest: 1, failed: 0 }
    );
}

#[tokio::test(start_paused = true)]
async fn answers_are_judged_too() {
    let judge = |outcome: Result<&u32, &ProbeError>| match outcome {
        Ok(503) => Verdict::transient(),
        Ok(404) => Verdict::permanent(),
        Ok(_) => Verdict::success(),
        Err(ProbeError::Failed(_)) => Verdict::success(),
        Err(error) => error.verdict(),
    };
    let run = async |plans: [Plan; 3]| {
        let (first, others, _) = members(plans);
        QuorumLayer::with(others).classify(judge).layer(first).oneshot(7).await
    };
    // A failure is no vote, however many say the same.
    let error = run([says(503, 1), says(503, 1), says(200, 1)]).await.unwrap_err();
    // The third is heard in the same poll.
    assert_eq!(votes_of(&error), Votes { needed: 2, cast: 1, largest: 1, failed: 2 });
    assert!(error.to_string().contains("replica 1: its answer was not accepted"));
    // What is final is, and is returned as it is.
    assert_eq!(run([says(404, 1), says(200, 1), says(404, 1)]).await, Ok(404));
    // An acceptable error is an answer that nobody can compare, save with its like.
    let fine = fails(Verdict::transient(), 1);
    let outcome = run([fine, says(200, 1), fine]).await;
    assert_eq!(outcome, Err(ProbeError::Failed(Verdict::transient())));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_is_no_vote() {
    let probe = ProbeService::new(3);
    let handle = probe.handle();
    handle.readiness([Readiness::Fail(Verdict::permanent()); 3]);
    let service = QuorumLayer::of(3).agree_by(ProbeReply::id).layer(probe);
    let error = service.oneshot(ProbeRequest::new(7)).await.unwrap_err();
    assert_eq!(votes_of(&error), Votes { needed: 2, cast: 0, largest: 0, failed: 3 });
    // Nothing was sent.
    assert_eq!((handle.counts().calls, error.verdict().effect), (0, Effect::None));
    handle.assert_gone();
}

#[tokio::test(start_paused = true)]
async fn votes_are_weighed() {
    let weights = [3, 1, 1, 1].map(|weight| NonZeroU32::new(weight).unwrap());
    let run = async |plans| {
        let (first, others, _) = members::<4>(plans);
        QuorumLayer::with(others).weights(weights).layer(first).oneshot(7).await
    };
    // Four of six: the heavy one and any other.
    assert_eq!(run([says(1, 1), says(2, 1), says(2, 1), says(1, 2)]).await, Ok(1));
    let error = run([says(1, 1), says(2, 1), says(2, 1), says(2, 1)]).await.unwrap_err();
    assert_eq!(votes_of(&error), Votes { needed: 4, cast: 6, largest: 3, failed: 0 });
    // Without the heavy one there is no majority.
    let error = run([fails(Verdict::transient(), 1), HANGS, HANGS, HANGS]).await.unwrap_err();
    assert_eq!(votes_of(&error), Votes { needed: 4, cast: 0, largest: 0, failed: 3 });
}

#[tokio::test(start_paused = true)]
async fn numbers_agree_within_a_tolerance_on_their_median() {
    let (first, others, _) = members([says(104, 1), says(900, 2), says(100, 3), says(103, 4)]);
    let layer = QuorumLayer::with(others)
        .needed(3)
        .within(Tolerance::of(5.0), |answer: &u32| f64::from(*answer));
    assert_eq!(layer.layer(first).oneshot(7).await, Ok(103));
}

#[tokio::test(start_paused = true)]
async fn the_votes_may_be_attached_to_the_answer() {
    let (first, others, _) = members([says(1, 1), says(2, 2), says(1, 3)]);
    let layer = QuorumLayer::with(others).mark(|answer: &mut u32, votes: Votes| {
        *answer = 100 * *answer + 10 * votes.largest + votes.dissent();
    });
    assert_eq!(layer.layer(first).oneshot(7).await, Ok(121));
}

#[tokio::test(start_paused = true)]
async fn the_user_may_choose_where_there_is_no_agreement() {
    let run = async |plans| {
        let (first, others, _) = members::<4>(plans);
        let layer = QuorumLayer::with(others).otherwise(Disagreement::plurality);
        layer.layer(first).oneshot(7).await
    };
    assert_eq!(run([says(1, 1), says(2, 2), says(2, 2), says(3, 3)]).await, Ok(2));
    let error = run([says(1, 1), says(2, 2), says(2, 2), says(1, 3)]).await.unwrap_err();
    assert_eq!(votes_of(&error), Votes { needed: 3, cast: 4, largest: 2, failed: 0 });

    let (first, others, seen) = members([says(1, 1), fails(Verdict::transient(), 2)]);
    let layer = QuorumLayer::with(others).otherwise(|split: Disagreement<u32>| {
        assert_eq!((split.groups.len(), split.causes.len(), split.votes.failed), (1, 1, 1));
        split.groups.into_iter().next().map(|group| group.answer + 40)
    });
    assert_eq!(layer.layer(first).oneshot(7).await, Ok(41));
    assert_eq!(seen.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn first_success_takes_the_first_whatever_it_says() {
    let (first, others, seen) = members([fails(Verdict::transient(), 1), says(2, 2), says(3, 3)]);
    let service = QuorumLayer::with(others).first_success().layer(first);
    let start = Instant::now();
    assert_eq!(service.oneshot(7).await, Ok(2));
    assert_eq!((start.elapsed(), seen.alive()), (2 * SECOND, 0));
}

#[tokio::test(start_paused = true)]
async fn events_tell_of_dissent_and_of_nothing_else() {
    let run = async |plans| {
        let (told, listen) = log();
        let (first, others, _) = members::<3>(plans);
        let _ = QuorumLayer::with(others).observe(listen).layer(first).oneshot(7).await;
        std::mem::take(&mut *told.lock().unwrap())
    };
    let cancelled = |attempt, seconds| Event::Cancelled { attempt, after: seconds * SECOND };
    let votes = |cast, largest, failed| Votes { needed: 2, cast, largest, failed };
    // All at once: nobody was kept waiting, the third was never reached.
    assert_eq!(run([says(1, 0), says(1, 0), says(1, 0)]).await, []);
    assert_eq!(run([HANGS, says(1, 0), says(1, 0)]).await, [cancelled(1, 0)]);
    assert_eq!(run([says(1, 1), says(1, 2), says(1, 3)]).await, [cancelled(3, 2)]);
    assert_eq!(
        run([says(1, 1), says(0, 2), says(1, 3)]).await,
        [Event::Agreed { votes: votes(3, 2, 0) }]
    );
    let verdict = Verdict::transient();
    assert_eq!(
        run([says(1, 1), says(1, 3), fails(verdict, 2)]).await,
        [Event::Failed { attempt: 3, verdict }, Event::Agreed { votes: votes(2, 2, 1) }]
    );
    assert_eq!(
        run([says(1, 1), says(2, 2), says(3, 3)]).await,
        [Event::Disagreed { votes: votes(3, 1, 0) }]
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_drops_its_members_and_tells_their_age() {
    let (told, listen) = log();
    let (first, others, seen) = members([HANGS, says(1, 1), HANGS]);
    let mut service = QuorumLayer::with(others).observe(listen).layer(first);
    let mut call = Box::pin(service.ready().await.unwrap().call(7));
    assert_eq!(seen.calls(), 0, "nothing is sent before the first poll");
    assert!(timeout(3 * SECOND, call.as_mut()).await.is_err());
    assert_eq!(seen.alive(), 2);
    drop(call);
    assert_eq!(seen.alive(), 0);
    let cancelled = [1, 3].map(|attempt| Event::Cancelled { attempt, after: 3 * SECOND });
    assert_eq!(*told.lock().unwrap(), cancelled);
    // One that was never polled has nothing to tell.
    drop(service.ready().await.unwrap().call(7));
    assert_eq!(told.lock().unwrap().len(), 2);
}

/// What two of these members agree on when they are asked lazily, how long it took, and whom it
/// asked besides the first two.
async fn lazily(
    delay: Option<Duration>,
    plans: [Plan; 4],
) -> (Result<u32, ProbeError>, u64, Vec<(u32, u64, Why)>) {
    let (told, listen) = log();
    let (first, others, seen) = members(plans);
    let layer = QuorumLayer::with(others).needed(2).lazy(delay).observe(listen);
    let start = Instant::now();
    let outcome = layer.layer(first).oneshot(7).await;
    assert_eq!(seen.alive(), 0);
    let asked: Vec<_> = told
        .lock()
        .unwrap()
        .iter()
        .filter_map(|event| match event {
            Event::Hedging { attempt, after, why } => Some((*attempt, after.as_secs(), *why)),
            _ => None,
        })
        .collect();
    assert_eq!(seen.calls() as usize, 2 + asked.len());
    (outcome, start.elapsed().as_secs(), asked)
}

#[tokio::test(start_paused = true)]
async fn lazily_no_more_are_asked_than_needed() {
    let well = says(1, 3);
    assert_eq!(lazily(None, [well, well, HANGS, HANGS]).await, (Ok(1), 3, vec![]));
    let outcome = lazily(Some(4 * SECOND), [well, well, HANGS, HANGS]).await;
    assert_eq!(outcome, (Ok(1), 3, vec![]));
}

#[tokio::test(start_paused = true)]
async fn lazily_another_one_is_asked_on_failure_and_dissent() {
    let broken = fails(Verdict::transient(), 1);
    let outcome = lazily(None, [broken, says(1, 2), says(1, 3), HANGS]).await;
    assert_eq!(outcome, (Ok(1), 4, vec![(3, 1, Why::Failure)]));
    let outcome = lazily(None, [says(1, 1), says(2, 2), says(2, 3), HANGS]).await;
    assert_eq!(outcome, (Ok(2), 5, vec![(3, 2, Why::Dissent)]));
    // At once, as often as it takes.
    let broken = fails(Verdict::transient(), 0);
    let outcome = lazily(None, [broken, broken, says(1, 0), says(1, 0)]).await;
    assert_eq!(outcome, (Ok(1), 0, vec![(3, 0, Why::Failure), (4, 0, Why::Failure)]));
    let refused = fails(Verdict::permanent(), 0);
    let outcome = lazily(None, [refused, says(1, 0), refused, HANGS]).await;
    let asked = vec![(3, 0, Why::Dissent)];
    assert_eq!(outcome, (Err(ProbeError::Failed(Verdict::permanent())), 0, asked));
}

#[tokio::test(start_paused = true)]
async fn lazily_another_one_is_asked_after_a_delay() {
    let outcome = lazily(Some(2 * SECOND), [says(1, 1), HANGS, HANGS, says(1, 1)]).await;
    assert_eq!(outcome, (Ok(1), 5, vec![(3, 2, Why::Delay), (4, 4, Why::Delay)]));
    // The delay counts from when the last one was asked.
    let broken = fails(Verdict::transient(), 1);
    let outcome = lazily(Some(2 * SECOND), [broken, says(1, 2), HANGS, says(1, 1)]).await;
    assert_eq!(outcome, (Ok(1), 4, vec![(3, 1, Why::Failure), (4, 3, Why::Delay)]));
}

#[tokio::test(start_paused = true)]
async fn lazily_nobody_is_asked_after_the_deadline() {
    let calls = AtomicU32::new(0);
    let counted = service_fn(|_: u32| {
        let number = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            // One fails when time is over, in the poll in which the deadline passes.
            sleep(2 * SECOND * (1 + number)).await;
            Err::<u32, _>(ProbeError::Failed(Verdict::throttled()))
        }
    });
    let (told, listen) = log();
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(2 * SECOND))
        .layer(QuorumLayer::of(5).needed(2).lazy(None).observe(listen))
        .service(counted);
    let error = service.oneshot(7).await.unwrap_err();
    // The first failure leaves one who cannot decide, and nobody may join.
    assert_eq!(votes_of(&error), Votes { needed: 2, cast: 0, largest: 0, failed: 1 });
    assert_eq!(calls.into_inner(), 2);
    let told = told.lock().unwrap();
    assert!(told.contains(&Event::Suppressed { attempt: 3, why: Why::Deadline }), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn each_member_gets_a_copy_and_the_last_the_request_itself() {
    for (lazy, copies) in [(false, 2), (true, 2)] {
        let probe = ProbeService::new(3);
        let handle = probe.handle();
        let layer = QuorumLayer::of(3).agree_by(ProbeReply::id);
        let layer = if lazy { layer.lazy(None) } else { layer };
        let outcome = layer.layer(probe).oneshot(handle.request(7)).await;
        assert_eq!((outcome.unwrap().id(), handle.counts().copies), (7, copies), "{lazy}");
        handle.assert_gone();
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_may_not_be_repeated_is_sent_once_or_not_at_all() {
    fn check<R>(layer: QuorumLayer<AnyAnswer, buttress::ByFault, R>, sent: u64)
    where
        R: buttress::Replay<ProbeRequest> + Clone,
    {
        let probe = ProbeService::new(3);
        let handle = probe.handle();
        let (told, listen) = log();
        let mut service = layer.observe(listen).layer(probe);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(Service::poll_ready(&mut service, &mut cx).is_ready());
        let call = pin!(service.call(ProbeRequest::new(7)));
        let std::task::Poll::Ready(outcome) = call.poll(&mut cx) else { panic!("nobody waits") };
        assert_eq!(handle.counts().calls, sent);
        assert_eq!(outcome.is_ok(), sent == 1);
        if let Err(error) = outcome {
            assert_eq!(error.verdict(), Verdict::permanent().with_effect(Effect::None));
            assert!(error.to_string().ends_with("the request may be sent only once"), "{error}");
        }
        let why = Event::Suppressed { attempt: 2, why: Why::NotRepeatable };
        assert_eq!(told.lock().unwrap()[0], why);
    }
    let any = || QuorumLayer::of(3).agree(AnyAnswer);
    let never = |_: &ProbeRequest| None;
    check(any().needed(1).replay(Once), 1);
    check(any().needed(1).replay(EffectsIf(|_: &ProbeRequest| true)), 1);
    check(any().needed(1).replay(never), 1);
    check(any().replay(Once), 0);
    check(any().replay(EffectsIf(|_: &ProbeRequest| true)), 0);
    check(any().replay(never), 0);
    // The second member decides alone.
    let weights = [1, 9].map(|weight| NonZeroU32::new(weight).unwrap());
    check(any().weights(weights).replay(Once), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_if_copies_run_out() {
    for (copies, sent) in [(1, 0), (2, 3)] {
        let left = Arc::new(AtomicU32::new(copies));
        let copy = move |request: &ProbeRequest| {
            let left = left.fetch_sub(1, Ordering::Relaxed);
            (1..=copies).contains(&left).then(|| request.clone())
        };
        let probe = ProbeService::new(5);
        let handle = probe.handle();
        let layer = QuorumLayer::of(5).agree(AnyAnswer).replay(copy);
        let is_ok = layer.layer(probe).oneshot(ProbeRequest::new(7)).await.is_ok();
        assert_eq!((handle.counts().calls, is_ok), (sent, sent > 0));
        handle.assert_gone();
    }
}

/// A probe whose replies hold its only permit.
fn stingy() -> (ProbeService, ProbeHandle) {
    let probe = ProbeService::new(1);
    let handle = probe.handle();
    handle.hold(Hold::Reply);
    (probe, handle)
}

#[tokio::test(start_paused = true)]
async fn answers_are_dropped_once_their_key_is_taken() {
    let (probe, handle) = stingy();
    let service = QuorumLayer::of(5).agree_by(ProbeReply::id).layer(probe);
    // Three have to agree, and take turns with the permit.
    let reply = service.oneshot(ProbeRequest::new(7)).await.unwrap();
    assert_eq!((handle.counts().calls, handle.counts().replies), (3, 1));
    drop(reply);
    handle.assert_gone();
}

#[tokio::test(start_paused = true)]
async fn kept_answers_hold_what_they_hold_until_the_vote_ends() {
    let (probe, handle) = stingy();
    let same = |a: &ProbeReply, b: &ProbeReply| a.id() == b.id();
    let service = QuorumLayer::of(3).agree_with(same).layer(probe);
    let outcome = timeout(100 * SECOND, service.oneshot(ProbeRequest::new(7))).await;
    assert!(outcome.is_err(), "the second waits for the permit of the first");
    handle.assert_gone();
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_task_do_not_block_each_other() {
    let (first, others, _) = members([says(1, 1), says(1, 2), HANGS]);
    let mut service = QuorumLayer::with(others).layer(first);
    let calls: Vec<_> = (0..3).map(|_| service.call(7)).collect();
    let [mut a, mut b, c] = calls.try_into().map(|calls: [_; 3]| calls.map(Box::pin)).unwrap();
    assert!(poll_once(b.as_mut()).await.is_pending());
    assert!(poll_once(a.as_mut()).await.is_pending());
    assert_eq!(c.await, Ok(1));
    drop(a);
    assert_eq!(b.await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn boxed_and_wrapped_errors_will_do() {
    let boxed = service_fn(async |n: u32| if n > 0 { Ok(n) } else { Err(BoxError::from("none")) });
    let service = QuorumLayer::of(3).layer(boxed);
    assert_eq!(service.clone().oneshot(7).await.unwrap(), 7);
    let error = service.oneshot(0).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Rejection::NoQuorum { .. })), "{error}");

    let foreign = ServiceBuilder::new()
        .layer(QuorumLayer::of(3).classify(buttress::AllTransient))
        .map_err(CallError::Service)
        .service(service_fn(async |text: &str| text.parse::<u32>()));
    assert_eq!(foreign.clone().oneshot("7").await, Ok(7));
    let error = foreign.oneshot("many").await.unwrap_err();
    let causes = error.rejection().and_then(Rejection::causes).unwrap();
    assert!(causes.find::<std::num::ParseIntError>().is_some());
}

#[tokio::test(start_paused = true)]
async fn services_that_are_not_send_are_served() {
    let local = std::rc::Rc::new(7_u32);
    let service = service_fn(move |_: ()| {
        let local = local.clone();
        async move { Ok::<_, BoxError>(*local) }
    });
    assert_eq!(QuorumLayer::of(3).layer(service).oneshot(()).await.unwrap(), 7);
    // One that never ends is dropped with the call.
    let endless = service_fn(async |(): ()| {
        pending::<()>().await;
        Ok::<u32, BoxError>(7)
    });
    assert!(timeout(SECOND, QuorumLayer::of(3).layer(endless).oneshot(())).await.is_err());
}

/// Half of the width in which a share of `n` calls lies with a probability of 99.9 %.
fn half_width(share: f64, n: u32) -> f64 {
    3.29 * (share * (1.0 - share) / f64::from(n)).sqrt()
}

/// What a caller sees of an answer: not who gave it.
fn key(reply: &ToolReply) -> (Arc<str>, bool) {
    (reply.query.clone(), reply.correct)
}

/// `LIMITS` of voting: independent replicas whose wrong answers are all the same.
#[tokio::test(start_paused = true)]
async fn two_of_three_are_wrong_as_often_as_two_are_wrong_together() {
    const CALLS: u32 = 20_000;
    for (seed, percent) in [(11_u64, 5), (22, 20), (33, 40)] {
        println!("seed {seed}");
        let c = f64::from(percent) / 100.0;
        let lie = Rule::new(
            When::Share(Ratio::percent(percent)),
            Fate::Corrupt { takes: Takes::NOTHING },
        );
        let tool = |replica| Tool::new(Faults::none().rule(lie.clone()), 1_000 * seed + replica);
        let mut service = QuorumLayer::with(vec![tool(1), tool(2)]).agree_by(key).layer(tool(0));
        let mut wrong = 0;
        for _ in 0..CALLS {
            let reply = service.ready().await.unwrap().call(ToolRequest::from("the weather")).await;
            wrong += u32::from(!reply.unwrap().correct);
        }
        let (rate, expected) = (f64::from(wrong) / f64::from(CALLS), 3.0 * c * c - 2.0 * c.powi(3));
        let off = (rate - expected).abs();
        assert!(off < half_width(expected, CALLS), "{rate}, not {expected}; seed {seed}");
        assert!(rate < c);
    }
}

#[tokio::test(start_paused = true)]
async fn a_corrupting_replica_never_has_its_way() {
    let lie = Rule::new(When::Always, Fate::Corrupt { takes: Takes::NOTHING });
    let liar = Tool::new(Faults::none().rule(lie), 1);
    let honest = |seed| Tool::new(Faults::none(), seed);
    let told = Arc::new(AtomicU32::new(0));
    let dissent = told.clone();
    let mut service = QuorumLayer::with(vec![honest(2), honest(3)])
        .agree_by(key)
        .observe(move |_: Teller<'_>, event: &Event| {
            if let Event::Agreed { votes } = event {
                dissent.fetch_add(votes.dissent(), Ordering::Relaxed);
            }
        })
        .layer(liar);
    for _ in 0..1_000 {
        let reply = service.ready().await.unwrap().call(ToolRequest::from("the weather")).await;
        assert!(reply.unwrap().correct);
    }
    assert_eq!(told.load(Ordering::Relaxed), 1_000);
}

/// `LIMITS` of the experiments: the first two successes of three.
#[tokio::test(start_paused = true)]
async fn two_of_three_over_the_unreliable_tool() {
    const CALLS: u32 = 20_000;
    const SEED: u64 = 7;
    println!("seed {SEED}");
    let tool = Tool::new(Faults::unreliable(), SEED);
    let mut service = QuorumLayer::of(3).agree_by(key).layer(tool.clone());
    let mut latencies = Vec::new();
    for _ in 0..CALLS {
        let start = Instant::now();
        let request = ToolRequest::from("the weather");
        if service.ready().await.unwrap().call(request).await.is_ok() {
            latencies.push(start.elapsed().as_secs_f64());
        }
    }
    let success = latencies.len() as f64 / f64::from(CALLS);
    assert!((success - 0.896).abs() < half_width(0.896, CALLS), "{success}; seed {SEED}");
    let mean = latencies.iter().sum::<f64>() / latencies.len() as f64;
    // 0.015 is the half width of 99 % of 100 000 calls.
    assert!((mean - 1.442).abs() < 0.015 * 5_f64.sqrt() * 1.51, "{mean}; seed {SEED}");
    latencies.sort_by(f64::total_cmp);
    let median = latencies[latencies.len() / 2];
    assert!((median - 0.832).abs() < 0.01, "{median}; seed {SEED}");
    // All three are asked at once, also when the first two fail in that moment.
    assert_eq!(tool.stats().launched, 3 * u64::from(CALLS));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_what_members_that_did_not_fail_may_have_done() {
    // Provably without effect; the third was sent, and is dropped.
    let unsent = fails(Verdict::throttled(), 1);
    let (outcome, ..) = two_of([unsent, HANGS, unsent]).await;
    let error = outcome.unwrap_err();
    assert_eq!(votes_of(&error), Votes { needed: 2, cast: 0, largest: 0, failed: 2 });
    assert_eq!((error.verdict().kind, error.verdict().effect), (Kind::Throttled, Effect::Maybe));
    // Here the third was never ready.
    let blocked = ProbeService::new(0);
    let failing = ProbeService::new(2);
    failing.handle().otherwise(Act::fail(Verdict::throttled()));
    let others = vec![failing.clone(), failing];
    let layer = QuorumLayer::with(others).agree_by(ProbeReply::id);
    let error = layer.layer(blocked).oneshot(ProbeRequest::new(7)).await.unwrap_err();
    assert_eq!((error.verdict().kind, error.verdict().effect), (Kind::Throttled, Effect::None));
}

#[tokio::test(start_paused = true)]
async fn a_vote_that_nobody_decides_ends_with_its_members() {
    /// Finds all answers to be the same, and is not content with them.
    #[derive(Clone)]
    struct Picky(u64);

    impl Agree<u32> for Picky {
        type Ballots = ();

        fn open(&self) {}

        fn cast(&self, (): &mut (), _: u32, _: u64, _: u64) -> Cast<u32> {
            Cast::Open { largest: self.0 }
        }
    }

    for largest in [2, u64::MAX] {
        for lazy in [false, true] {
            let (first, others, seen) = members([says(1, 1), says(1, 2), says(1, 3)]);
            let layer = QuorumLayer::with(others).agree(Picky(largest));
            let layer = if lazy { layer.lazy(None) } else { layer };
            let error = timeout(9 * SECOND, layer.layer(first).oneshot(7)).await.unwrap();
            assert!(matches!(error, Err(ProbeError::Rejected(Rejection::NoQuorum { .. }))));
            assert_eq!((seen.calls(), seen.alive()), (3, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_is_not_told_again() {
    let told = Arc::new(AtomicU32::new(0));
    let count = told.clone();
    let observe = move |_: Teller<'_>, event: &Event| {
        if let Event::Cancelled { .. } = event {
            count.fetch_add(1, Ordering::Relaxed);
            panic!("planned");
        }
    };
    let (first, others, seen) = members([says(1, 1), says(1, 1), HANGS]);
    let service = QuorumLayer::with(others).observe(observe).layer(first);
    // The task drops the future while the panic unwinds: another one would end the process.
    let outcome = tokio::spawn(service.oneshot(7)).await;
    assert!(outcome.unwrap_err().is_panic());
    assert_eq!((told.load(Ordering::Relaxed), seen.alive()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn who_is_not_asked_for_want_of_a_copy_is_told() {
    for lazy in [false, true] {
        let left = Arc::new(AtomicU32::new(2));
        let copy = move |request: &u32| {
            let less = |left: u32| left.checked_sub(1);
            let left = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
            left.is_ok().then_some(*request)
        };
        let (told, listen) = log();
        let failing = fails(Verdict::transient(), 1);
        let (first, others, seen) = members([says(1, 1), failing, says(1, 2), HANGS, HANGS]);
        let layer = QuorumLayer::with(others).needed(2).replay(copy).observe(listen);
        let layer = if lazy { layer.lazy(None) } else { layer };
        assert_eq!(layer.layer(first).oneshot(7).await, Ok(1));
        assert_eq!(seen.calls(), 3);
        let told = told.lock().unwrap();
        let suppressed: Vec<_> =
            told.iter().filter(|event| matches!(event, Event::Suppressed { .. })).collect();
        let why = Why::NotRepeatable;
        assert_eq!(suppressed, [&Event::Suppressed { attempt: 4, why }], "lazy: {lazy}");
    }
}
