use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress::{Effect, Fault, Kind, Ratio, Rejection, TimeoutLayer, Verdict};
use buttress_sim::{
    Burst, Calls, Ended, FailKind, Fate, Faults, Outcome, Rule, Shares, Takes, Tool, ToolError,
    ToolReply, ToolRequest, When, Window,
};
use tokio::{task::JoinSet, time::Instant};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::support::poll_once;

const SECOND: Duration = Duration::from_secs(1);

async fn ask(tool: &Tool) -> Result<ToolReply, ToolError> {
    tool.clone().oneshot(ToolRequest::from("user profile")).await
}

fn only(call: u64) -> When {
    When::Calls(Calls::between(call, call).unwrap())
}

fn always(fate: Fate<Takes>) -> Tool {
    Tool::new(Faults::none().rule(Rule::new(When::Always, fate)), 7)
}

/// Everything that goes wrong at once, and nothing that takes time.
fn mixed() -> Faults {
    let burst = Burst::new(Ratio::percent(2), Ratio::percent(10));
    let reset = Fate::Fail { kind: FailKind::Reset, after: Takes::NOTHING };
    let throttle = Fate::Throttle { retry_after: Some(SECOND), after: Takes::NOTHING };
    Faults::new(Shares::new(0.2, 0.1).unwrap())
        .rule(Rule::new(When::Burst(burst), reset))
        .rule(Rule::new(When::Share(Ratio::percent(5)), throttle))
        .rule(Rule::new(only(7), Fate::Corrupt { takes: Takes::NOTHING }))
}

/// Notes the fate of each call, by its number.
fn noting(faults: Faults) -> (Tool, Arc<Mutex<Vec<(u64, Fate)>>>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let listener = notes.clone();
    let tool = Tool::new(faults, 7).on_outcome(move |outcome: &Outcome<'_>| {
        listener.lock().unwrap().push((outcome.call, outcome.fate));
    });
    (tool, notes)
}

#[tokio::test(start_paused = true)]
async fn the_order_of_polling_changes_nothing() {
    let mut runs = Vec::new();
    for backwards in [false, true] {
        let mut tool = Tool::new(Faults::unreliable(), 7);
        let mut calls: Vec<_> =
            (0..200).map(|_| Box::pin(tool.call(ToolRequest::from("q")))).collect();
        let mut outcomes = Vec::new();
        if backwards {
            while let Some(call) = calls.pop() {
                outcomes.push(call.await);
            }
            outcomes.reverse();
        } else {
            for call in calls {
                outcomes.push(call.await);
            }
        }
        runs.push(outcomes);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].iter().any(Result::is_err) && runs[0].iter().any(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_number_of_workers_changes_nothing() {
    const CALLS: u64 = 4_000;
    const CRASH: u64 = 3_500;
    let crash = Fate::Crash { restart_after: None };
    let (tool, notes) = noting(mixed().rule(Rule::new(only(CRASH), crash)));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let tool = tool.clone();
        callers.spawn(async move {
            for _ in 0..CALLS / 8 {
                let _ = ask(&tool).await;
                tokio::task::yield_now().await;
            }
        });
    }
    callers.join_all().await;
    let mut notes = std::mem::take(&mut *notes.lock().unwrap());
    notes.sort_unstable_by_key(|(call, _)| *call);
    // A rule before the crash may decide call 3 500 first; not with this seed.
    let expected: Vec<_> = (1..=CALLS)
        .map(|call| match call {
            CRASH.. => (call, Fate::Crash { restart_after: None }),
            _ => (call, mixed().fate(7, call, Duration::ZERO)),
        })
        .collect();
    assert_eq!(notes, expected);
}

#[tokio::test(start_paused = true)]
async fn the_unreliable_tool_has_the_statistics_of_the_documents() {
    const CALLERS: u32 = 1_000;
    const CALLS: u32 = 100_000;
    let tool = Tool::new(Faults::unreliable(), 7);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let tool = tool.clone();
        callers.spawn(async move {
            let (mut answers, mut seconds) = (0, 0.0);
            for _ in 0..CALLS / CALLERS {
                let start = Instant::now();
                if ask(&tool).await.is_ok() {
                    answers += 1;
                    seconds += start.elapsed().as_secs_f64();
                }
            }
            (answers, seconds)
        });
    }
    let (mut answers, mut seconds) = (0, 0.0);
    for (a, s) in callers.join_all().await {
        answers += a;
        seconds += s;
    }
    let (total, answered) = (f64::from(CALLS), f64::from(answers));
    assert!((answered / total - 0.8).abs() < 0.0033, "{answered}");
    assert!((seconds / answered - 1.406).abs() < 0.016, "{}", seconds / answered);
    let stats = tool.stats();
    assert_eq!((stats.launched, stats.in_flight()), (CALLS.into(), 0));
    assert_eq!(stats.answered + stats.failed(FailKind::Connect), stats.launched);
    assert!((stats.busy.as_secs_f64() - seconds).abs() < 1e-3, "{:?} {seconds}", stats.busy);
}

#[tokio::test(start_paused = true)]
async fn failures_come_in_bursts() {
    const CALLS: usize = 20_000;
    let burst = Burst::new(Ratio::percent(1), Ratio::percent(10));
    let broken = Fate::Fail { kind: FailKind::Reset, after: Takes::NOTHING };
    let tool = Tool::new(Faults::none().rule(Rule::new(When::Burst(burst), broken)), 7);
    let mut failed = Vec::new();
    for _ in 0..CALLS {
        failed.push(ask(&tool).await == Err(ToolError::Failed(FailKind::Reset)));
    }
    let share = failed.iter().filter(|failed| **failed).count() as f64 / CALLS as f64;
    let after_failure = failed.windows(2).filter(|pair| pair[0] && pair[1]).count() as f64
        / failed.windows(2).filter(|pair| pair[0]).count() as f64;
    // 1 in 11 overall, 9 in 10 after a failure.
    assert!((share - 1.0 / 11.0).abs() < 0.03, "{share}");
    assert!((after_failure - 0.9).abs() < 0.04, "{after_failure}");
}

#[tokio::test(start_paused = true)]
async fn an_outage_has_its_time() {
    let outage = When::During(Window::seconds(10.0, 20.0).unwrap());
    let down = Fate::Fail { kind: FailKind::Unavailable, after: Takes::NOTHING };
    let tool = Tool::new(Faults::none().rule(Rule::new(outage, down)), 7);
    // The time before the first call does not count.
    tokio::time::advance(100 * SECOND).await;
    let mut failed = Vec::new();
    for second in 0..30 {
        if ask(&tool).await.is_err() {
            failed.push(second);
        }
        tokio::time::advance(SECOND).await;
    }
    assert_eq!(failed, (10..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_slowdown_keeps_everything_else() {
    let slowly = Rule::delay(When::During(Window::seconds(0.0, 15.0).unwrap()), 3 * SECOND);
    let tool = Tool::new(Faults::none().fast_takes(SECOND).rule(slowly), 7);
    let mut took = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        ask(&tool).await.unwrap();
        took.push(start.elapsed().as_secs());
    }
    assert_eq!(took, [4, 4, 4, 4, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_lasts_until_the_restart() {
    let crash = Fate::Crash { restart_after: None };
    let tool = Tool::new(Faults::none().rule(Rule::new(only(2), crash)), 7);
    assert!(ask(&tool).await.is_ok());
    for _ in 0..3 {
        assert_eq!(ask(&tool.clone()).await, Err(ToolError::Crashed));
    }
    tool.restart();
    assert!(ask(&tool).await.is_ok());
    assert_eq!(tool.stats().crashed, 3);
}

#[tokio::test(start_paused = true)]
async fn a_crash_may_end_by_itself() {
    let crash = Fate::Crash { restart_after: Some(5 * SECOND) };
    let tool = Tool::new(Faults::none().rule(Rule::new(only(1), crash)), 7);
    assert_eq!(ask(&tool).await, Err(ToolError::Crashed));
    tokio::time::advance(4 * SECOND).await;
    assert_eq!(ask(&tool).await, Err(ToolError::Crashed));
    tokio::time::advance(SECOND).await;
    assert!(ask(&tool).await.is_ok());
}

#[test]
fn what_takes_no_time_needs_no_runtime() {
    let mut tool = Tool::new(Faults::new(Shares::new(1.0, 0.0).unwrap()), 7);
    let mut call = pin!(tool.call(ToolRequest::from("q")));
    let mut cx = Context::from_waker(Waker::noop());
    let outcome = call.as_mut().poll(&mut cx);
    assert_eq!(outcome, Poll::Ready(Err(ToolError::Failed(FailKind::Connect))));
    assert_eq!(call.as_mut().poll(&mut cx), Poll::Pending);
    assert_eq!((tool.stats().launched, tool.stats().busy), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn busy_is_the_time_until_the_end_or_the_drop() {
    let mut tool = Tool::new(Faults::none().fast_takes(10 * SECOND), 7);
    drop(tool.call(ToolRequest::from("never polled")));
    assert_eq!((tool.stats().cancelled, tool.stats().busy), (1, Duration::ZERO));

    let mut late = Box::pin(tool.call(ToolRequest::from("polled late")));
    tokio::time::advance(SECOND).await;
    assert!(poll_once(late.as_mut()).await.is_pending());
    tokio::time::advance(3 * SECOND).await;
    assert_eq!(tool.stats().in_flight(), 1);
    drop(late);
    assert_eq!((tool.stats().cancelled, tool.stats().busy), (2, 3 * SECOND));

    ask(&tool).await.unwrap();
    let stats = tool.stats();
    assert_eq!((stats.answered, stats.cancelled, stats.busy), (1, 2, 13 * SECOND));
    assert_eq!(stats.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_ends_by_the_caller() {
    let tool = always(Fate::Hang);
    let service = ServiceBuilder::new().layer(TimeoutLayer::new(2 * SECOND)).service(tool.clone());
    let error = service.oneshot(ToolRequest::from("q")).await.unwrap_err();
    assert_eq!(error, ToolError::Rejected(Rejection::timeout(2 * SECOND)));
    assert_eq!((tool.stats().cancelled, tool.stats().busy), (1, 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn wrong_answers_look_like_answers() {
    let (right, wrong) =
        (Tool::new(Faults::none(), 7), always(Fate::Corrupt { takes: Takes::NOTHING }));
    let (right, wrong) = (ask(&right).await.unwrap(), ask(&wrong).await.unwrap());
    assert!(right.correct && !wrong.correct);
    assert_eq!(right.instance, wrong.instance);
    assert_ne!(right.text(), wrong.text());
    let expected =
        format!("Data for 'user profile' successfully retrieved by instance {}.", right.instance);
    assert_eq!(right.text(), expected);
}

#[tokio::test(start_paused = true)]
async fn errors_say_what_they_mean() {
    let fail = |kind| Fate::Fail { kind, after: Takes::NOTHING };
    let throttle = Fate::Throttle { retry_after: Some(SECOND), after: Takes::NOTHING };
    let table = [
        (fail(FailKind::Connect), Kind::Transient, Effect::None),
        (fail(FailKind::Reset), Kind::Transient, Effect::Maybe),
        (fail(FailKind::Timeout), Kind::Transient, Effect::Maybe),
        (fail(FailKind::Unavailable), Kind::Transient, Effect::None),
        (fail(FailKind::BadRequest), Kind::Permanent, Effect::None),
        (fail(FailKind::Quota), Kind::Reroute, Effect::None),
        (fail(FailKind::Mystery), Kind::Unknown, Effect::Maybe),
        (throttle, Kind::Throttled, Effect::None),
        (Fate::DropMidAnswer { after: Takes::NOTHING }, Kind::Transient, Effect::Applied),
        (Fate::Crash { restart_after: None }, Kind::Transient, Effect::Maybe),
    ];
    for (fate, kind, effect) in table {
        let verdict = ask(&always(fate)).await.unwrap_err().verdict();
        assert_eq!((verdict.kind, verdict.effect), (kind, effect), "{fate:?}");
        let retry_after = (kind == Kind::Throttled).then_some(SECOND);
        assert_eq!(verdict.retry_after, retry_after, "{fate:?}");
    }
    let rejection = Rejection::timeout(SECOND);
    assert_eq!(ToolError::from(rejection).verdict(), Verdict::transient());
}

#[tokio::test(start_paused = true)]
async fn each_end_is_told_once() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = told.clone();
    let broken = Fate::Fail { kind: FailKind::Reset, after: Takes::exactly(SECOND) };
    let mut tool = Tool::new(Faults::none().rule(Rule::new(only(2), broken)), 7)
        .name("search")
        .on_outcome(move |outcome: &Outcome<'_>| {
            let Outcome { tool, call, ended, ran, .. } = outcome;
            listener.lock().unwrap().push((tool.to_string(), *call, *ended, *ran));
        });
    assert!(ask(&tool).await.is_ok());
    assert!(ask(&tool).await.is_err());
    drop(tool.call(ToolRequest::from("q")));
    let search = |call, ended, ran| ("search".to_owned(), call, ended, ran);
    assert_eq!(
        *told.lock().unwrap(),
        [
            search(1, Ended::Answered, Duration::ZERO),
            search(2, Ended::Failed, SECOND),
            search(3, Ended::Cancelled, Duration::ZERO),
        ]
    );
}
