//! Four worker processes over one PostgreSQL, of which two are killed: every workflow is done, and each of its
//! effects happens once.
//!
//! Prints how far the workers are, who dies, and what the tool saw. Needs a server: `BUTTRESS_POSTGRES` is its URL, and
//! `scripts/postgres run cargo run -p buttress-examples --example workers` makes one for it.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use buttress::{
    CallError, CheckpointLayer, ServiceBuilderExt,
    checkpoint::{Effects, InDoubt, Step},
    store::{Journal, Store},
};
use buttress_flow::worker::{Task, Worker, result, submit, wait};
use buttress_store::PostgresStore;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

const TRIPS: u32 = 24;
const STEPS: [&str; 3] = ["flight", "hotel", "car"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let url = env::var("BUTTRESS_POSTGRES").map_err(|_| {
        "BUTTRESS_POSTGRES is not set: it is the URL of a PostgreSQL server, \
         which `scripts/postgres run COMMAND` makes for a command"
    })?;
    let store = PostgresStore::connect(&url).await?;
    match env::args().collect::<Vec<_>>().as_slice() {
        [_, namespace, agency] => {
            work(journal(store, namespace), Path::new(agency)).await;
            Ok(())
        }
        _ => {
            let agency = env::temp_dir().join(format!("agency-{}", process::id()));
            let outcome = watch(store, &agency).await;
            fs::remove_dir_all(&agency)?;
            outcome
        }
    }
}

fn journal(store: PostgresStore, namespace: &str) -> Journal {
    Journal::new(store).namespace(namespace).ttl(Duration::from_secs(2))
}

/// One of the worker processes: books trips until it is killed.
async fn work(journal: Journal, agency: &Path) {
    let handler = |task: Task| {
        let agency = agency.to_owned();
        async move { trip(task, agency).await }
    };
    let worker = Worker::new(journal).poll(Duration::from_millis(100));
    worker.run(handler, std::future::pending()).await;
}

/// Books the three parts of a trip, each a step that is done once.
async fn trip(task: Task, agency: PathBuf) -> Result<Vec<String>, CallError<io::Error>> {
    let book = move |step: Step<String>| {
        let agency = agency.clone();
        async move { Agency(agency).book(&step).await }
    };
    let effects = Effects::SideEffect(InDoubt::Retry);
    let service = ServiceBuilder::new()
        .layer(CheckpointLayer::new(task.journal().clone(), effects))
        .wrap_errors()
        .service(service_fn(book));
    let traveller: String = task.input().map_err(io::Error::other).map_err(CallError::Service)?;
    let mut booked = vec![];
    for part in STEPS {
        let step = Step::new(task.id(), part, traveller.clone());
        booked.push(service.clone().oneshot(step).await?);
    }
    Ok(booked)
}

/// The tool: a directory with a file for each booking, named by the idempotency key, which it honours.
struct Agency(PathBuf);

impl Agency {
    async fn book(&self, step: &Step<String>) -> io::Result<String> {
        let key = step.key.ok_or_else(|| io::Error::other("no idempotency key"))?;
        let booking = format!("{} for {}", step.step, step.request);
        let mut asked = OpenOptions::new().append(true).open(self.0.join("asked"))?;
        writeln!(asked, "{key}")?;
        sleep(Duration::from_millis(40)).await;
        match File::create_new(self.0.join(key.to_string())) {
            Ok(mut file) => file.write_all(booking.as_bytes())?,
            // Asked before: the same answer, and no second booking.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        sleep(Duration::from_millis(40)).await;
        Ok(booking)
    }
}

async fn watch(store: PostgresStore, agency: &Path) -> Result<(), BoxError> {
    let namespace = format!("trips-{}", process::id());
    let journal = journal(store.clone(), &namespace);
    fs::create_dir(agency)?;
    File::create(agency.join("asked"))?;
    for n in 1..=TRIPS {
        submit(&journal, format!("trip-{n}"), &format!("traveller {n}")).await?;
    }
    println!("{TRIPS} trips are submitted");
    let start = || -> Result<Child, BoxError> {
        let mut worker = Command::new(env::current_exe()?);
        Ok(worker.arg(&namespace).arg(agency).kill_on_drop(true).spawn()?)
    };
    let mut workers = (0..4).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
    let begun = Instant::now();
    for done in [4, 10] {
        while finished(&journal).await? < done {
            sleep(Duration::from_millis(10)).await;
        }
        let mut worker = workers.pop().ok_or("there are four")?;
        let id = worker.id().unwrap_or_default();
        worker.kill().await?;
        println!("{done} trips are booked, worker {id} is killed in the middle of others");
    }
    for n in 1..=TRIPS {
        let booked: Vec<String> =
            wait(&journal, format!("trip-{n}"), Duration::from_millis(50)).await?;
        let expected = STEPS.map(|part| format!("{part} for traveller {n}"));
        if booked != expected {
            return Err(format!("trip {n}: {booked:?}").into());
        }
    }
    println!("all trips are booked after {:.1?}, by the two that are left", begun.elapsed());
    drop(workers);

    let asked = fs::read_to_string(agency.join("asked"))?.lines().count();
    let bookings = fs::read_dir(agency)?.count() - 1;
    let expected = TRIPS as usize * STEPS.len();
    println!("the agency was asked {asked} times and made {bookings} bookings, of {expected}");
    for n in 1..=TRIPS {
        store.delete(&journal.workflow(format!("trip-{n}"))).await?;
    }
    if bookings == expected { Ok(()) } else { Err("not every booking was made once".into()) }
}

async fn finished(journal: &Journal) -> Result<usize, BoxError> {
    let mut done = 0;
    for n in 1..=TRIPS {
        let booked: Option<Vec<String>> = result(journal, format!("trip-{n}")).await?;
        done += usize::from(booked.is_some());
    }
    Ok(done)
}
