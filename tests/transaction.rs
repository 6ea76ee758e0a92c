//! Two-phase commit: what a caller and the participants see.

mod held;

use std::{
    collections::{BTreeMap, HashMap},
    future::{Future, pending},
    io::{Error, ErrorKind},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress::{
    Backoff, Event, Jitter, Teller, Verdict,
    store::{Damage, Journal, StepId, Store, StoreError},
};
use buttress_flow::transaction::{
    Answer, Ask, Coordinator, Decision, Outcome, Refused, Report, Standing, Transaction, Vote,
};
use tokio::{
    task::yield_now,
    time::{Instant, advance, sleep},
};
use tower::{BoxError, Service, service_fn};

use crate::support::{poll_once, slow::SlowStore};

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(30);

/// A participant with a disk of its own, which outlives coordinators.
#[derive(Clone, Default)]
struct Shop(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    standings: HashMap<String, Standing>,
    asked: Vec<&'static str>,
    down: bool,
    hangs: bool,
    sold_out: bool,
    takes: Duration,
}

impl Shop {
    fn set(&self, change: impl FnOnce(&mut Books)) {
        change(&mut self.0.lock().unwrap());
    }

    fn standing(&self, id: &str) -> Standing {
        self.0.lock().unwrap().standings.get(id).copied().unwrap_or_default()
    }

    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }
}

impl Service<Transaction<u32>> for Shop {
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, Transaction { id, ask }: Transaction<u32>) -> Self::Future {
        let books = self.0.clone();
        Box::pin(async move {
            let (takes, down, hangs) = {
                let books = books.lock().unwrap();
                (books.takes, books.down, books.hangs)
            };
            if down {
                return Err(Error::from(ErrorKind::ConnectionRefused).into());
            }
            if hangs {
                pending::<()>().await;
            }
            if takes > Duration::ZERO {
                sleep(takes).await;
            }
            yield_now().await;
            let answer = {
                let mut books = books.lock().unwrap();
                let possible = !books.sold_out;
                let (word, ask) = match ask {
                    Ask::Prepare(_) => ("prepare", Ask::Prepare(possible)),
                    Ask::Commit => ("commit", Ask::Commit),
                    Ask::Abort => ("abort", Ask::Abort),
                    Ask::Status => ("status", Ask::Status),
                };
                books.asked.push(word);
                let standing = books.standings.entry(id).or_default();
                *standing = standing.after(ask);
                match (*standing, possible) {
                    (Standing::Aborted, false) => Answer::refused("sold out"),
                    (standing, _) => standing.into(),
                }
            };
            yield_now().await;
            Ok(answer)
        })
    }
}

#[derive(Clone)]
struct World {
    store: SlowStore,
    shops: [Shop; 3],
}

const NAMES: [&str; 3] = ["bank", "hotel", "airline"];

impl World {
    fn new() -> Self {
        Self { store: SlowStore::new(), shops: Default::default() }
    }

    /// A coordinator in a process of its own.
    fn coordinator(&self, owner: &'static str) -> Coordinator<u32> {
        let journal =
            Journal::new(self.store.clone()).namespace("transactions").owner(owner).ttl(TTL);
        let backoff = Backoff::exponential(SECOND, 8 * SECOND).jitter(Jitter::None);
        let mut coordinator = Coordinator::new(journal).backoff(backoff).attempts(3);
        for (name, shop) in NAMES.into_iter().zip(&self.shops) {
            coordinator = coordinator.participant(name, shop.clone());
        }
        coordinator
    }

    fn standings(&self, id: &str) -> [Standing; 3] {
        [0, 1, 2].map(|at| self.shops[at].standing(id))
    }

    /// Whether all have done the same, if anything was begun.
    fn agree(&self, id: &str) -> Option<Standing> {
        let standings = self.standings(id);
        assert!(standings.iter().all(|standing| *standing == standings[0]), "{standings:?}");
        assert_ne!(standings[0], Standing::Prepared);
        (standings[0] != Standing::Unknown).then_some(standings[0])
    }
}

fn payloads() -> [(&'static str, u32); 3] {
    [("bank", 1), ("hotel", 2), ("airline", 3)]
}

fn stand(outcome: Outcome) -> Standing {
    match outcome {
        Outcome::Committed => Standing::Committed,
        Outcome::Aborted => Standing::Aborted,
        Outcome::Mixed(_) | Outcome::InDoubt => Standing::Unknown,
    }
}

#[tokio::test(start_paused = true)]
async fn all_commit_and_the_report_says_so() {
    let world = World::new();
    let coordinator = world.coordinator("a");
    let report = coordinator.run("t1", payloads()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Committed);
    assert!(report.finished && report.error.is_none());
    for participant in &report.participants {
        assert_eq!(participant.vote, Some(Vote::Yes));
        assert_eq!(participant.acknowledged, Some(Decision::Commit));
        assert_eq!((participant.attempts, &participant.error), (1, &None));
    }
    assert_eq!(world.agree("t1"), Some(Standing::Committed));
    assert_eq!(world.shops[0].asked(), ["prepare", "commit"]);
    assert_eq!(coordinator.outcome("t1").await.unwrap(), Some(Outcome::Committed));
    assert_eq!(coordinator.outcome("t2").await.unwrap(), None);
    assert_eq!(coordinator.recover().await.unwrap(), []);
    assert_eq!(
        report.to_string(),
        "t1: committed\n  bank: prepared, committed\n  hotel: prepared, committed\n  \
         airline: prepared, committed"
    );
}

#[tokio::test(start_paused = true)]
async fn who_cannot_is_told_with_the_others() {
    let world = World::new();
    world.shops[1].set(|books| books.sold_out = true);
    let report = world.coordinator("a").run("t1", payloads()).await.unwrap();
    assert_eq!((report.outcome, report.finished), (Outcome::Aborted, true));
    let hotel = report.participant("hotel").unwrap();
    assert_eq!((hotel.vote, hotel.error.as_deref()), (Some(Vote::No), Some("sold out")));
    assert_eq!(world.agree("t1"), Some(Standing::Aborted));
    assert!(report.to_string().contains("hotel: not prepared, aborted (sold out)"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_in_time_votes_no() {
    let world = World::new();
    world.shops[2].set(|books| books.hangs = true);
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let coordinator =
        world.coordinator("a").prepare_within(4 * SECOND).answer_within(SECOND).observe(
            move |teller: Teller<'_>, event: &Event| {
                assert_eq!(teller.name, "airline");
                log.lock().unwrap().push(*event);
            },
        );
    let start = Instant::now();
    let report = coordinator.run("t1", payloads()).await.unwrap();
    // Three times told, with waits of one and two seconds.
    assert_eq!(start.elapsed(), (4 + 3 + 3) * SECOND);
    assert_eq!((report.outcome, report.finished), (Outcome::Aborted, false));
    let airline = report.participant("airline").unwrap();
    assert_eq!((airline.vote, airline.acknowledged, airline.attempts), (Some(Vote::No), None, 3));
    assert_eq!(airline.error.as_deref(), Some("no answer within 1s"));
    assert_eq!(report.outstanding().count(), 1);
    let failed = |attempt| Event::Failed { attempt, verdict: Verdict::transient() };
    let retrying = |attempt, delay| Event::Retrying { attempt, delay };
    assert_eq!(
        *told.lock().unwrap(),
        [
            failed(1),
            failed(1),
            retrying(2, SECOND),
            failed(2),
            retrying(3, 2 * SECOND),
            failed(3),
            Event::Stuck { attempts: 3 }
        ]
    );
    assert_eq!(world.standings("t1")[..2], [Standing::Aborted; 2]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_down_gets_its_decision_when_it_returns() {
    let world = World::new();
    let coordinator = world.coordinator("a");
    let mut run = pin!(coordinator.run("t1", payloads()));
    while world.shops[1].standing("t1") != Standing::Prepared {
        assert!(poll_once(run.as_mut()).await.is_pending());
        yield_now().await;
    }
    world.shops[1].set(|books| books.down = true);
    let report = run.await.unwrap();
    assert_eq!((report.outcome, report.finished), (Outcome::Committed, false));
    let hotel = report.participant("hotel").unwrap();
    assert_eq!((hotel.acknowledged, hotel.attempts), (None, 3));
    assert_eq!(coordinator.outcome("t1").await.unwrap(), Some(Outcome::Committed));

    // Another coordinator need not wait for a lease; nor does it get further.
    let other = world.coordinator("b");
    let reports = other.recover().await.unwrap();
    assert_eq!(
        (reports.len(), reports[0].outcome, reports[0].finished),
        (1, Outcome::Committed, false)
    );
    assert_eq!(reports[0].participants[0].vote, None, "another asked it");

    let seen = Arc::new(Mutex::new(Vec::<Report>::new()));
    let mut attend = pin!(other.attend(60 * SECOND, |reports| {
        seen.lock().unwrap().extend(reports.unwrap());
    }));
    for _ in 0..200 {
        assert!(poll_once(attend.as_mut()).await.is_pending());
        advance(SECOND).await;
    }
    world.shops[1].set(|books| books.down = false);
    for _ in 0..200 {
        assert!(poll_once(attend.as_mut()).await.is_pending());
        advance(SECOND).await;
    }
    let last = seen.lock().unwrap().last().cloned().unwrap();
    assert!(last.finished, "{last}");
    assert_eq!(world.agree("t1"), Some(Standing::Committed));
    assert_eq!(other.recover().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn who_decides_alone_is_told_of() {
    let world = World::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let coordinator = world.coordinator("a").observe(move |teller: Teller<'_>, event: &Event| {
        assert_eq!(teller.pattern, "transaction");
        log.lock().unwrap().push((teller.name.to_owned(), *event));
    });
    let mut run = pin!(coordinator.run("t1", payloads()));
    while world.shops[1].standing("t1") != Standing::Prepared {
        assert!(poll_once(run.as_mut()).await.is_pending());
    }
    // An operator of the hotel loses patience.
    world.shops[1].set(|books| {
        books.standings.insert("t1".into(), Standing::Aborted);
    });
    let report = run.await.unwrap();
    assert_eq!((report.outcome, report.finished), (Outcome::Mixed(Decision::Commit), true));
    assert_eq!(report.participant("hotel").unwrap().acknowledged, Some(Decision::Abort));
    assert_eq!(report.participant("bank").unwrap().acknowledged, Some(Decision::Commit));
    assert_eq!(*told.lock().unwrap(), [("hotel".into(), Event::Mixed { commit: true })]);
    // It is not forgotten with the report.
    let outcome = world.coordinator("b").outcome("t1").await.unwrap();
    assert_eq!(outcome, Some(Outcome::Mixed(Decision::Commit)));
    let standings: Vec<_> = coordinator.inspect("t1").await;
    let found: Vec<_> = standings.iter().map(|(name, at)| (&**name, at.clone().unwrap())).collect();
    assert_eq!(
        found,
        [
            ("bank", Standing::Committed),
            ("hotel", Standing::Aborted),
            ("airline", Standing::Committed)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_id_is_used_once() {
    let world = World::new();
    world.shops[1].set(|books| books.sold_out = true);
    let coordinator = world.coordinator("a");
    coordinator.run("t1", payloads()).await.unwrap();
    world.shops.iter().for_each(|shop| drop(shop.asked()));
    for again in [&coordinator, &world.coordinator("b")] {
        let refused = again.run("t1", payloads()).await.unwrap_err();
        assert_eq!(refused, Refused::Duplicate { id: "t1".into() });
        assert_eq!(refused.to_string(), "the transaction id `t1` was used before");
    }
    // Nor while the first is under way, here or elsewhere.
    let mut run = pin!(coordinator.run("t2", payloads()));
    while world.shops[0].standing("t2") == Standing::Unknown {
        assert!(poll_once(run.as_mut()).await.is_pending());
    }
    for again in [&coordinator, &world.coordinator("b")] {
        let refused = again.run("t2", payloads()).await.unwrap_err();
        assert_eq!(refused, Refused::Duplicate { id: "t2".into() });
    }
    assert_eq!(run.await.unwrap().outcome, Outcome::Aborted);
    // Deleted is not unused.
    let workflow = Journal::new(world.store.clone()).namespace("transactions").workflow("t1");
    world.store.delete(&workflow).await.unwrap();
    assert!(coordinator.run("t1", payloads()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused_before_anybody_is_asked() {
    let world = World::new();
    let coordinator = world.coordinator("a");
    let refused = coordinator.run("t1", [("bank", 1), ("museum", 2)]).await.unwrap_err();
    assert_eq!(refused, Refused::NoSuchParticipant { name: "museum".into() });
    let refused = coordinator.run("t1", [("bank", 1), ("bank", 2)]).await.unwrap_err();
    assert_eq!(refused, Refused::Repeated { name: "bank".into() });
    let many = (0..65).map(|n| (format!("p{n}"), n));
    let refused = coordinator.run("t1", many).await.unwrap_err();
    assert_eq!(refused, Refused::TooMany { participants: 65 });
    // A map with keys that JSON does not know.
    let shop = service_fn(async |_: Transaction<BTreeMap<(u8, u8), u8>>| {
        Ok::<_, BoxError>(Standing::Prepared)
    });
    let odd = Coordinator::new(Journal::new(world.store.clone())).participant("shop", shop);
    let refused = odd.run("t1", [("shop", BTreeMap::from([((1, 2), 3)]))]).await.unwrap_err();
    assert!(matches!(refused, Refused::Unwritable { .. }), "{refused}");
    world.store.refuse(1);
    let refused = coordinator.run("t3", payloads()).await.unwrap_err();
    assert!(matches!(refused, Refused::Store(StoreError::Engine(_))), "{refused}");
    assert!(world.shops.iter().all(|shop| shop.asked().is_empty()));
    // Of the ids only the last was taken: by a transaction in which nobody was asked.
    let reports = coordinator.recover().await.unwrap();
    assert_eq!((reports.len(), &*reports[0].id, reports[0].finished), (1, "t3", true));
    coordinator.run("t1", payloads()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_participant_that_nobody_knows_any_more_is_told_of() {
    let world = World::new();
    let coordinator = world.coordinator("a");
    let mut run = Box::pin(coordinator.run("t1", payloads()));
    while world.shops[0].standing("t1") != Standing::Committed {
        assert!(poll_once(run.as_mut()).await.is_pending());
    }
    drop(run);
    let journal = Journal::new(world.store.clone()).namespace("transactions").owner("a");
    let poorer = Coordinator::new(journal)
        .attempts(1)
        .participant("bank", world.shops[0].clone())
        .participant("hotel", world.shops[1].clone());
    let reports = poorer.recover().await.unwrap();
    assert_eq!((reports[0].outcome, reports[0].finished), (Outcome::Committed, false));
    let airline = reports[0].participant("airline").unwrap();
    assert_eq!(airline.error.as_deref(), Some("no such participant is known here"));
    coordinator.recover().await.unwrap();
    assert_eq!(world.agree("t1"), Some(Standing::Committed));
}
