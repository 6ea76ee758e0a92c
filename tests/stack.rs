//! Presets, the outline of a stack, and what is found in it.

use std::{
    collections::BTreeSet,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    Backoff, BreakerLayer, Budget, CallError, CheckpointLayer, DegradeLayer, EffectsIf, Event,
    FailoverLayer, FallbackLayer, HedgeLayer, Jitter, LimitLayer, QuorumLayer, Random, Rejection,
    RetryLayer, ServiceBuilderExt, Stack, Teller, TimeoutLayer, Trigger, Verdict,
    breaker::State,
    checkpoint::{Effects, InDoubt, Step},
    stack::{Rule, outline},
    store::MemoryStore,
};
use buttress_sim::{
    Faults, Tool, ToolRequest,
    probe::{Act, ProbeError, ProbeReply, ProbeRequest, ProbeService},
};
use tokio::time::Instant;
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt, layer::layer_fn, service_fn,
    util::BoxCloneSyncService,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_tool_preset_makes_the_unreliable_tool_dependable() {
    let seed = 7;
    println!("seed {seed}");
    let tool = Tool::new(Faults::unreliable(), seed);
    let stack = Stack::tool("search").random(Random::seeded(seed));
    let breaker = stack.breaker_handle();
    let mut service = stack.layer(tool.clone());
    let (mut answered, calls) = (0, 3_000);
    for _ in 0..calls {
        let call = service.ready().await.unwrap().call(ToolRequest::from("profile"));
        answered += u64::from(call.await.is_ok());
    }
    // Bare it is 80 %. One call of a thousand fails four times in a row, and the budget is finite.
    assert!(answered * 1_000 > 985 * calls, "{answered} of {calls}");
    // A call that fails at once, and one that is slow, each cost one more.
    let launched = tool.stats().launched;
    assert!(launched * 100 < calls * 150, "{launched} calls");
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_call_with_effects_is_sent_again_only_if_it_had_none() {
    let sends_mail = EffectsIf(|request: &ProbeRequest| request.id() == 1);
    let cases =
        [(1, Verdict::transient(), 1), (1, Verdict::throttled(), 3), (2, Verdict::transient(), 3)];
    for (id, verdict, expected) in cases {
        let probe = ProbeService::new(4);
        let handle = probe.handle();
        handle.otherwise(Act::fail(verdict));
        let service = Stack::tool("mail").hedge(None).replay(sends_mail).layer(probe);
        let outcome = service.oneshot(ProbeRequest::new(id)).await;
        assert_eq!(outcome.unwrap_err(), ProbeError::Failed(verdict));
        assert_eq!(handle.counts().calls, expected, "{id} {verdict:?}");
        handle.assert_gone();
    }
}

#[tokio::test(start_paused = true)]
async fn the_classifier_and_the_listener_reach_every_layer() {
    let heard = Arc::new(Mutex::new(BTreeSet::new()));
    let listener = {
        let heard = heard.clone();
        move |teller: Teller<'_>, _: &Event| {
            heard.lock().unwrap().insert((teller.pattern, teller.name.to_owned()));
        }
    };
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let tool = service_fn(move |(): ()| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, BoxError>("I cannot help with that") }
    });
    let refusal = |outcome: Result<&&str, &BoxError>| match outcome {
        Ok(text) if text.starts_with("I cannot") => Verdict::transient(),
        Ok(_) => Verdict::success(),
        Err(error) => Verdict::of_chain(&**error),
    };
    let stack = Stack::llm("model")
        .hedge(HedgeLayer::after(SECOND))
        .classify(refusal)
        .observe(listener)
        .retry(|retry| retry.attempts(2))
        .breaker(|breaker| breaker.open_for(Backoff::constant(SECOND).jitter(Jitter::None)));
    let breaker = stack.breaker_handle();
    let mut service = stack.layer(tool);
    for _ in 0..3 {
        let _ = service.ready().await.unwrap().call(()).await;
    }
    // Two attempts of two attempts each, until the circuit opens.
    assert_eq!(calls.load(Ordering::Relaxed), 6);
    assert_eq!(breaker.state(), State::Open);
    let heard: Vec<_> = heard.lock().unwrap().iter().map(|(pattern, _)| *pattern).collect();
    assert_eq!(heard, ["breaker", "hedge", "retry"]);
}

#[test]
fn presets_print_their_order_and_stand_their_own_check() {
    for stack in
        [Stack::tool("t"), Stack::llm("t"), Stack::llm("t").hedge(HedgeLayer::immediate(2))]
    {
        let (_, parts) = outline(&stack, ());
        assert_eq!(parts.check(), Ok(()));
        assert_eq!(stack.to_string(), parts.to_string());
        let patterns: Vec<_> =
            parts.iter().map(|part| part.title().trim_end_matches(" `t`")).collect();
        let hedged = patterns.contains(&"hedge");
        let expected = ["timeout", "retry", "hedge", "breaker", "limit", "timeout"];
        let expected: Vec<_> = expected.into_iter().filter(|p| hedged || *p != "hedge").collect();
        assert_eq!(patterns, expected);
    }
    assert!(Stack::llm("t").to_string().ends_with("5. timeout `t`  60s\n"));
}

#[test]
fn an_outline_lists_what_is_there_and_nothing_else() {
    let layers = ServiceBuilder::new()
        .map_request(|n: u32| n)
        .time_limit(20 * SECOND)
        .option_layer(Some(RetryLayer::new().budget(Budget::default())))
        .option_layer(None::<HedgeLayer>)
        .layer(BreakerLayer::default().name("search").keyed(|n: &u32| *n))
        .layer(BreakerLayer::new(Trigger::flaky()).single())
        .layer(TimeoutLayer::new(5 * SECOND).and_readiness())
        .map_err(CallError::<BoxError>::Service);
    // What is layered elsewhere in between is none of its business.
    let other = TimeoutLayer::new(SECOND).layer(());
    let (_, parts) = outline(&layers, service_fn(async |n: u32| Ok::<_, BoxError>(n)));
    drop(other);
    assert_eq!(
        parts.to_string(),
        "1. timeout           20s\n\
         2. retry             3 attempts, after 100ms × 2 up to 10s, within a budget\n\
         3. breaker `search`  opens when 50 % failures fit better than 10 %, for each key, \
         tries again after 5s × 2 up to 30s\n\
         4. breaker           opens when 70 % failures fit better than 20 %, \
         tries again after 5s × 2 up to 30s\n\
         5. timeout           5s, readiness included\n"
    );
    assert!(parts.check().is_ok());
    assert_eq!(outline(&(), ()).1.len(), 0);
}

#[test]
fn layers_over_several_services_are_listed_with_what_they_call() {
    type Boxed = BoxCloneSyncService<u32, u32, BoxError>;
    let tool = || Boxed::new(service_fn(async |n: u32| Ok::<_, BoxError>(n)));
    let two = NonZeroU32::MIN.saturating_add(1);
    let fallback = FallbackLayer::to(tool()).named("cheaper").then_value(0).named("rule");
    let limit = LimitLayer::fixed(two);
    let cases: [(&dyn Fn(Boxed) -> Boxed, &str); 9] = [
        (&|s| Boxed::new(fallback.layer(s)), "fallback  primary, then cheaper, then rule"),
        (
            &|s| Boxed::new(QuorumLayer::of(3).agree_by(|n: &u32| *n).layer(s)),
            "quorum  2 of 3 agree",
        ),
        (
            &|s| {
                let layer = QuorumLayer::with(vec![tool(); 3]).weights([two]).lazy(SECOND);
                Boxed::new(layer.layer(s))
            },
            "quorum  3 of 5 agree, 4 members by weight, asked as needed and after 1s",
        ),
        (
            &|s| {
                let layer = DegradeLayer::new().required("b", tool()).optional("c", tool());
                Boxed::new(layer.layer(s).map_response(|answers| answers.len() as u32))
            },
            "degrade  2 required members, 1 optional",
        ),
        (
            &|s| Boxed::new(FailoverLayer::active_active().standby("b", tool()).layer(s)),
            "failover  2 replicas, all active",
        ),
        (
            &|s| Boxed::new(FailoverLayer::active_passive().standby("b", tool()).layer(s)),
            "failover  2 replicas, one active",
        ),
        (&|s| Boxed::new(limit.layer(s)), "limit  2 at once, as many in line"),
        (&|s| Boxed::new(limit.clone().queue(3).layer(s)), "limit  2 at once, 3 in line"),
        (
            &|s| Boxed::new(LimitLayer::adaptive().layer(s)),
            "limit  20 at once to begin with, adapts from 1 to 1000, as many in line",
        ),
    ];
    for (over, expected) in cases {
        let (_, parts) = outline(&layer_fn(over), tool());
        assert_eq!(parts.to_string(), format!("1. {expected}\n"));
    }
}

#[test]
fn a_harmful_order_is_refused_with_advice() {
    let tool = service_fn(async |n: u32| Ok::<_, BoxError>(n));
    let disorder = ServiceBuilder::new()
        .breaker(BreakerLayer::default())
        .retry_classified(RetryLayer::new())
        .time_limit(5 * SECOND)
        .time_limit(5 * SECOND)
        .check(tool)
        .unwrap_err();
    let rules: Vec<_> = disorder.clashes().map(|clash| clash.rule).collect();
    assert_eq!(rules, [Rule::BreakerBlinded, Rule::NeverFires]);
    let fine = ServiceBuilder::new().time_limit(SECOND).retry_classified(RetryLayer::new());
    assert!(fine.check(tool).is_ok());
}

/// What the rule about breakers and retries is worth: the documents' own figures.
#[tokio::test(start_paused = true)]
async fn a_breaker_outside_of_a_retry_opens_late() {
    type Boxed = tower::util::BoxCloneService<ProbeRequest, ProbeReply, ProbeError>;
    let five = || BreakerLayer::new(Trigger::consecutive(5.try_into().unwrap()));
    let retry = || {
        let backoff = Backoff::exponential(SECOND / 2, 10 * SECOND).jitter(Jitter::None);
        RetryLayer::new().attempts(4).backoff(backoff)
    };
    let dead = || {
        let probe = ProbeService::new(1);
        probe.handle().otherwise(Act::fail(Verdict::transient()));
        (probe.handle(), probe)
    };
    let mut figures = vec![];
    for inside in [false, true] {
        let (handle, probe) = dead();
        let breaker = five();
        let circuit = breaker.handle();
        let mut service: Boxed = if inside {
            let stack = ServiceBuilder::new().layer(retry()).layer(breaker);
            Boxed::new(stack.service(probe))
        } else {
            let stack = ServiceBuilder::new().layer(breaker).layer(retry());
            Boxed::new(stack.service(probe))
        };
        let start = Instant::now();
        while circuit.state() == State::Closed {
            let _ = service.ready().await.unwrap().call(ProbeRequest::new(1)).await;
        }
        figures.push((handle.counts().calls, start.elapsed()));
    }
    assert_eq!(figures[0].0, 20, "five calls of four attempts");
    assert_eq!(figures[1].0, 5);
    assert!(figures[0].1 > 4 * figures[1].1, "{figures:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_in_time_whatever_happens_inside() {
    let start = Instant::now();
    let hangs = service_fn(async |(): ()| std::future::pending::<Result<(), BoxError>>().await);
    let error = Stack::tool("hang").within(12 * SECOND).layer(hangs).oneshot(()).await.unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Rejection::timeout(12 * SECOND)));
    assert_eq!(start.elapsed(), 12 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_inside_of_what_repeats_is_found() {
    let checkpoint = || {
        CheckpointLayer::new(MemoryStore::new(), Effects::SideEffect(InDoubt::Retry)).name("pay")
    };
    let tool = service_fn(async |step: Step<u32>| Ok::<u32, BoxError>(step.request));
    let disorder = ServiceBuilder::new()
        .retry_classified(RetryLayer::new())
        .checkpoint(checkpoint())
        .check(tool)
        .unwrap_err();
    assert_eq!(
        disorder.to_string(),
        "retry (1) around checkpoint `pay` (2): each attempt begins the step anew, \
         put the checkpoint outside",
    );
    let cut = ServiceBuilder::new().time_limit(SECOND).checkpoint(checkpoint()).check(tool);
    assert_eq!(cut.unwrap_err().clashes().next().unwrap().rule, Rule::RecordingCut);
    let detached = checkpoint().detach_on_drop();
    ServiceBuilder::new().time_limit(SECOND).layer(detached).check(tool).unwrap();
    let stack = ServiceBuilder::new().checkpoint(checkpoint()).layer(Stack::tool("pay"));
    let (_, parts) = outline(&stack, tool);
    parts.check().unwrap();
    let first = parts.iter().next().unwrap();
    assert_eq!(
        (first.title(), first.detail()),
        ("checkpoint `pay`", "a side effect, in doubt done again")
    );
}
