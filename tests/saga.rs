//! Saga: what a caller and the tools see.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    future::{Future, pending},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress::{
    Backoff, Effect, Event, Fault, Jitter, Teller, Verdict,
    checkpoint::{Effects, Halt, InDoubt, Landing, Step},
    store::{IdempotencyKey, Journal, StepId, Store, StoreError},
};
use buttress_flow::saga::{Action, Forward, Outcome, Refused, Saga, Standing};
use serde::{Deserialize, Serialize};
use tokio::{
    task::yield_now,
    time::{Instant, advance, sleep},
};
use tower::Service;

use crate::support::{poll_once, slow::SlowStore};

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(30);
const RETRY: Effects = Effects::SideEffect(InDoubt::Retry);
const FAIL: Effects = Effects::SideEffect(InDoubt::Fail);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Trip {
    traveller: String,
    flight: Option<u32>,
    hotel: Option<u32>,
    invoice: Option<u32>,
}

fn trip() -> Trip {
    Trip { traveller: "Ada".into(), ..Trip::default() }
}

/// What a tool does with the next request.
#[derive(Clone, Copy, Debug)]
enum Luck {
    Fails(Verdict),
    /// It does what it was asked for, and the answer is lost.
    Vanishes,
    Hangs,
}

#[derive(Debug)]
struct Trouble(Verdict);

impl Fault for Trouble {
    fn verdict(&self) -> Verdict {
        self.0
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tool fails")
    }
}

/// A tool that honours idempotency keys, and outlives processes.
#[derive(Clone, Default)]
struct Tool(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    luck: VecDeque<Luck>,
    always: Option<Luck>,
    takes: Duration,
    /// What was done, by its key.
    done: BTreeMap<IdempotencyKey, (u32, String)>,
    /// All that was asked for.
    asked: Vec<String>,
}

impl Tool {
    fn next(&self, luck: impl IntoIterator<Item = Luck>) {
        self.0.lock().unwrap().luck.extend(luck);
    }

    fn always(&self, luck: impl Into<Option<Luck>>) {
        self.0.lock().unwrap().always = luck.into();
    }

    fn takes(&self, time: Duration) {
        self.0.lock().unwrap().takes = time;
    }

    /// What was done, each as often as it was done.
    fn done(&self) -> Vec<String> {
        let books = self.0.lock().unwrap();
        let mut done: Vec<_> = books.done.values().cloned().collect();
        done.sort();
        done.into_iter().map(|(_, what)| what).collect()
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    fn keys(&self) -> Vec<IdempotencyKey> {
        self.0.lock().unwrap().done.keys().copied().collect()
    }
}

impl Service<Step<String>> for Tool {
    type Response = u32;
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<u32, Trouble>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Trouble>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, step: Step<String>) -> Self::Future {
        let books = self.0.clone();
        Box::pin(async move {
            yield_now().await;
            let key = step.key.unwrap();
            let (luck, takes) = {
                let mut books = books.lock().unwrap();
                books.asked.push(step.request.clone());
                (books.luck.pop_front().or(books.always), books.takes)
            };
            if takes > Duration::ZERO {
                sleep(takes).await;
            }
            match luck {
                Some(Luck::Fails(verdict)) => return Err(Trouble(verdict)),
                Some(Luck::Hangs) => pending().await,
                Some(Luck::Vanishes) | None => {}
            }
            let number = {
                let mut books = books.lock().unwrap();
                let next = 100 + books.done.len() as u32;
                books.done.entry(key).or_insert((next, step.request)).0
            };
            yield_now().await;
            match luck {
                Some(_) => Err(Trouble(Verdict::transient())),
                None => Ok(number),
            }
        })
    }
}

struct World {
    store: SlowStore,
    flights: Tool,
    hotels: Tool,
    post: Tool,
}

impl World {
    fn new() -> Self {
        Self {
            store: SlowStore::new(),
            flights: Tool::default(),
            hotels: Tool::default(),
            post: Tool::default(),
        }
    }

    fn journal(&self, owner: &'static str) -> Journal {
        Journal::new(self.store.clone()).namespace("sagas").owner(owner).ttl(TTL)
    }

    /// Flight and hotel can be cancelled, the invoice cannot, and the letter must arrive.
    fn saga(&self, owner: &'static str, hotel: Effects) -> Saga<Trip, Forward> {
        let flight = Action::new("book-flight", RETRY, self.flights.clone(), |trip: &Trip| {
            format!("fly {}", trip.traveller)
        })
        .then(|trip, seat| trip.flight = Some(*seat))
        .undo(RETRY, self.flights.clone(), |_, seat| format!("cancel seat {seat}"));
        let hotel = Action::new("book-hotel", hotel, self.hotels.clone(), |trip: &Trip| {
            format!("stay after {:?}", trip.flight.unwrap())
        })
        .then(|trip, room| trip.hotel = Some(*room))
        .undo(RETRY, self.hotels.clone(), |_, room| format!("cancel room {room}"));
        let invoice = Action::new("invoice", RETRY, self.post.clone(), |trip: &Trip| {
            format!("invoice {:?} {:?}", trip.flight.unwrap(), trip.hotel.unwrap())
        })
        .then(|trip, number| trip.invoice = Some(*number));
        let letter = Action::new("letter", Effects::Idempotent, self.post.clone(), |_: &Trip| {
            "letter".to_owned()
        });
        Saga::new("trip", self.journal(owner))
            .backoff(Backoff::exponential(SECOND, 8 * SECOND).jitter(Jitter::None))
            .attempts(3)
            .step(flight)
            .step(hotel)
            .pivot(invoice)
            .retriable(letter)
    }
}

fn standings<S>(report: &buttress_flow::saga::Report<S>) -> Vec<Standing> {
    report.steps.iter().map(|step| step.standing).collect()
}

const PERMANENT: Luck = Luck::Fails(Verdict::permanent());
const UNSENT: Luck = Luck::Fails(Verdict::transient().with_effect(Effect::None));

#[tokio::test(start_paused = true)]
async fn each_step_is_made_of_what_the_ones_before_answered() {
    let world = World::new();
    let saga = world.saga("a", RETRY);
    let report = saga.run("s1", trip()).await.unwrap();
    assert_eq!((report.outcome, report.finished()), (Outcome::Completed, true));
    assert_eq!(standings(&report), [Standing::Done; 4]);
    let booked = Trip { flight: Some(100), hotel: Some(100), invoice: Some(100), ..trip() };
    assert_eq!(report.state, booked);
    assert_eq!(world.hotels.asked(), ["stay after 100"]);
    assert_eq!(world.post.asked(), ["invoice 100 100", "letter"]);
    // It is over: its report is told again, here and elsewhere, and nothing is done.
    world.flights.asked();
    for saga in [saga, world.saga("b", RETRY)] {
        assert_eq!(saga.run("s1", trip()).await.unwrap(), report);
        assert_eq!(saga.resume("s1").await.unwrap(), report);
        assert_eq!(saga.recover().await.unwrap(), []);
    }
    assert_eq!(world.flights.asked(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_undone_in_reverse_with_what_was_answered() {
    let world = World::new();
    world.post.next([PERMANENT]);
    let report = world.saga("a", RETRY).run("s1", trip()).await.unwrap();
    assert_eq!((report.outcome, report.finished()), (Outcome::Compensated, true));
    assert_eq!(
        standings(&report),
        [Standing::Compensated, Standing::Compensated, Standing::Failed, Standing::NotReached]
    );
    assert_eq!(world.flights.done(), ["fly Ada", "cancel seat 100"]);
    assert_eq!(world.hotels.done(), ["stay after 100", "cancel room 100"]);
    assert_eq!(
        report.to_string(),
        "s1: compensated\n  book-flight: compensated\n  book-hotel: compensated\n  \
         invoice: failed (the tool fails)\n  letter: not reached"
    );
    // The keys are all different.
    let mut keys = world.flights.keys();
    keys.extend(world.hotels.keys());
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_not_sent_is_tried_again_then_given_up() {
    let world = World::new();
    world.hotels.next([UNSENT, UNSENT]);
    let start = Instant::now();
    let report = world.saga("a", FAIL).run("s1", trip()).await.unwrap();
    assert_eq!((report.outcome, start.elapsed()), (Outcome::Completed, 3 * SECOND));
    assert_eq!(report.step("book-hotel").unwrap().attempts, 3);

    let world = World::new();
    world.hotels.always(UNSENT);
    let report = world.saga("a", FAIL).run("s1", trip()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Compensated);
    assert_eq!(world.flights.done(), ["fly Ada", "cancel seat 100"]);
    let hotel = report.step("book-hotel").unwrap();
    assert_eq!((hotel.standing, hotel.attempts), (Standing::Failed, 3));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_with_the_same_key() {
    let world = World::new();
    world.hotels.next([Luck::Vanishes, Luck::Vanishes]);
    let report = world.saga("a", RETRY).run("s1", trip()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(world.hotels.asked().len(), 3);
    assert_eq!(world.hotels.done().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_undone_past_a_step_in_doubt() {
    let world = World::new();
    world.hotels.next([Luck::Vanishes]);
    let saga = world.saga("a", FAIL);
    let report = saga.run("s1", trip()).await.unwrap();
    assert_eq!((report.outcome, report.finished()), (Outcome::InDoubt, false));
    let in_doubt = [Standing::Done, Standing::InDoubt, Standing::NotReached, Standing::NotReached];
    assert_eq!(standings(&report), in_doubt);
    assert_eq!(report.step("book-hotel").unwrap().error.as_deref(), Some("the tool fails"));
    // It stays so, wherever it is resumed.
    let report = world.saga("b", FAIL).resume("s1").await.unwrap();
    assert_eq!((report.outcome, standings(&report)), (Outcome::InDoubt, in_doubt.to_vec()));
    assert!(report.step("book-hotel").unwrap().error.as_ref().unwrap().contains("is in doubt"));
    assert_eq!(world.hotels.asked().len(), 1);
    assert_eq!(world.flights.done(), ["fly Ada"]);
    // Declared otherwise by a newer program, it is done again.
    let report = world.saga("b", RETRY).resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(world.hotels.done().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_that_another_process_left_is_not_forgotten() {
    let world = World::new();
    world.hotels.next([Luck::Vanishes]);
    world.hotels.always(UNSENT);
    let saga = world.saga("a", RETRY);
    let report = saga.run("s1", trip()).await.unwrap();
    assert_eq!(
        report.outcome,
        Outcome::InDoubt,
        "the last attempts came to nothing, not the first"
    );
    let report = world.saga("b", RETRY).resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::InDoubt, "all attempts of this process came to nothing");
    assert_eq!(world.flights.done(), ["fly Ada"]);
    world.hotels.always(None);
    assert_eq!(saga.resume("s1").await.unwrap().outcome, Outcome::Completed);
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_action_leaves_a_trace_before_it_is_tried() {
    let world = World::new();
    world.hotels.next([Luck::Vanishes]);
    world.hotels.always(UNSENT);
    let report = world.saga("a", Effects::Idempotent).run("s1", trip()).await.unwrap();
    assert_eq!(report.outcome, Outcome::InDoubt);
    assert_eq!(world.flights.done(), ["fly Ada"]);
}

#[tokio::test(start_paused = true)]
async fn the_world_is_asked_about_a_step_in_doubt() {
    for landed in [true, false] {
        let world = World::new();
        world.flights.next([Luck::Vanishes]);
        let tool = world.flights.clone();
        let flight = Action::new("book-flight", FAIL, world.flights.clone(), |trip: &Trip| {
            format!("fly {}", trip.traveller)
        })
        .then(|trip, seat| trip.flight = Some(*seat))
        .probe(move |_, key| {
            let seat = tool.0.lock().unwrap().done.get(&key).map(|(seat, _)| *seat);
            let seat = seat.filter(|_| landed);
            async move { Ok(seat.map_or(Landing::Absent, Landing::Landed)) }
        })
        .undo(RETRY, world.flights.clone(), |_, seat| format!("cancel seat {seat}"));
        let saga = Saga::new("flight", world.journal("a")).step(flight);
        assert_eq!(saga.run("s1", trip()).await.unwrap().outcome, Outcome::InDoubt);
        let report = saga.resume("s1").await.unwrap();
        assert_eq!((report.outcome, report.state.flight), (Outcome::Completed, Some(100)));
        assert_eq!(world.flights.asked().len(), if landed { 1 } else { 2 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_compensation_that_is_stuck_is_told_of_and_tried_again() {
    let world = World::new();
    world.post.next([PERMANENT]);
    // The booking works, then the desk for cancellations is closed.
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let saga = world.saga("a", RETRY).observe(move |teller: Teller<'_>, event: &Event| {
        if teller.pattern == "saga" {
            log.lock().unwrap().push((teller.name.to_owned(), *event));
        }
    });
    let mut run = Box::pin(saga.run("s1", trip()));
    while world.hotels.done().is_empty() {
        assert!(poll_once(run.as_mut()).await.is_pending());
        yield_now().await;
    }
    world.hotels.always(Luck::Fails(Verdict::transient()));
    let report = run.await.unwrap();
    assert_eq!((report.outcome, report.finished()), (Outcome::Stuck, false));
    let stuck =
        [Standing::Done, Standing::CompensationStuck, Standing::Failed, Standing::NotReached];
    assert_eq!(standings(&report), stuck);
    let hotel = report.step("book-hotel").unwrap();
    assert_eq!((hotel.undo_attempts, hotel.error.as_deref()), (3, Some("the tool fails")));
    let told = told.lock().unwrap().pop();
    assert_eq!(told, Some(("book-hotel/undo".into(), Event::Stuck { attempts: 3 })));
    // What comes before it in the order of undoing comes first; the flight stays as it is.
    assert_eq!(world.flights.done(), ["fly Ada"]);
    // A failure for good is no reason to give up either.
    world.hotels.always(PERMANENT);
    let report = world.saga("b", RETRY).recover().await.unwrap().pop().unwrap().1.unwrap();
    assert_eq!((report.outcome, standings(&report)), (Outcome::Stuck, stuck.to_vec()));
    world.hotels.always(None);
    world.post.asked();
    let report = world.saga("b", RETRY).resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Compensated);
    assert_eq!(report.step("invoice").unwrap().error.as_deref(), Some("the tool fails"));
    assert_eq!(world.post.asked(), [""; 0], "what failed is not tried again");
    assert_eq!(world.hotels.done(), ["stay after 100", "cancel room 100"]);
    assert_eq!(world.flights.done(), ["fly Ada", "cancel seat 100"]);
}

#[tokio::test(start_paused = true)]
async fn after_the_pivot_there_is_only_forward() {
    let world = World::new();
    let saga = world.saga("a", RETRY);
    let mut run = Box::pin(saga.run("s1", trip()));
    while world.post.done().is_empty() {
        assert!(poll_once(run.as_mut()).await.is_pending());
        yield_now().await;
    }
    world.post.always(PERMANENT);
    let report = run.await.unwrap();
    assert_eq!((report.outcome, report.finished()), (Outcome::Stuck, false));
    assert_eq!(report.step("letter").unwrap().standing, Standing::Stuck);
    assert_eq!(world.flights.done(), ["fly Ada"]);
    world.post.always(None);
    let report = world.saga("b", RETRY).resume("s1").await.unwrap();
    assert_eq!(
        (report.outcome, standings(&report)),
        (Outcome::Completed, [Standing::Done; 4].to_vec())
    );
    assert_eq!(world.post.done().len(), 2);
}

/// Polls a future so many times, without a task: what is dropped then has gone no further.
fn poll_times<F: Future>(mut future: Pin<&mut F>, times: usize) -> Poll<F::Output> {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..times {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Poll::Ready(output);
        }
    }
    Poll::Pending
}

/// Drops the process after every poll, and the next one too; whoever comes then brings it to its end.
#[tokio::test(start_paused = true)]
async fn wherever_it_is_dropped_every_effect_is_accounted_for() {
    for fails in [false, true] {
        let mut seen = [0; 2];
        'polls: for first in 0.. {
            for second in (0..120).step_by(7) {
                let world = World::new();
                if fails {
                    world.post.next([PERMANENT]);
                }
                let mut run = Box::pin(async { world.saga("a", RETRY).run("s1", trip()).await });
                if poll_times(run.as_mut(), first).is_ready() {
                    break 'polls;
                }
                drop(run);
                advance(TTL).await;
                let mut recovery = Box::pin(async { world.saga("b", RETRY).recover().await });
                let _ = poll_times(recovery.as_mut(), second);
                drop(recovery);
                advance(TTL).await;
                let report = world.saga("a", RETRY).run("s1", trip()).await.unwrap();
                // The tool failed once for good: if nobody heard of that, it was asked again.
                let outcome = report.outcome;
                assert!(report.finished(), "{first} {second}: {report}");
                let (flights, hotels) = (world.flights.done(), world.hotels.done());
                if outcome == Outcome::Completed {
                    assert_eq!(
                        (flights, hotels),
                        (vec!["fly Ada".into()], vec!["stay after 100".into()])
                    );
                    assert_eq!(world.post.done().len(), 2);
                } else {
                    assert_eq!(flights, ["fly Ada", "cancel seat 100"], "{first} {second}");
                    assert_eq!(hotels, ["stay after 100", "cancel room 100"], "{first} {second}");
                    assert_eq!(world.post.done(), [""; 0]);
                }
                seen[usize::from(outcome == Outcome::Compensated)] += 1;
                assert_eq!(world.saga("c", RETRY).recover().await.unwrap(), []);
            }
        }
        assert!(seen[usize::from(fails)] > 100, "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn once_it_has_turned_back_it_never_goes_forward_again() {
    let world = World::new();
    // Fails in a way that is not recorded, and works ever after.
    world.hotels.next([UNSENT, UNSENT, UNSENT]);
    world.flights.takes(SECOND);
    let saga = world.saga("a", RETRY);
    let mut run = Box::pin(saga.run("s1", trip()));
    let turn = StepId::new("saga/turn");
    let workflow = world.journal("a").workflow("s1");
    while world.store.memory.latest(&workflow, Some(&turn)).await.unwrap().is_none() {
        assert!(poll_once(run.as_mut()).await.is_pending());
        advance(SECOND / 10).await;
    }
    drop(run);
    let report = world.saga("a", RETRY).resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Compensated);
    assert_eq!(world.hotels.done(), [""; 0]);
    assert_eq!(report.step("book-hotel").unwrap().error.as_deref(), Some("the tool fails"));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_slow_keeps_its_lease_and_its_place() {
    let world = World::new();
    // Nor does it lose it by a renewal that nobody answers.
    world.store.silence(1);
    world.hotels.takes(4 * TTL);
    let saga = world.saga("a", RETRY);
    let mut run = pin!(saga.run("s1", trip()));
    let other = world.saga("b", RETRY);
    for _ in 0..(4 * 30) {
        assert!(poll_once(run.as_mut()).await.is_pending());
        advance(SECOND).await;
        assert!(matches!(other.resume("s1").await, Err(Refused::Held { .. } | Refused::Unknown)));
        assert_eq!(other.recover().await.unwrap(), []);
        let here = saga.clone().run("s1", trip()).await.unwrap_err();
        assert_eq!(here, Refused::InFlight);
    }
    assert_eq!(run.await.unwrap().outcome, Outcome::Completed);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_overtaken_stops() {
    let world = World::new();
    let saga = world.saga("a", RETRY);
    let mut run = Box::pin(saga.run("s1", trip()));
    while world.flights.done().is_empty() {
        assert!(poll_times(run.as_mut(), 1).is_pending());
    }
    advance(2 * TTL).await;
    let report = world.saga("b", RETRY).resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Completed);
    // The first wakes up: nothing that it does counts.
    let late = run.await.unwrap();
    assert!(!late.finished(), "{late}");
    assert_eq!((world.flights.done().len(), world.hotels.done().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_refused_before_anything_is_done() {
    let world = World::new();
    let saga = world.saga("a", FAIL);
    assert_eq!(saga.resume("s1").await.unwrap_err(), Refused::Unknown);
    world.hotels.next([Luck::Vanishes]);
    saga.run("s1", trip()).await.unwrap();
    world.flights.asked();
    let other = Trip { traveller: "Bob".into(), ..Trip::default() };
    assert_eq!(saga.run("s1", other).await.unwrap_err(), Refused::Mismatch);
    // Another kind of saga, and another version of the program.
    let empty = |name| Saga::<Trip>::new(name, world.journal("a"));
    assert_eq!(empty("walk").resume("s1").await.unwrap_err(), Refused::Unknown);
    assert_eq!(empty("walk").recover().await.unwrap(), []);
    let changed = empty("trip").resume("s1").await.unwrap_err();
    assert_eq!(
        changed.to_string(),
        "the saga was begun with the steps book-flight, book-hotel, invoice, letter"
    );
    let failed = &empty("trip").recover().await.unwrap()[0];
    assert_eq!((&*failed.0, failed.1.as_ref().unwrap_err()), ("s1", &changed));
    world.store.refuse(1);
    let refused = saga.run("s2", trip()).await.unwrap_err();
    assert!(matches!(refused, Refused::Store(StoreError::Engine(_))), "{refused}");
    assert_eq!(world.flights.asked(), [""; 0]);
    // That one came no further than its id, and can be run.
    assert_eq!(saga.recover().await.unwrap().len(), 1, "the one in doubt");
    assert_eq!(saga.run("s2", trip()).await.unwrap().outcome, Outcome::Completed);
}

#[tokio::test(start_paused = true)]
async fn steps_of_one_name_are_told_apart() {
    let world = World::new();
    let ring = || {
        Action::new("ring", RETRY, world.post.clone(), |_: &Trip| "ring".to_owned()).undo(
            RETRY,
            world.post.clone(),
            |_, number| format!("sorry for {number}"),
        )
    };
    let fail = Action::new("fail", RETRY, world.hotels.clone(), |_: &Trip| String::new());
    world.hotels.next([PERMANENT]);
    let saga = Saga::new("postman", world.journal("a")).step(ring()).step(ring()).harmless(fail);
    assert_eq!(saga.run("s1", trip()).await.unwrap().outcome, Outcome::Compensated);
    assert_eq!(world.post.done(), ["ring", "ring", "sorry for 101", "sorry for 100"]);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_outcome_is_in_doubt_not_undone() {
    let world = World::new();
    world.hotels.next([Luck::Vanishes]);
    let flight = |tool: &Tool| {
        Action::new("book-flight", FAIL, tool.clone(), |_: &Trip| "fly".to_owned()).undo(
            RETRY,
            tool.clone(),
            |_, seat| format!("cancel seat {seat}"),
        )
    };
    let hotel = Action::new("book-hotel", FAIL, world.hotels.clone(), |_: &Trip| String::new());
    let saga = Saga::new("trip", world.journal("a")).step(flight(&world.flights)).harmless(hotel);
    assert_eq!(saga.run("s1", trip()).await.unwrap().outcome, Outcome::InDoubt);
    let workflow = world.journal("a").workflow("s1");
    let found = world.store.latest(&workflow, Some(&"book-flight".into())).await.unwrap().unwrap();
    assert!(world.store.memory.tamper(&workflow, found.record.version, |bytes| bytes[50] ^= 4));
    let report = saga.resume("s1").await.unwrap();
    assert_eq!(standings(&report), [Standing::InDoubt, Standing::NotReached]);
    assert_eq!(world.flights.done(), ["fly"]);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_cannot_be_read_stops_it() {
    let world = World::new();
    world.post.next([PERMANENT]);
    world.hotels.next([Luck::Vanishes]);
    assert_eq!(world.saga("a", FAIL).run("s1", trip()).await.unwrap().outcome, Outcome::InDoubt);
    // A newer program expects a text where the record has a number.
    let text = tower::service_fn(async |_: Step<String>| Ok::<_, Trouble>(String::new()));
    let flight =
        Action::new("book-flight", RETRY, text, |trip: &Trip| format!("fly {}", trip.traveller));
    let again = |name: &'static str| {
        Action::new(name, FAIL, world.hotels.clone(), |_: &Trip| String::new())
    };
    let saga = Saga::new("trip", world.journal("a"))
        .harmless(flight)
        .harmless(again("book-hotel"))
        .pivot(again("invoice"))
        .retriable(again("letter"));
    let report = saga.resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Interrupted);
    assert!(matches!(report.error, Some(Halt::Unreadable { .. })), "{report}");
}

#[tokio::test(start_paused = true)]
async fn its_steps_are_told_by_their_names() {
    let world = World::new();
    world.post.next([PERMANENT]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let saga = world.saga("a", RETRY).observe(move |teller: Teller<'_>, event: &Event| {
        if matches!(event, Event::Recorded { .. }) {
            assert_eq!(teller.pattern, "checkpoint");
            log.lock().unwrap().push(teller.name.to_owned());
        }
    });
    saga.run("s1", trip()).await.unwrap();
    let told = told.lock().unwrap();
    assert_eq!(
        *told,
        ["book-flight", "book-hotel", "invoice", "book-hotel/undo", "book-flight/undo"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_hangs_can_be_left_and_resumed() {
    let world = World::new();
    world.hotels.next([Luck::Hangs]);
    let saga = world.saga("a", RETRY);
    assert!(tokio::time::timeout(SECOND, saga.run("s1", trip())).await.is_err());
    // The same process has the lease still, and need not wait.
    let report = saga.resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(world.flights.done(), ["fly Ada"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_a_tool_keeps_waiting_does_not_hold_up_the_others() {
    let world = World::new();
    world.flights.always(Luck::Hangs);
    let saga = world.saga("a", RETRY);
    for number in 0..40 {
        assert!(
            tokio::time::timeout(SECOND, saga.run(format!("s{number}"), trip())).await.is_err()
        );
    }
    world.flights.always(None);
    // One of them all the same.
    world.flights.next([Luck::Hangs]);
    assert!(tokio::time::timeout(60 * SECOND, saga.recover()).await.is_err());
    assert_eq!(world.post.done().len(), 2 * 39);
    let recovered = saga.recover().await.unwrap();
    assert!(matches!(&recovered[..], [(_, Ok(report))] if report.outcome == Outcome::Completed));
    assert_eq!(world.flights.done().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_worker_keeps_the_lease_itself() {
    let world = World::new();
    world.hotels.takes(SECOND);
    let journal = world.journal("worker");
    let workflow = journal.workflow("s1");
    let lease = world.store.acquire(&workflow, journal.owner_name(), TTL).await.unwrap();
    let flight = |journal: &Journal| {
        let booking = Action::new("book", FAIL, world.hotels.clone(), |_: &Trip| String::new())
            .undo(RETRY, world.hotels.clone(), |_, _| String::new());
        Saga::new("trip", journal.clone()).step(booking)
    };
    let held = journal.clone().held(lease.clone());
    // A saga of another workflow is none of its business.
    let refused = flight(&held).run("s2", trip()).await.unwrap_err();
    assert!(matches!(refused, Refused::Store(StoreError::Fenced { .. })), "{refused}");
    let saga = flight(&held);
    let mut run = Box::pin(saga.run("s1", trip()));
    for _ in 0..20 {
        assert!(poll_once(run.as_mut()).await.is_pending());
        yield_now().await;
    }
    drop(run);
    // Left in doubt, under the lease that is still the worker's.
    let report = saga.resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::InDoubt);
    let summary = world.store.summary(&workflow).await.unwrap().unwrap();
    assert_eq!((summary.epoch, summary.held.is_some()), (lease.epoch, true));
    // Once it has lost it, nothing more is written.
    advance(2 * TTL).await;
    let other = world.journal("other");
    world.store.acquire(&workflow, other.owner_name(), TTL).await.unwrap();
    let refused = saga.resume("s1").await.unwrap_err();
    assert!(matches!(refused, Refused::Store(StoreError::Fenced { .. })), "{refused}");
}
