//! Three participants, a coordinator that is killed, and a participant that is away meanwhile.
//!
//! Each participant keeps what it was told, as if on a disk of its own. Prints what became of four
//! transactions, and how they stand at the participants after each chapter. The clock is simulated.

use std::{
    collections::HashMap,
    error::Error,
    io::{self, ErrorKind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buttress::store::{Journal, MemoryStore};
use buttress_flow::transaction::{Answer, Ask, Coordinator, Standing, Transaction};
use tokio::time::{sleep, timeout};
use tower::{BoxError, service_fn};

/// A participant: some of what is asked for there is, and an answer takes a second.
#[derive(Default)]
struct Shop {
    stock: u32,
    standings: Mutex<HashMap<String, Standing>>,
    away: AtomicBool,
}

impl Shop {
    fn new(stock: u32) -> Arc<Self> {
        Arc::new(Self { stock, ..Self::default() })
    }

    async fn answer(self: Arc<Self>, asked: Transaction<u32>) -> Result<Answer, BoxError> {
        sleep(Duration::from_millis(500)).await;
        if self.away.load(Ordering::Relaxed) {
            return Err(io::Error::from(ErrorKind::ConnectionRefused).into());
        }
        let (ask, enough) = match asked.ask {
            Ask::Prepare(wanted) => (Ask::Prepare(wanted <= self.stock), wanted <= self.stock),
            Ask::Commit => (Ask::Commit, true),
            Ask::Abort => (Ask::Abort, true),
            Ask::Status => (Ask::Status, true),
        };
        let standing = {
            let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
            // A real participant writes it to its disk here, before it answers.
            let standing = standings.entry(asked.id).or_default();
            *standing = standing.after(ask);
            *standing
        };
        sleep(Duration::from_millis(500)).await;
        Ok(if enough { standing.into() } else { Answer::refused("not so many") })
    }
}

type Shops = [(&'static str, Arc<Shop>); 3];

fn coordinator(owner: &'static str, store: &MemoryStore, shops: &Shops) -> Coordinator<u32> {
    let journal = Journal::new(store.clone()).namespace("transactions").owner(owner);
    shops.iter().fold(Coordinator::new(journal), |coordinator, (name, shop)| {
        let shop = shop.clone();
        coordinator.participant(*name, service_fn(move |asked| shop.clone().answer(asked)))
    })
}

async fn show(coordinator: &Coordinator<u32>, id: &str) {
    let standings = coordinator.inspect(id).await;
    let words: Vec<_> = standings
        .iter()
        .map(|(name, standing)| match standing {
            Ok(standing) => format!("{name} {standing}"),
            Err(_) => format!("{name} away"),
        })
        .collect();
    println!("  at the participants: {}", words.join(", "));
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let shops = [("bank", Shop::new(1_000)), ("hotel", Shop::new(10)), ("airline", Shop::new(10))];
    let store = MemoryStore::new();
    let first = coordinator("first", &store, &shops);
    let second = coordinator("second", &store, &shops);
    let wanted = |rooms| [("bank", 300), ("hotel", rooms), ("airline", 2)];

    println!("{}", first.run("all well", wanted(1)).await?);
    println!("{}", first.run("too many rooms", wanted(11)).await?);

    println!("killed before the decision: while all prepare");
    let killed = timeout(Duration::from_millis(700), first.run("early", wanted(1))).await;
    assert!(killed.is_err());
    show(&second, "early").await;
    // Others take the transaction up when the lease of the dead one is over: after 30 s.
    sleep(Duration::from_secs(30)).await;
    for report in second.recover().await? {
        println!("{report}");
    }

    println!("killed after the decision; the hotel was away, and stays so for ten minutes");
    let killed = timeout(Duration::from_millis(1_200), first.run("late", wanted(1))).await;
    assert!(killed.is_err());
    let hotel = &shops[1].1;
    hotel.away.store(true, Ordering::Relaxed);
    show(&second, "late").await;
    sleep(Duration::from_secs(30)).await;
    for report in second.recover().await? {
        println!("{report}");
    }
    let attend = second.attend(Duration::from_secs(60), |reports| {
        for report in reports.into_iter().flatten().filter(|report| report.finished) {
            println!("{report}");
        }
    });
    let back = async {
        sleep(Duration::from_secs(600)).await;
        hotel.away.store(false, Ordering::Relaxed);
        sleep(Duration::from_secs(120)).await;
    };
    tokio::select! {
        biased;
        () = back => {}
        never = attend => match never {},
    }
    show(&second, "late").await;
    Ok(())
}
