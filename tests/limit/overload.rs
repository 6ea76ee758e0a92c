//! A server with a capacity, clients that retry, and a time in which it is six times slower.
//!
//! The server does not notice that a client has gone: it works off what it took in, for nobody.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::*;
use crate::support::Failed;
use buttress::RetryLayer;
use tokio::time::sleep_until;
use tower::util::BoxCloneService;

/// Calls that the server works on at once, and for how long on each.
const WORKERS: usize = 5;
const WORK: Duration = Duration::from_millis(100);
/// Calls that it can answer in a second.
const CAPACITY: f64 = 50.0;

const SLOW_FROM: u64 = 10;
const SLOW_UNTIL: u64 = 25;
const END: u64 = 45;

/// When the server will be done with what it has taken in.
struct Server {
    start: Instant,
    free: Mutex<BinaryHeap<Reverse<Instant>>>,
}

impl Server {
    fn new() -> Arc<Self> {
        let start = Instant::now();
        let free = Mutex::new((0..WORKERS).map(|_| Reverse(start)).collect());
        Arc::new(Self { start, free })
    }

    /// Takes a call in, and tells when it will be answered.
    fn take_in(&self) -> Instant {
        let mut free = self.free.lock().unwrap();
        let Reverse(worker) = free.pop().expect("there are workers");
        let begin = worker.max(Instant::now());
        let slow = (SLOW_FROM..SLOW_UNTIL).contains(&(begin - self.start).as_secs());
        let end = begin + if slow { 6 * WORK } else { WORK };
        free.push(Reverse(end));
        end
    }
}

type Tool = BoxCloneService<(), (), Failed>;

/// Answers in each second, at a load in times of the capacity.
async fn goodput(load: f64, limited: impl FnOnce(Tool) -> Tool) -> Vec<u32> {
    let server = Server::new();
    let start = server.start;
    let tool = BoxCloneService::new(service_fn(move |(): ()| {
        let end = server.take_in();
        async move {
            sleep_until(end).await;
            Ok::<_, Failed>(())
        }
    }));
    let attempt = BoxCloneService::new(TimeoutLayer::new(SECOND).layer(tool));
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(3 * SECOND).and_readiness())
        .layer(RetryLayer::new().attempts(3))
        .service(limited(attempt));
    let answers = Arc::new(Mutex::new(vec![0; END as usize + 10]));
    let gap = Duration::from_secs_f64(1.0 / (CAPACITY * load));
    for call in 0.. {
        let due = start + gap * call;
        if (due - start).as_secs() >= END {
            break;
        }
        sleep_until(due).await;
        let (service, answers) = (service.clone(), answers.clone());
        tokio::spawn(async move {
            if service.oneshot(()).await.is_ok() {
                answers.lock().unwrap()[start.elapsed().as_secs() as usize] += 1;
            }
        });
    }
    answers.lock().unwrap().clone()
}

fn per_second(answers: &[u32], from: u64, until: u64) -> f64 {
    let sum: u32 = answers[from as usize..until as usize].iter().sum();
    f64::from(sum) / (until - from) as f64
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_limit_keeps_the_goodput_up_and_recovers() {
    for load in [0.5, 0.9, 1.2, 2.0] {
        let answers =
            goodput(load, |tool| BoxCloneService::new(LimitLayer::adaptive().layer(tool))).await;
        let expected = 0.9 * CAPACITY * load.min(1.0);
        let before = per_second(&answers, 1, SLOW_FROM);
        assert!(before >= expected, "load {load}: {before} of {expected}: {answers:?}");
        // Within ten seconds.
        let after = per_second(&answers, SLOW_UNTIL + 10, END);
        assert!(after >= expected, "load {load}: {after} of {expected}: {answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_it_stays_down() {
    // The check above means something: this is what it keeps from happening.
    let answers = goodput(0.9, |tool| tool).await;
    let after = per_second(&answers, SLOW_UNTIL + 10, END);
    assert!(after < 0.2 * CAPACITY, "{after}: {answers:?}");
}
