//! BreakerLayer: what a caller sees.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

use std::{
    fmt,
    future::poll_fn,
    io,
    num::{NonZeroU32, NonZeroUsize},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use crate::support::poll_once;
use buttress::{
    Backoff, BreakerLayer, CallError, Event, Fault, Jitter, Kind, Probes, Ratio, Rejection, Teller,
    TimeoutLayer, Trigger, Verdict, Why, Window,
    breaker::{Breaker, BreakerHandle, State},
};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, advance, sleep},
};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);
const OPEN: Duration = Duration::from_secs(5);

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// Opens at the second failure in a row, for five seconds to the millisecond.
fn two() -> BreakerLayer {
    BreakerLayer::new(Trigger::consecutive(number(2)))
        .open_for(Backoff::exponential(OPEN, 4 * OPEN).jitter(Jitter::None))
}

/// What a request asks the service to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Do {
    Answer,
    Fail,
    Throttle(Duration),
    Say(Kind),
    Hang,
    Panic,
}

#[derive(Debug, PartialEq)]
enum Error {
    Failed(Verdict),
    Rejected(Rejection),
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Fault for Error {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Failed(verdict) => *verdict,
            Self::Rejected(rejection) => rejection.verdict(),
        }
    }
}

/// Does as it is told, and counts.
#[derive(Clone, Default)]
struct Tool(Arc<Counts>);

#[derive(Default)]
struct Counts {
    polled: AtomicU32,
    called: AtomicU32,
    running: AtomicU32,
}

struct Running(Arc<Counts>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tool {
    fn polled(&self) -> u32 {
        self.0.polled.load(Ordering::Relaxed)
    }

    fn called(&self) -> u32 {
        self.0.called.load(Ordering::Relaxed)
    }

    fn running(&self) -> u32 {
        self.0.running.load(Ordering::Relaxed)
    }
}

impl Service<Do> for Tool {
    type Response = ();
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.polled.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Do) -> Self::Future {
        self.0.called.fetch_add(1, Ordering::Relaxed);
        self.0.running.fetch_add(1, Ordering::Relaxed);
        let running = Running(self.0.clone());
        Box::pin(async move {
            let _running = running;
            let fail = |verdict| Err(Error::Failed(verdict));
            match request {
                Do::Answer => Ok(()),
                Do::Fail => fail(Verdict::transient()),
                Do::Throttle(wait) => fail(Verdict::throttled().with_retry_after(wait)),
                Do::Say(Kind::Permanent) => fail(Verdict::permanent()),
                Do::Say(Kind::Unknown) => fail(Verdict::unknown()),
                Do::Say(Kind::Reroute) => fail(Verdict::reroute()),
                Do::Say(Kind::Rejected) => fail(Verdict::rejected()),
                Do::Say(kind) => unreachable!("{kind}"),
                Do::Hang => std::future::pending().await,
                Do::Panic => panic!("planned"),
            }
        })
    }
}

type Wrapped = Breaker<Tool>;

fn over(layer: BreakerLayer) -> (Wrapped, BreakerHandle, Tool) {
    let (tool, handle) = (Tool::default(), layer.handle());
    (layer.layer(tool.clone()), handle, tool)
}

async fn call(service: &mut Wrapped, request: Do) -> Result<(), Error> {
    service.ready().await?.call(request).await
}

/// Brings a breaker of `two` to open.
async fn trip(service: &mut Wrapped) {
    for _ in 0..2 {
        call(service, Do::Fail).await.unwrap_err();
    }
}

fn is_open<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Rejected(Rejection::Open { .. })))
}

fn listen(layer: BreakerLayer) -> (BreakerLayer, Arc<Mutex<Vec<Event>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let events = heard.clone();
    let layer = layer.observe(move |teller: Teller<'_>, event: &Event| {
        assert_eq!(teller.pattern, "breaker");
        events.lock().unwrap().push(*event);
    });
    (layer, heard)
}

#[tokio::test(start_paused = true)]
async fn the_default_opens_at_the_sixth_failure_of_an_outage() {
    let (mut service, handle, tool) = over(BreakerLayer::default());
    for _ in 0..6 {
        assert_eq!(handle.state(), State::Closed);
        assert!(!is_open(&call(&mut service, Do::Fail).await));
    }
    assert_eq!(handle.state(), State::Open);
    assert!(is_open(&call(&mut service, Do::Answer).await));
    assert_eq!(tool.called(), 6);
}

#[tokio::test(start_paused = true)]
async fn open_neither_polls_nor_calls_the_inner_service() {
    let (mut service, _, tool) = over(two().name("search"));
    trip(&mut service).await;
    let (polled, called) = (tool.polled(), tool.called());
    advance(SECOND).await;
    for _ in 0..3 {
        let error = call(&mut service, Do::Answer).await.unwrap_err();
        let expected = Rejection::open("search", Some(4 * SECOND));
        assert_eq!(error, Error::Rejected(expected));
    }
    assert_eq!((tool.polled(), tool.called()), (polled, called));
}

#[tokio::test(start_paused = true)]
async fn two_of_three_probes_close_it() {
    let (mut service, handle, tool) = over(two());
    trip(&mut service).await;
    advance(OPEN).await;
    call(&mut service, Do::Answer).await.unwrap();
    assert_eq!(handle.state(), State::HalfOpen);
    call(&mut service, Do::Fail).await.unwrap_err();
    assert_eq!(handle.state(), State::HalfOpen, "one failed probe does not decide");
    call(&mut service, Do::Answer).await.unwrap();
    assert_eq!(handle.state(), State::Closed);
    assert_eq!(tool.called(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_open_time_doubles_up_to_its_cap_and_starts_over_once_closed() {
    let (mut service, handle, _) = over(two());
    trip(&mut service).await;
    for seconds in [5, 10, 20, 20] {
        assert_eq!(handle.retry_after(), Some(seconds * SECOND));
        advance(seconds * SECOND).await;
        assert_eq!(handle.retry_after(), Some(Duration::ZERO));
        trip(&mut service).await;
    }
    advance(20 * SECOND).await;
    for _ in 0..2 {
        call(&mut service, Do::Answer).await.unwrap();
    }
    assert_eq!((handle.state(), handle.retry_after()), (State::Closed, None));
    trip(&mut service).await;
    assert_eq!(handle.retry_after(), Some(OPEN));
}

#[tokio::test(start_paused = true)]
async fn half_open_under_fifty_callers_admits_exactly_its_probes() {
    let (mut service, handle, tool) = over(two().probes(Probes::new(2, 3)));
    trip(&mut service).await;
    advance(OPEN).await;
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let mut service = service.clone();
            tokio::spawn(async move { call(&mut service, Do::Hang).await })
        })
        .collect();
    sleep(SECOND).await;
    assert_eq!((tool.called(), tool.running()), (2 + 3, 3));
    assert_eq!(handle.counters().rejected, 47);
    for caller in callers {
        caller.abort();
    }
}

#[test]
fn half_open_on_many_threads_admits_exactly_its_probes() {
    // No runtime is needed while no call waits.
    fn start(service: &mut Wrapped, request: Do) -> (Pin<Box<Call>>, bool) {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let mut call = Box::pin(service.call(request));
        let done = call.as_mut().poll(&mut cx).is_ready();
        (call, done)
    }
    type Call = <Wrapped as Service<Do>>::Future;
    let (mut service, handle, tool) = over(two().open_for(Backoff::none()));
    for _ in 0..2 {
        assert!(start(&mut service, Do::Fail).1);
    }
    assert_eq!(handle.state(), State::Open);
    let hanging = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let mut service = service.clone();
                scope.spawn(move || (0..8).map(|_| start(&mut service, Do::Hang)).collect())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<Vec<_>>>()
    });
    assert_eq!((tool.called(), handle.counters().rejected), (2 + 3, 61));
    drop(hanging);
    assert_eq!((tool.running(), handle.counters().abandoned), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_probe_gives_its_place_back_and_never_closes() {
    let (layer, heard) = listen(two().probes(Probes::new(1, 1)));
    let (mut service, handle, tool) = over(layer);
    trip(&mut service).await;
    advance(OPEN).await;
    for _ in 0..10 {
        // Dropped before its first poll, and after.
        drop(service.ready().await.unwrap().call(Do::Hang));
        let mut probe = Box::pin(service.ready().await.unwrap().call(Do::Hang));
        assert!(poll_once(probe.as_mut()).await.is_pending());
        assert!(is_open(&call(&mut service, Do::Answer).await), "its place is taken");
        drop(probe);
        assert_eq!(handle.state(), State::HalfOpen);
    }
    assert_eq!((tool.running(), handle.counters().abandoned), (0, 20));
    let abandoned = Event::Abandoned { after: Duration::ZERO, failure: false };
    assert_eq!(heard.lock().unwrap().iter().filter(|event| **event == abandoned).count(), 20);
    call(&mut service, Do::Answer).await.unwrap();
    assert_eq!(handle.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_probe_gives_its_place_back() {
    let (mut service, handle, _) = over(two().probes(Probes::new(1, 1)));
    trip(&mut service).await;
    advance(OPEN).await;
    for _ in 0..3 {
        let mut service = service.clone();
        let panicked = tokio::spawn(async move { call(&mut service, Do::Panic).await }).await;
        assert!(panicked.unwrap_err().is_panic());
        assert_eq!(handle.state(), State::HalfOpen);
    }
    call(&mut service, Do::Answer).await.unwrap();
    assert_eq!(handle.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_panic_inside_of_call_gives_the_place_back() {
    #[derive(Clone)]
    struct Panics;
    impl Service<()> for Panics {
        type Response = ();
        type Error = BoxError;
        type Future = std::future::Ready<Result<(), BoxError>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, (): ()) -> Self::Future {
            panic!("planned")
        }
    }
    let layer = two();
    let mut service = layer.layer(Panics);
    service.ready().await.unwrap();
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| service.call(())));
    assert!(panicked.is_err());
    assert_eq!(layer.handle().counters().abandoned, 1);
}

#[tokio::test(start_paused = true)]
async fn hanging_probes_fail_when_patience_is_over() {
    let (mut service, handle, tool) = over(two().probe_patience(60 * SECOND));
    trip(&mut service).await;
    advance(OPEN).await;
    let mut hanging = Vec::new();
    for _ in 0..3 {
        let mut probe = Box::pin(service.ready().await.unwrap().call(Do::Hang));
        assert!(poll_once(probe.as_mut()).await.is_pending());
        hanging.push(probe);
    }
    advance(59 * SECOND).await;
    assert!(is_open(&call(&mut service, Do::Answer).await));
    assert_eq!(handle.state(), State::HalfOpen);
    advance(SECOND).await;
    assert!(is_open(&call(&mut service, Do::Answer).await));
    assert_eq!(handle.retry_after(), Some(10 * SECOND));
    // They hang on for ever, yet the circuit recovers.
    advance(10 * SECOND).await;
    for _ in 0..2 {
        call(&mut service, Do::Answer).await.unwrap();
    }
    assert_eq!((handle.state(), tool.running()), (State::Closed, 3));
    drop(hanging);
    assert_eq!(handle.state(), State::Closed, "what hung is of an earlier time");
}

#[tokio::test(start_paused = true)]
async fn a_stale_result_changes_nothing() {
    for late in [Do::Fail, Do::Answer] {
        let (layer, heard) = listen(two().probes(Probes::new(1, 1)));
        let (mut service, handle, _) = over(layer);
        // Two calls that were let in while closed, told after the circuit opened.
        let first = service.ready().await.unwrap().call(late);
        let second = service.ready().await.unwrap().call(late);
        trip(&mut service).await;
        let _ = first.await;
        assert_eq!(handle.state(), State::Open);
        advance(OPEN).await;
        let probe = service.ready().await.unwrap().call(Do::Answer);
        let _ = second.await;
        assert_eq!((handle.state(), handle.counters().stale), (State::HalfOpen, 2));
        let stale =
            heard.lock().unwrap().iter().filter(|e| matches!(e, Event::Stale { .. })).count();
        assert_eq!(stale, 2);
        probe.await.unwrap();
        assert_eq!(handle.state(), State::Closed);
        // And a whole round later the streak is as it was.
        call(&mut service, Do::Fail).await.unwrap_err();
        assert_eq!(handle.state(), State::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_placed_outside_opens_it() {
    let breaker = two();
    let handle = breaker.handle();
    let mut service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(3 * SECOND))
        .layer(breaker)
        .service(Tool::default());
    for _ in 0..2 {
        assert_eq!(handle.state(), State::Closed);
        let error = service.ready().await.unwrap().call(Do::Hang).await.unwrap_err();
        assert_eq!(error, Error::Rejected(Rejection::timeout(3 * SECOND)));
    }
    assert_eq!((handle.state(), handle.counters().abandoned), (State::Open, 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_too_late_says_nothing_of_the_dependency() {
    let breaker = two();
    let handle = breaker.handle();
    let mut service = breaker.layer(Tool::default());
    for _ in 0..9 {
        let past = buttress::Deadline::at(Instant::now());
        let ready = service.ready().await.unwrap();
        let mut call = Box::pin(past.scope(|| ready.call(Do::Hang)));
        let poll = poll_fn(|cx| Poll::Ready(past.scope(|| call.as_mut().poll(cx))));
        assert!(poll.await.is_pending());
        drop(call);
    }
    assert_eq!((handle.state(), handle.counters().abandoned), (State::Closed, 9));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_a_failure_only_if_it_was_slow() {
    let (layer, heard) = listen(two().slow_after(10 * SECOND));
    let (mut service, handle, _) = over(layer);
    for (ran, state) in
        [(9, State::Closed), (9, State::Closed), (10, State::Closed), (11, State::Open)]
    {
        let call = service.ready().await.unwrap().call(Do::Hang);
        assert!(tokio::time::timeout(ran * SECOND, call).await.is_err());
        assert_eq!(handle.state(), state, "after {ran} s");
    }
    let heard = heard.lock().unwrap();
    assert_eq!(heard[0], Event::Abandoned { after: 9 * SECOND, failure: false });
    assert_eq!(heard[3], Event::Abandoned { after: 11 * SECOND, failure: true });
    assert_eq!(heard[4], Event::Opened { wait: Some(OPEN), why: Why::Streak });
}

#[tokio::test(start_paused = true)]
async fn a_throttled_reply_extends_the_open_time_up_to_a_maximum() {
    for (asks, waits) in [(2, 5), (20, 20), (3_600, 60)] {
        let trigger = Trigger::failure_rate(Ratio::percent(50), Window::calls(number(10)));
        let layer =
            BreakerLayer::new(trigger).open_for(Backoff::constant(OPEN).jitter(Jitter::None));
        let (mut service, handle, _) = over(layer);
        for _ in 0..5 {
            call(&mut service, Do::Throttle(asks * SECOND)).await.unwrap_err();
        }
        assert_eq!(handle.retry_after(), Some(waits * SECOND));
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_probe_fails_and_extends() {
    let (mut service, handle, _) = over(two().probes(Probes::new(1, 1)));
    trip(&mut service).await;
    advance(OPEN).await;
    call(&mut service, Do::Throttle(30 * SECOND)).await.unwrap_err();
    assert_eq!((handle.state(), handle.retry_after()), (State::Open, Some(30 * SECOND)));
}

#[tokio::test(start_paused = true)]
async fn kinds_are_read_as_the_docs_say() {
    for (kind, opens, closes) in [
        (Kind::Permanent, false, State::Closed),
        (Kind::Unknown, true, State::Open),
        (Kind::Reroute, false, State::HalfOpen),
        (Kind::Rejected, false, State::HalfOpen),
    ] {
        let (mut service, handle, _) = over(two().probes(Probes::new(1, 1)));
        for _ in 0..9 {
            let _ = call(&mut service, Do::Say(kind)).await;
        }
        assert_eq!(handle.state() == State::Open, opens, "{kind}");
        handle.reset();
        trip(&mut service).await;
        advance(OPEN).await;
        call(&mut service, Do::Say(kind)).await.unwrap_err();
        assert_eq!(handle.state(), closes, "{kind} as a probe");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_answers_open_a_slow_rate() {
    let trigger = Trigger::slow_rate(2 * SECOND, Ratio::percent(50), Window::time(60 * SECOND));
    let layer = BreakerLayer::new(trigger);
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(async |takes: Duration| {
        sleep(takes).await;
        Ok::<_, BoxError>(())
    }));
    for (takes, state) in [(1, State::Closed); 4].into_iter().chain([
        (2, State::Closed),
        (2, State::Closed),
        (3, State::Closed),
        (2, State::Open),
    ]) {
        service.ready().await.unwrap().call(takes * SECOND).await.unwrap();
        assert_eq!(handle.state(), state);
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_of_time_forgets() {
    let trigger = Trigger::failure_rate(Ratio::percent(50), Window::time(10 * SECOND));
    let (mut service, handle, _) = over(BreakerLayer::new(trigger));
    // A busy hour long ago does not drown an outage now.
    for _ in 0..1_000 {
        call(&mut service, Do::Answer).await.unwrap();
    }
    advance(3_600 * SECOND).await;
    for _ in 0..4 {
        call(&mut service, Do::Fail).await.unwrap_err();
    }
    advance(11 * SECOND).await;
    call(&mut service, Do::Fail).await.unwrap_err();
    assert_eq!(handle.state(), State::Closed);
    for _ in 0..4 {
        call(&mut service, Do::Fail).await.unwrap_err();
    }
    assert_eq!(handle.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn evidence_is_forgotten_after_long_silence_and_not_during_long_calls() {
    let (mut service, handle, _) = over(two().memory(600 * SECOND).slow_after(SECOND));
    call(&mut service, Do::Fail).await.unwrap_err();
    advance(601 * SECOND).await;
    call(&mut service, Do::Fail).await.unwrap_err();
    assert_eq!(handle.state(), State::Closed);
    let long = service.ready().await.unwrap().call(Do::Hang);
    assert!(tokio::time::timeout(3_600 * SECOND, long).await.is_err());
    assert_eq!(handle.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn what_was_readied_when_it_opens_is_free_for_others() {
    let breaker = two();
    let handle = breaker.handle();
    let limited = ServiceBuilder::new().concurrency_limit(1).service(Tool::default());
    let mut ours = breaker.layer(limited.clone());
    let mut others = limited;
    // Ready, then open, then called: refused, and the permit is back.
    ours.ready().await.unwrap();
    handle.force_open();
    assert!(is_open(&ours.call(Do::Answer).await));
    others.ready().await.unwrap().call(Do::Answer).await.unwrap();
    // Ready, then open, then polled once more, and never called.
    handle.reset();
    ours.ready().await.unwrap();
    handle.force_open();
    ours.ready().await.unwrap();
    others.ready().await.unwrap().call(Do::Answer).await.unwrap();
    // Waiting, then open: it must not be given a permit that it will not use.
    handle.reset();
    others.ready().await.unwrap();
    let waker = Waker::noop();
    assert!(ours.poll_ready(&mut Context::from_waker(waker)).is_pending());
    handle.force_open();
    assert!(ours.poll_ready(&mut Context::from_waker(waker)).is_ready());
    others.call(Do::Answer).await.unwrap();
    others.ready().await.unwrap().call(Do::Answer).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_probe_becomes_ready_inside_its_future() {
    let breaker = two();
    let handle = breaker.handle();
    let limited = ServiceBuilder::new().concurrency_limit(1).service(Tool::default());
    let (mut ours, mut others) = (breaker.layer(limited.clone()), limited);
    for _ in 0..2 {
        ours.ready().await.unwrap().call(Do::Fail).await.unwrap_err();
    }
    advance(OPEN).await;
    let busy = others.ready().await.unwrap().call(Do::Answer);
    let mut probe = Box::pin(ours.ready().await.unwrap().call(Do::Answer));
    assert!(poll_once(probe.as_mut()).await.is_pending());
    assert_eq!(handle.state(), State::HalfOpen);
    busy.await.unwrap();
    probe.await.unwrap();
    assert_eq!(handle.counters().succeeded, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_readiness_is_refused_when_it_opens() {
    let breaker = two();
    let handle = breaker.handle();
    let tool = Tool::default();
    let limited = ServiceBuilder::new().concurrency_limit(1).service(tool.clone());
    let (mut ours, mut others) = (breaker.layer(limited.clone()), limited);
    handle.force_open();
    ours.ready().await.unwrap();
    handle.reset();
    let busy = others.ready().await.unwrap().call(Do::Answer);
    let mut waiting = Box::pin(ours.call(Do::Answer));
    assert!(poll_once(waiting.as_mut()).await.is_pending());
    handle.force_open();
    busy.await.unwrap();
    assert!(is_open(&waiting.await));
    assert_eq!(tool.called(), 1);
    others.ready().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn commands_stand_until_reset() {
    let (layer, heard) = listen(two());
    let (mut service, handle, tool) = over(layer);
    handle.force_open();
    handle.force_open();
    advance(3_600 * SECOND).await;
    assert!(is_open(&call(&mut service, Do::Answer).await));
    assert_eq!((handle.state(), handle.retry_after()), (State::Open, None));
    assert!(handle.is_forced());
    handle.force_closed();
    for _ in 0..9 {
        call(&mut service, Do::Fail).await.unwrap_err();
    }
    assert_eq!((handle.state(), tool.called()), (State::Closed, 9));
    handle.reset();
    assert!(!handle.is_forced());
    trip(&mut service).await;
    assert_eq!(handle.state(), State::Open);
    handle.reset();
    call(&mut service, Do::Answer).await.unwrap();
    let why = Why::Command;
    let told: Vec<_> = heard
        .lock()
        .unwrap()
        .iter()
        .copied()
        .filter(|event| !matches!(event, Event::Rejected { .. }))
        .collect();
    assert_eq!(
        told,
        [
            Event::Opened { wait: None, why },
            Event::Closed { why },
            Event::Opened { wait: Some(OPEN), why: Why::Streak },
            Event::Closed { why },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_story_of_an_outage_is_told_once() {
    let (layer, heard) = listen(two());
    let (mut service, handle, _) = over(layer);
    call(&mut service, Do::Answer).await.unwrap();
    trip(&mut service).await;
    call(&mut service, Do::Answer).await.unwrap_err();
    advance(OPEN).await;
    for _ in 0..2 {
        call(&mut service, Do::Answer).await.unwrap();
    }
    assert_eq!(
        *heard.lock().unwrap(),
        [
            Event::Opened { wait: Some(OPEN), why: Why::Streak },
            Event::Rejected { retry_after: Some(OPEN) },
            Event::Probing { running: 1 },
            Event::Probing { running: 1 },
            Event::Closed { why: Why::Recovered },
        ]
    );
    let counters = handle.counters();
    assert_eq!((counters.passed, counters.succeeded, counters.failed), (5, 3, 2));
    assert_eq!((counters.rejected, counters.opened, counters.stale), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_follows_the_state() {
    let (mut service, handle, _) = over(two());
    let mut states: watch::Receiver<State> = handle.subscribe();
    assert_eq!(*states.borrow_and_update(), State::Closed);
    trip(&mut service).await;
    states.changed().await.unwrap();
    assert_eq!(*states.borrow_and_update(), State::Open);
    advance(OPEN).await;
    call(&mut service, Do::Answer).await.unwrap();
    assert_eq!(*states.borrow_and_update(), State::HalfOpen);
    call(&mut service, Do::Answer).await.unwrap();
    assert_eq!(*states.borrow_and_update(), State::Closed);
    assert!(!states.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn one_layer_value_is_one_circuit() {
    let layer = two();
    let (mut one, mut other) = (layer.layer(Tool::default()), layer.clone().layer(Tool::default()));
    trip(&mut one).await;
    assert!(is_open(&call(&mut other, Do::Answer).await));
    let mut clone = one.clone();
    assert!(is_open(&call(&mut clone, Do::Answer).await));
}

#[tokio::test(start_paused = true)]
async fn keys_have_circuits_of_their_own() {
    let layer = two().keyed(|(key, _): &(&'static str, Do)| *key);
    let handle = layer.handle();
    let inner = Tool::default();
    let mut service = layer.layer(inner.clone().map_request(|(_, request)| request));
    for _ in 0..2 {
        service.ready().await.unwrap().call(("a", Do::Fail)).await.unwrap_err();
        service.ready().await.unwrap().call(("b", Do::Answer)).await.unwrap();
    }
    assert!(is_open(&service.ready().await.unwrap().call(("a", Do::Answer)).await));
    service.ready().await.unwrap().call(("b", Do::Answer)).await.unwrap();
    let state = |key| handle.get(&key).map(|circuit| circuit.state());
    assert_eq!(
        (state("a"), state("b"), state("c")),
        (Some(State::Open), Some(State::Closed), None)
    );
    handle.of("c").force_open();
    assert!(is_open(&service.clone().ready().await.unwrap().call(("c", Do::Answer)).await));
    let mut keys = handle.keys();
    keys.sort_unstable();
    assert_eq!((keys, handle.len()), (vec!["a", "b", "c"], 3));
}

#[tokio::test(start_paused = true)]
async fn keyed_circuits_are_bounded_and_idle_ones_forgotten() {
    let layer = two()
        .keyed(|(key, _): &(u32, Do)| *key)
        .max_keys(NonZeroUsize::new(16).unwrap())
        .forget_after(600 * SECOND);
    let handle = layer.handle();
    let mut service = layer.layer(Tool::default().map_request(|(_, request)| request));
    let mut ask = async |key, request| service.ready().await.unwrap().call((key, request)).await;
    for _ in 0..2 {
        ask(0, Do::Fail).await.unwrap_err();
    }
    handle.of(1).force_closed();
    for key in 2..1_000 {
        advance(Duration::from_millis(1)).await;
        ask(key, Do::Answer).await.unwrap();
        assert!(handle.len() <= 16);
        assert!(handle.get(&key).is_some(), "the newest is there");
    }
    // What is open, or forced, is forgotten last.
    assert_eq!(handle.get(&0).map(|circuit| circuit.state()), Some(State::Open));
    assert!(handle.get(&1).is_some());
    advance(300 * SECOND).await;
    ask(999, Do::Answer).await.unwrap();
    advance(301 * SECOND).await;
    ask(1_000, Do::Answer).await.unwrap();
    let mut keys = handle.keys();
    keys.sort_unstable();
    assert_eq!(keys, [1, 999, 1_000]);
}

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn backpressure_wakes_all_who_wait() {
    let (service, handle, tool) = over(two().backpressure());
    handle.force_open();
    let bells: Vec<_> = (0..9).map(|_| Arc::new(Bell::default())).collect();
    let mut services: Vec<_> = bells.iter().map(|_| service.clone()).collect();
    for (service, bell) in services.iter_mut().zip(&bells) {
        let waker = bell.clone().into();
        for _ in 0..3 {
            assert!(service.poll_ready(&mut Context::from_waker(&waker)).is_pending());
        }
    }
    assert_eq!(tool.polled(), 0);
    // One gives up; the rest are woken, once each.
    services.pop();
    handle.reset();
    let woken: Vec<_> = bells.iter().map(|bell| bell.0.load(Ordering::Relaxed)).collect();
    assert_eq!(woken, [1, 1, 1, 1, 1, 1, 1, 1, 0]);
    for service in &mut services {
        call(service, Do::Answer).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn backpressure_waits_for_the_open_time_and_leases_the_probes() {
    let (mut service, handle, tool) = over(two().backpressure());
    trip(&mut service).await;
    let start = Instant::now();
    service.ready().await.unwrap();
    assert_eq!((start.elapsed(), handle.state()), (OPEN, State::HalfOpen));
    let (mut second, mut third, mut fourth) = (service.clone(), service.clone(), service.clone());
    for leased in [&mut service, &mut second, &mut third] {
        leased.ready().await.unwrap();
        leased.ready().await.unwrap();
    }
    let waker = Waker::noop();
    let mut cx = Context::from_waker(waker);
    assert!(fourth.poll_ready(&mut cx).is_pending(), "three places, three leases");
    // A lease that is dropped frees its place, and wakes who waits for it.
    let bell = Arc::new(Bell::default());
    assert!(fourth.poll_ready(&mut Context::from_waker(&bell.clone().into())).is_pending());
    drop(third);
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    assert!(fourth.poll_ready(&mut cx).is_ready());
    service.call(Do::Answer).await.unwrap();
    fourth.call(Do::Fail).await.unwrap_err();
    second.call(Do::Answer).await.unwrap();
    assert_eq!((handle.state(), tool.called()), (State::Closed, 5));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_used_runs_out_and_is_no_failure() {
    let layer = two().backpressure().probes(Probes::new(1, 1)).probe_patience(60 * SECOND);
    let (mut service, handle, _) = over(layer);
    trip(&mut service).await;
    let mut other = service.clone();
    let start = Instant::now();
    service.ready().await.unwrap();
    other.ready().await.unwrap();
    assert_eq!((start.elapsed(), handle.state()), (OPEN + 60 * SECOND, State::HalfOpen));
    assert!(is_open(&service.call(Do::Answer).await), "its place is the other's now");
    other.call(Do::Answer).await.unwrap();
    assert_eq!(handle.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn backpressure_rejects_what_was_ready_before_it_opened() {
    let breaker = two().backpressure();
    let handle = breaker.handle();
    let limited = ServiceBuilder::new().concurrency_limit(1).service(Tool::default());
    let (mut ours, mut others) = (breaker.layer(limited.clone()), limited);
    ours.ready().await.unwrap();
    handle.force_open();
    assert!(ours.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending());
    others.ready().await.unwrap().call(Do::Answer).await.unwrap();
    handle.reset();
    ours.ready().await.unwrap();
    handle.force_open();
    assert!(is_open(&ours.call(Do::Answer).await));
    others.ready().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_clone_can_be_wrapped() {
    struct Alone(Tool);
    impl Service<Do> for Alone {
        type Response = ();
        type Error = Error;
        type Future = <Tool as Service<Do>>::Future;
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
            self.0.poll_ready(cx)
        }
        fn call(&mut self, request: Do) -> Self::Future {
            self.0.call(request)
        }
    }
    let layer = two().single();
    let (tool, handle) = (Tool::default(), layer.handle());
    let mut service = layer.layer(Alone(tool.clone()));
    for _ in 0..2 {
        service.ready().await.unwrap().call(Do::Fail).await.unwrap_err();
    }
    let polled = tool.polled();
    assert!(is_open(&service.ready().await.unwrap().call(Do::Answer).await));
    service.ready().await.unwrap();
    assert_eq!(tool.polled(), polled);
    // Not polled, because it was open: refused, though it is due by now.
    advance(OPEN).await;
    assert!(is_open(&service.call(Do::Answer).await));
    for _ in 0..2 {
        service.ready().await.unwrap().call(Do::Answer).await.unwrap();
    }
    assert_eq!((handle.state(), tool.called()), (State::Closed, 4));
}

#[tokio::test(start_paused = true)]
async fn boxed_errors_and_foreign_errors_can_be_refused_with() {
    let mut boxed = two().layer(service_fn(async |(): ()| {
        Err::<(), BoxError>(io::Error::from(io::ErrorKind::ConnectionRefused).into())
    }));
    for _ in 0..2 {
        assert!(boxed.ready().await.unwrap().call(()).await.unwrap_err().is::<io::Error>());
    }
    assert!(boxed.ready().await.unwrap().call(()).await.unwrap_err().is::<Rejection>());

    #[derive(Debug)]
    struct Foreign;
    impl fmt::Display for Foreign {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("foreign")
        }
    }
    let classify = |outcome: Result<&(), &CallError<Foreign>>| match outcome {
        Ok(()) => Verdict::success(),
        Err(CallError::Service(Foreign)) => Verdict::transient(),
        Err(CallError::Rejected(rejection)) => rejection.verdict(),
    };
    let mut foreign = ServiceBuilder::new()
        .layer(two().classify(classify))
        .map_err(CallError::Service)
        .service(service_fn(async |(): ()| Err::<(), _>(Foreign)));
    for _ in 0..2 {
        assert!(foreign.ready().await.unwrap().call(()).await.unwrap_err().rejection().is_none());
    }
    assert!(foreign.ready().await.unwrap().call(()).await.unwrap_err().rejection().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_be_judged_a_failure() {
    let layer = two().classify(|outcome: Result<&u16, &BoxError>| match outcome {
        Ok(503) => Verdict::transient(),
        Ok(_) => Verdict::success(),
        Err(error) => error.verdict(),
    });
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(async |status: u16| Ok::<_, BoxError>(status)));
    for status in [503, 200, 503, 503] {
        assert_eq!(handle.state(), State::Closed);
        assert_eq!(service.ready().await.unwrap().call(status).await.unwrap(), status);
    }
    assert_eq!(handle.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_readiness_counts_where_a_call_waits_for_it() {
    #[derive(Clone)]
    struct Unready;
    impl Service<()> for Unready {
        type Response = ();
        type Error = Error;
        type Future = std::future::Ready<Result<(), Error>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
            Poll::Ready(Err(Error::Failed(Verdict::transient())))
        }
        fn call(&mut self, (): ()) -> Self::Future {
            panic!("called though it is not ready")
        }
    }
    let layer = two();
    let handle = layer.handle();
    let mut service = layer.layer(Unready);
    assert!(service.ready().await.is_err());
    // Not polled here while forced open, it is made ready inside of the future.
    handle.force_open();
    service.ready().await.unwrap();
    handle.reset();
    assert_eq!(service.call(()).await, Err(Error::Failed(Verdict::transient())));
    assert_eq!(handle.counters().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn whenever_a_call_is_dropped_nothing_is_left() {
    // A probe over a limit of one, dropped after its k-th poll.
    for polls in 0..4 {
        let breaker = two().probes(Probes::new(1, 1));
        let handle = breaker.handle();
        let (release, released) = oneshot::channel::<()>();
        let released = Arc::new(Mutex::new(Some(released)));
        let limited =
            ServiceBuilder::new().concurrency_limit(1).service(service_fn(move |request: Do| {
                let released = released.clone();
                async move {
                    if request == Do::Hang {
                        let released = released.lock().unwrap().take();
                        if let Some(released) = released {
                            let _ = released.await;
                        }
                        return Ok(());
                    }
                    Err(Error::Failed(Verdict::transient()))
                }
            }));
        let (mut ours, mut others) = (breaker.layer(limited.clone()), limited);
        for _ in 0..2 {
            ours.ready().await.unwrap().call(Do::Fail).await.unwrap_err();
        }
        advance(OPEN).await;
        let busy = others.ready().await.unwrap().call(Do::Fail);
        let mut busy = Some(busy);
        let mut probe = Box::pin(ours.ready().await.unwrap().call(Do::Hang));
        let mut release = Some(release);
        let mut done = false;
        for poll in 0..polls {
            // First it waits for the permit, then for the answer, then it has it.
            match poll {
                1 => drop(busy.take()),
                2 => drop(release.take()),
                _ => {}
            }
            if !done {
                done = poll_once(probe.as_mut()).await.is_ready();
            }
        }
        drop((probe, busy, release));
        assert_eq!(done, polls >= 3);
        assert_eq!(handle.state(), if done { State::Closed } else { State::HalfOpen });
        tokio::time::timeout(SECOND, others.ready()).await.expect("a free permit").unwrap();
        drop(others);
        let next = ours.ready().await.unwrap().call(Do::Hang);
        assert_eq!(next.await, Ok(()), "a free place");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_readiness_hears_that_the_circuit_opened() {
    let breaker = two();
    let handle = breaker.handle();
    let limited = ServiceBuilder::new().concurrency_limit(1).service(Tool::default());
    let (mut ours, mut others) = (breaker.layer(limited.clone()), limited);
    handle.force_open();
    ours.ready().await.unwrap();
    handle.reset();
    let _hangs = others.ready().await.unwrap().call(Do::Hang);
    let mut waiting = Box::pin(ours.call(Do::Answer));
    assert!(poll_once(waiting.as_mut()).await.is_pending());
    handle.force_open();
    let outcome = tokio::time::timeout(SECOND, waiting).await;
    assert!(is_open(&outcome.expect("an open circuit keeps nobody waiting")));
}

#[tokio::test(start_paused = true)]
async fn an_idle_circuit_is_not_forgotten_before_its_open_time_is_over() {
    let hour = 3_600 * SECOND;
    let layer = two().max_retry_after(hour).keyed(|(key, _): &(u32, Do)| *key);
    let layer = layer.forget_after(600 * SECOND);
    let handle = layer.handle();
    let mut service = layer.layer(Tool::default().map_request(|(_, request)| request));
    let mut ask = async |key, request| service.ready().await.unwrap().call((key, request)).await;
    ask(0, Do::Throttle(hour)).await.unwrap_err();
    for _ in 0..2 {
        ask(0, Do::Fail).await.unwrap_err();
    }
    assert!(handle.get(&0).unwrap().retry_after() > Some(3_000 * SECOND));
    advance(700 * SECOND).await;
    ask(1, Do::Answer).await.unwrap();
    assert!(is_open(&ask(0, Do::Answer).await), "it was asked to stay away for an hour");
}

/// In the mode of backpressure.
#[tokio::test(start_paused = true)]
async fn a_lease_that_ran_out_is_not_taken_for_readiness() {
    let breaker = two().backpressure();
    let handle = breaker.handle();
    let tool = Tool::default();
    let mut first = breaker.layer(tool.clone());
    let mut others: Vec<_> = (0..3).map(|_| breaker.layer(tool.clone())).collect();
    trip(&mut first).await;
    advance(OPEN).await;
    first.ready().await.unwrap();
    advance(61 * SECOND).await;
    // The three places are taken by others.
    let running: Vec<_> = {
        let mut calls = vec![];
        for other in &mut others {
            calls.push(other.ready().await.unwrap().call(Do::Hang));
        }
        calls
    };
    assert_eq!(handle.state(), State::HalfOpen);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(
        first.poll_ready(&mut cx).is_pending(),
        "all places are taken: {running:?}",
        running = running.len()
    );
}
