use std::{num::NonZero, time::Duration};

use buttress::{Factor, TimeoutLayer};
use buttress_sim::{
    Calls, Capacity, FailKind, Fate, Faults, Rule, Shares, Takes, Tool, ToolError, ToolFuture,
    ToolReply, ToolRequest, When, Window,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{Service, ServiceBuilder, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

fn workers(workers: u32) -> Capacity {
    Capacity::workers(NonZero::new(workers).unwrap())
}

/// A tool whose calls take a second.
fn tool(capacity: Capacity) -> Tool {
    Tool::new(Faults::none().fast_takes(SECOND), 7).capacity(capacity)
}

fn ask(tool: &Tool) -> ToolFuture {
    tool.clone().call(ToolRequest::from("user profile"))
}

/// The seconds at which calls end that are all made now.
async fn ends(tool: &Tool, calls: usize) -> Vec<u64> {
    let start = Instant::now();
    let calls: Vec<_> = (0..calls).map(|_| ask(tool)).collect();
    let mut ends = Vec::new();
    for call in calls {
        call.await.unwrap();
        ends.push(start.elapsed().as_secs());
    }
    ends
}

#[tokio::test(start_paused = true)]
async fn calls_are_served_in_the_order_they_come_in() {
    let tool = tool(workers(2));
    assert_eq!(ends(&tool, 6).await, [1, 1, 2, 2, 3, 3]);
    let stats = tool.stats();
    assert_eq!((stats.longest_queue, stats.queued, stats.refused), (4, 0, 0));
    assert_eq!((stats.worked, stats.wasted), (6 * SECOND, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn the_queue_empties_as_calls_are_taken_up() {
    let tool = tool(workers(1));
    let calls: Vec<_> = (0..4).map(|_| ask(&tool)).collect();
    let mut queued = Vec::new();
    for _ in 0..5 {
        queued.push(tool.stats().queued);
        sleep(SECOND).await;
    }
    assert_eq!(queued, [3, 2, 1, 0, 0]);
    drop(calls);
    assert_eq!((tool.stats().cancelled, tool.stats().wasted), (4, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_keeps_the_place() {
    let tool = tool(workers(1));
    let [served, waiting, unpolled] = [(); 3].map(|()| Box::pin(ask(&tool)));
    let limit = SECOND / 2;
    let (served, waiting) =
        tokio::join!(tokio::time::timeout(limit, served), tokio::time::timeout(limit, waiting));
    assert!(served.is_err() && waiting.is_err());
    drop(unpolled);
    // Two and a half of three seconds of work are for nobody, and the next call comes after them.
    assert_eq!(tool.stats().wasted, 5 * SECOND / 2);
    let start = Instant::now();
    assert!(ask(&tool).await.is_ok());
    assert_eq!(start.elapsed(), 7 * SECOND / 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_as_it_is_told() {
    let retry_after = Some(3 * SECOND);
    let throttle = Fate::Throttle { retry_after, after: Takes::NOTHING };
    let ends = [
        (workers(1).queue(1), ToolError::Failed(FailKind::Unavailable)),
        (workers(1).queue(1).when_full(throttle), ToolError::Throttled { retry_after }),
    ];
    for (capacity, error) in ends {
        let tool = tool(capacity);
        let [served, waiting, refused] = [(); 3].map(|()| ask(&tool));
        assert_eq!(refused.await, Err(error));
        assert!(served.await.is_ok() && waiting.await.is_ok());
        let stats = tool.stats();
        assert_eq!((stats.refused, stats.failures(), stats.longest_queue), (1, 1, 1));
        assert!(ask(&tool).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn an_overload_may_crash_it() {
    let crash = Fate::Crash { restart_after: Some(5 * SECOND) };
    let tool = tool(workers(1).queue(0).when_full(crash));
    let [served, crashing, down] = [(); 3].map(|()| ask(&tool));
    assert_eq!((crashing.await, down.await), (Err(ToolError::Crashed), Err(ToolError::Crashed)));
    assert!(served.await.is_ok());
    assert_eq!(ask(&tool).await, Err(ToolError::Crashed));
    sleep(5 * SECOND).await;
    assert!(ask(&tool).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_slowdown_strikes_what_is_taken_up_in_it() {
    let window = When::During(Window::seconds(2.0, 4.0).unwrap());
    let slow = Rule::slowdown(window, Factor::new(3.0).unwrap());
    let faults = Faults::none().fast_takes(SECOND).rule(slow);
    let one = Tool::new(faults.clone(), 7).capacity(workers(1));
    // All are made at second 0; one is taken up at second 2.
    assert_eq!(ends(&one, 5).await, [1, 2, 5, 6, 7]);
    // Without workers, what a call meets is what there is when it is made, before the window.
    assert_eq!(ends(&Tool::new(faults, 7), 5).await, [1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn what_takes_no_time_needs_no_worker() {
    let tenth = When::Calls(Calls::every(NonZero::new(10).unwrap()));
    let faults = Faults::new(Shares::new(1.0, 0.0).unwrap()).rule(Rule::new(tenth, Fate::Hang));
    let tool = Tool::new(faults, 7).capacity(workers(1));
    for _ in 0..9 {
        assert_eq!(ask(&tool).await, Err(ToolError::Failed(FailKind::Connect)));
    }
    // What hangs keeps the only worker, which hinders nobody who needs none.
    assert!(tokio::time::timeout(SECOND, ask(&tool)).await.is_err());
    assert_eq!(ask(&tool).await, Err(ToolError::Failed(FailKind::Connect)));
    assert_eq!(tool.stats().worked, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_order_of_polling_changes_nothing_for_workers() {
    let mut runs = Vec::new();
    for backwards in [false, true] {
        let tool = Tool::new(Faults::unreliable(), 7).capacity(workers(3).queue(50));
        let mut calls: Vec<_> = (0..100).map(|call| (call, ask(&tool))).collect();
        if backwards {
            calls.reverse();
        }
        let start = Instant::now();
        let mut set = JoinSet::new();
        for (call, future) in calls {
            set.spawn(async move { (call, future.await, start.elapsed()) });
        }
        let mut ended: Vec<(u64, Result<ToolReply, ToolError>, Duration)> = set.join_all().await;
        ended.sort_by_key(|(call, ..)| *call);
        runs.push(ended);
    }
    assert_eq!(runs[0], runs[1]);
}

/// Makes calls that nobody waits for longer than 2 s; says how many of the last ten are answered.
async fn answered(every: Duration) -> usize {
    let tool = tool(workers(1));
    // The trigger: ten calls at once. It is over with them.
    drop((0..10).map(|_| ask(&tool)).collect::<Vec<_>>());
    let stack = ServiceBuilder::new().layer(TimeoutLayer::new(2 * SECOND)).service(tool.clone());
    let mut calls = JoinSet::new();
    for call in 0..60 {
        let stack = stack.clone();
        calls.spawn(async move {
            (call, stack.oneshot(ToolRequest::from("user profile")).await.is_ok())
        });
        sleep(every).await;
    }
    let ended: Vec<(usize, bool)> = calls.join_all().await;
    ended.iter().filter(|(call, answered)| *call >= 50 && *answered).count()
}

#[tokio::test(start_paused = true)]
async fn an_overload_outlasts_its_cause() {
    // At its capacity the queue never gets shorter, and every call is worked on too late.
    assert_eq!(answered(SECOND).await, 0);
    // Below it recovers.
    assert_eq!(answered(5 * SECOND / 4).await, 10);
}
