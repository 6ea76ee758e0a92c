//! The participants, who outlive the processes, and what they wrote down.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use buttress_flow::transaction::{Answer, Ask, Standing, Transaction};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::process::Role;

/// How many participants there are.
pub(super) const DESKS: usize = 3;

/// What a process says, in a line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// It has opened its store.
    Hello,
    Book {
        desk: usize,
        key: String,
        booking: Booking,
    },
    Transact {
        desk: usize,
        asked: Transaction<u32>,
    },
    /// It was told, and now tells, what became of one.
    Outcome {
        id: String,
        outcome: String,
    },
}

/// Something to do, or the number of what is to be undone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Booking {
    pub(super) id: String,
    pub(super) undo: Option<u32>,
}

/// What it hears, in a line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Heard {
    Yes,
    Booked(u32),
    Full,
    Stands(Answer),
}

#[derive(Clone)]
pub(super) struct Books {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    hellos: u32,
    /// Who does not answer.
    down: BTreeSet<usize>,
    /// What was done, once for each key that a participant got.
    booked: BTreeMap<(usize, String), (Booking, u32)>,
    /// How often a key came again.
    repeated: u32,
    standings: BTreeMap<(String, usize), Standing>,
    outcomes: BTreeMap<String, BTreeSet<String>>,
}

impl Books {
    pub(super) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let books = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let answering = books.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let books = answering.clone();
                // Whoever was killed does not read the answer.
                tokio::spawn(async move { books.answer(stream).await.ok() });
            }
        });
        books
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn answer(self, mut stream: TcpStream) -> io::Result<()> {
        let mut line = String::new();
        BufReader::new(&mut stream).read_line(&mut line).await?;
        // Half a line comes of one that was killed as it wrote it, nothing of one that never began.
        let Ok(said) = serde_json::from_str(&line) else { return Ok(()) };
        let Some(heard) = self.state().hear(said) else { return Ok(()) };
        // The effect is there, and nobody knows it yet.
        sleep(Duration::from_millis(2)).await;
        stream.write_all(format!("{}\n", serde_json::to_string(&heard)?).as_bytes()).await
    }

    pub(super) fn hellos(&self) -> u32 {
        self.state().hellos
    }

    /// One participant, if there is one of this number, is down for some time.
    pub(super) fn out_of_order(&self, desk: usize, time: Duration) {
        if desk < DESKS && self.state().down.insert(desk) {
            let books = self.clone();
            tokio::spawn(async move {
                sleep(time).await;
                books.state().down.remove(&desk);
            });
        }
    }

    /// Whether all has come to one outcome, and the one that was told.
    pub(super) fn check(&self, role: Role, id: &str) {
        let state = self.state();
        let outcomes: Vec<&String> = state.outcomes.get(id).into_iter().flatten().collect();
        let [outcome] = outcomes[..] else { panic!("{id} came to {outcomes:?}") };
        let effects = [0, 1, 2].map(|desk| match role {
            Role::Saga => state.saga(id, desk),
            Role::Transaction => match state.standings.get(&(id.to_owned(), desk)) {
                Some(Standing::Committed) => 1,
                Some(Standing::Prepared) => panic!("{id} is prepared at {desk} for ever"),
                Some(Standing::Aborted | Standing::Unknown) | None => 0,
            },
        });
        let expected = match outcome.as_str() {
            "completed" | "committed" => [1; DESKS],
            "compensated" | "aborted" => [0; DESKS],
            other => panic!("{id} is {other}"),
        };
        assert_eq!(effects, expected, "{id} is {outcome}: {state:#?}");
        assert!(!id.starts_with("full") || effects == [0; DESKS], "{id} is {outcome}");
    }

    pub(super) fn show(&self) -> String {
        format!("{:#?}", self.state())
    }

    pub(super) fn sum(&self) -> String {
        let state = self.state();
        let mut sum = BTreeMap::<&str, u32>::new();
        for outcome in state.outcomes.values().flatten() {
            *sum.entry(outcome).or_default() += 1;
        }
        format!("{sum:?}, {} effects, {} keys came again", state.booked.len(), state.repeated)
    }
}

impl State {
    /// `None` if nobody answers.
    fn hear(&mut self, said: Said) -> Option<Heard> {
        Some(match said {
            Said::Hello => {
                self.hellos += 1;
                Heard::Yes
            }
            Said::Outcome { id, outcome } => {
                self.outcomes.entry(id).or_default().insert(outcome);
                Heard::Yes
            }
            Said::Book { desk, .. } | Said::Transact { desk, .. } if self.down.contains(&desk) => {
                return None;
            }
            Said::Book { desk, booking, .. } if full(&booking.id, desk) => Heard::Full,
            Said::Book { desk, key, booking } => {
                let next = 100 + self.booked.len() as u32;
                let before = self.booked.get(&(desk, key.clone()));
                self.repeated += u32::from(before.is_some());
                assert!(before.is_none_or(|(before, _)| *before == booking), "{before:?}");
                Heard::Booked(self.booked.entry((desk, key)).or_insert((booking, next)).1)
            }
            Said::Transact { desk, asked: Transaction { id, ask } } => {
                let ask = match ask {
                    Ask::Prepare(_) => Ask::Prepare(!full(&id, desk)),
                    Ask::Commit => Ask::Commit,
                    Ask::Abort => Ask::Abort,
                    Ask::Status => Ask::Status,
                };
                let standing = self.standings.entry((id, desk)).or_default();
                self.repeated +=
                    u32::from(*standing != Standing::Unknown && standing.after(ask) == *standing);
                *standing = standing.after(ask);
                Heard::Stands((*standing).into())
            }
        })
    }

    /// How many effects of a saga stand at a participant: each was made once, and undone once.
    fn saga(&self, id: &str, desk: usize) -> u32 {
        let of = |undo: bool| {
            let booked = self.booked.iter().filter(|((at, _), _)| *at == desk);
            let booked = booked.map(|(_, booked)| booked);
            booked
                .filter(|(booking, _)| booking.id == id && booking.undo.is_some() == undo)
                .collect()
        };
        let (done, undone): (Vec<_>, Vec<_>) = (of(false), of(true));
        assert!(
            done.len() <= 1 && undone.len() <= done.len(),
            "{id} at {desk}: {done:?} {undone:?}"
        );
        let numbers = |booked: &[&(Booking, u32)]| booked.first().map(|(_, number)| *number);
        let undone_number = undone.first().and_then(|(booking, _)| booking.undo);
        assert!(undone.is_empty() || undone_number == numbers(&done), "{done:?} {undone:?}");
        (done.len() - undone.len()) as u32
    }
}

/// The last participant never has room for some.
fn full(id: &str, desk: usize) -> bool {
    desk == DESKS - 1 && id.starts_with("full")
}
