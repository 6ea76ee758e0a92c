//! The process that is killed.

use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    Backoff, Fault, Verdict,
    checkpoint::{Effects, InDoubt, Step},
    store::{Journal, Life, Pending, Store},
};
use buttress_flow::{
    saga::{Action, Forward, Refused, Saga},
    transaction::{Coordinator, Outcome, Refused as NotTried, Transaction},
};
use buttress_store::{postgres, redb};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::sleep,
};
use tower::{BoxError, Service, service_fn};

use super::books::{Booking, DESKS, Heard, Said};
use crate::support::through::{Through, through};

/// What a process is told of its part.
pub(super) const PART: &str = "BUTTRESS_TEST_KILLED";

/// Others wait so long for the leases of the dead.
const TTL: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_millis(5);

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) role: Role,
    pub(super) engine: Engine,
    /// Where the participants are.
    pub(super) address: SocketAddr,
    pub(super) ids: Vec<String>,
    /// After how many places it kills itself.
    pub(super) dies: Option<u32>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Role {
    Saga,
    Transaction,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Engine {
    File(PathBuf),
    Server { url: String, schema: String },
}

#[derive(Debug)]
struct Fate(Option<AtomicU32>);

impl Fate {
    /// Comes to a place at which it may be killed.
    fn pass(&self) {
        if let Some(left) = &self.0
            && left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            let me = std::process::id().to_string();
            Command::new("kill").args(["-KILL", &me]).status().unwrap();
        }
    }
}

/// A store whose process may die before and after each operation.
#[derive(Debug)]
struct Deadly {
    inner: Arc<dyn Store>,
    fate: Arc<Fate>,
}

impl Through for Deadly {
    type Inner = Arc<dyn Store>;

    fn through<'a, T: Send + 'a>(
        &'a self,
        _: &'static str,
        act: impl FnOnce(&'a Arc<dyn Store>) -> Pending<'a, T> + Send + 'a,
    ) -> Pending<'a, T> {
        Box::pin(async move {
            self.fate.pass();
            let done = act(&self.inner).await;
            self.fate.pass();
            done
        })
    }
}

through!(Deadly);

/// The way to the participants.
#[derive(Clone)]
struct Wire {
    address: SocketAddr,
    fate: Arc<Fate>,
}

impl Wire {
    async fn say(&self, said: Said) -> io::Result<Heard> {
        self.fate.pass();
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(format!("{}\n", serde_json::to_string(&said)?).as_bytes()).await?;
        self.fate.pass();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        self.fate.pass();
        if line.is_empty() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    async fn tell(&self, id: &str, outcome: impl fmt::Display) {
        let (id, outcome) = (id.to_owned(), outcome.to_string());
        self.say(Said::Outcome { id, outcome }).await.unwrap();
    }
}

/// Brings all to their ends: first what others left behind, then what nobody has begun.
pub(super) async fn play(Part { role, engine, address, ids, dies }: Part) {
    let fate = Arc::new(Fate(dies.map(AtomicU32::new)));
    let store: Arc<dyn Store> = match engine {
        Engine::File(path) => {
            let fate = fate.clone();
            Arc::new(redb::Options::new().on_point(move |_| fate.pass()).open(path).unwrap())
        }
        Engine::Server { url, schema } => {
            Arc::new(postgres::Options::new().schema(schema).connect(&url).await.unwrap())
        }
    };
    let store = Deadly { inner: store, fate: fate.clone() };
    let journal = Journal::new(store).namespace("drill").ttl(TTL);
    let wire = Wire { address, fate };
    wire.say(Said::Hello).await.unwrap();
    let saga = saga(&journal, &wire);
    let coordinator = coordinator(&journal, &wire);
    loop {
        match role {
            Role::Saga => sagas(&saga, &wire, &ids).await,
            Role::Transaction => transactions(&coordinator, &wire, &ids).await,
        }
        let mut open = 0;
        for id in &ids {
            let summary = journal.store().summary(&journal.workflow(&**id)).await.unwrap();
            open += u32::from(summary.is_none_or(|summary| summary.life != Life::Finished));
        }
        if open == 0 {
            return;
        }
        sleep(TICK).await;
    }
}

fn backoff() -> Backoff {
    Backoff::constant(TICK)
}

#[derive(Debug)]
enum Trouble {
    Full,
    Lost(io::Error),
}

impl Fault for Trouble {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Full => Verdict::permanent(),
            Self::Lost(error) => error.verdict(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Lost(error) => error.fmt(f),
        }
    }
}

/// A participant of sagas.
fn desk(
    wire: &Wire,
    desk: usize,
) -> impl Service<Step<Booking>, Response = u32, Error = Trouble, Future: Send>
+ Clone
+ Send
+ Sync
+ use<> {
    let wire = wire.clone();
    service_fn(move |step: Step<Booking>| {
        let wire = wire.clone();
        async move {
            let (key, booking) = (step.key.unwrap().to_string(), step.request);
            match wire.say(Said::Book { desk, key, booking }).await.map_err(Trouble::Lost)? {
                Heard::Booked(number) => Ok(number),
                Heard::Full => Err(Trouble::Full),
                other => panic!("{other:?}"),
            }
        }
    })
}

/// Two that can be undone, and one that decides. The state is the id.
fn saga(journal: &Journal, wire: &Wire) -> Saga<String, Forward> {
    const RETRY: Effects = Effects::SideEffect(InDoubt::Retry);
    let book = |at: usize| {
        Action::new(format!("book-{at}"), RETRY, desk(wire, at), |id: &String| Booking {
            id: id.clone(),
            undo: None,
        })
    };
    let undoable = |at: usize| {
        book(at).undo(RETRY, desk(wire, at), |id, number| Booking {
            id: id.clone(),
            undo: Some(*number),
        })
    };
    Saga::new("trip", journal.clone())
        .backoff(backoff())
        .attempts(3)
        .step(undoable(0))
        .step(undoable(1))
        .pivot(book(2))
}

async fn sagas(saga: &Saga<String, Forward>, wire: &Wire, ids: &[String]) {
    for (id, report) in saga.recover().await.unwrap() {
        let report = report.unwrap();
        if report.finished() {
            wire.tell(&id, report.outcome).await;
        }
    }
    for id in ids {
        match saga.run(&**id, id.clone()).await {
            Ok(report) if report.finished() => wire.tell(id, report.outcome).await,
            Ok(_) | Err(Refused::Held { .. }) => {}
            Err(refused) => panic!("{id}: {refused}"),
        }
    }
}

fn coordinator(journal: &Journal, wire: &Wire) -> Coordinator<u32> {
    let coordinator = Coordinator::new(journal.clone()).backoff(backoff()).attempts(3);
    (0..DESKS).fold(coordinator, |coordinator, desk| {
        let wire = wire.clone();
        let shop = service_fn(move |asked: Transaction<u32>| {
            let wire = wire.clone();
            async move {
                match wire.say(Said::Transact { desk, asked }).await? {
                    Heard::Stands(answer) => Ok::<_, BoxError>(answer),
                    other => panic!("{other:?}"),
                }
            }
        });
        coordinator.participant(format!("shop-{desk}"), shop)
    })
}

async fn transactions(coordinator: &Coordinator<u32>, wire: &Wire, ids: &[String]) {
    for report in coordinator.recover().await.unwrap() {
        if report.outcome != Outcome::InDoubt {
            wire.tell(&report.id, report.outcome).await;
        }
    }
    for id in ids {
        match coordinator.outcome(&**id).await.unwrap() {
            Some(Outcome::InDoubt) => {}
            Some(outcome) => wire.tell(id, outcome).await,
            None => {
                let payloads = (0..DESKS).map(|desk| (format!("shop-{desk}"), 1));
                match coordinator.run(&**id, payloads).await {
                    Ok(report) if report.outcome == Outcome::InDoubt => {}
                    Ok(report) => wire.tell(id, report.outcome).await,
                    Err(NotTried::Duplicate { .. }) => {}
                    Err(refused) => panic!("{id}: {refused}"),
                }
            }
        }
    }
}
