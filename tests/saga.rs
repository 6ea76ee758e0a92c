//! Saga: what a caller and the tools see.

mod doubt;
mod held;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    future::{Future, pending},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll},
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
