//! What a store is held to: the suite that every engine of this crate passes, for any other.
//!
//! Say how your store is opened, reopened, damaged and given time ([`Subject`]); each [case](Case) then
//! says in a sentence what was broken, or nothing. The suite needs no test framework; with one,
//! [`conformance_tests!`](crate::conformance_tests) makes each case a test of its own.
//!
//! ```
//! use std::{error::Error, sync::{Mutex, PoisonError}, time::Duration};
//! use buttress::store::{MemoryStore, Retention, WorkflowId};
//! use buttress_store::conformance::{self, Change, Subject};
//!
//! struct Memory;
//!
//! impl Subject for Memory {
//!     type Store = MemoryStore;
//!     type Home = Mutex<Option<MemoryStore>>;
//!
//!     async fn home(&self) -> Result<Self::Home, Box<dyn Error + Send + Sync>> {
//!         Ok(Mutex::default())
//!     }
//!
//!     async fn open(&self, home: &Self::Home, retention: Retention) -> Result<MemoryStore, Box<dyn Error + Send + Sync>> {
//!         let mut home = home.lock().unwrap_or_else(PoisonError::into_inner);
//!         Ok(home.get_or_insert_with(|| MemoryStore::with_retention(retention)).clone())
//!     }
//!
//!     async fn tamper(&self, _: &Self::Home, store: &MemoryStore, workflow: &WorkflowId, version: u64, change: Change<'_>) -> bool {
//!         store.replace(workflow, version, |bytes| change(&bytes))
//!     }
//!
//!     async fn pass(&self, time: Duration) {
//!         tokio::time::advance(time).await;
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let report = conformance::run(&Memory).await;
//! assert!(report.passed(), "{report}");
//! # }
//! ```
//!
//! # What is not in it
//! Power loss and kills, which need a process or a disk of their own; damage to what an engine keeps
//! besides records and heads; speed.

#[macro_use]
mod say;
mod cases;
mod damage;
mod dropped;
mod fence;
mod fork;
mod head;
mod lease;
mod life;
mod list;
mod names;
mod race;
mod restart;
mod retention;
mod scene;
mod state;
mod step;

use std::{error::Error, fmt, future::Future, pin::Pin, time::Duration};

use buttress::store::{Retention, Store, WorkflowId};

pub use self::cases::cases;

/// What becomes of the stored bytes of a record; `None`: it is lost.
pub type Change<'a> = &'a (dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync);

/// A store to be held to the suite: how it is opened, damaged and given time.
pub trait Subject: Send + Sync {
    /// The store.
    type Store: Store;
    /// Where a store rests: a directory, a schema. May clear up when it is dropped.
    type Home: Send + Sync;

    /// A new home, in which nothing is stored.
    fn home(&self)
    -> impl Future<Output = Result<Self::Home, Box<dyn Error + Send + Sync>>> + Send;

    /// Opens the store of a home. Called again for the same one after the store was dropped, as after a
    /// restart, and then maybe with another retention.
    ///
    /// A store that is gone with its process may give the same one again, with the retention that it has.
    fn open(
        &self,
        home: &Self::Home,
        retention: Retention,
    ) -> impl Future<Output = Result<Self::Store, Box<dyn Error + Send + Sync>>> + Send;

    /// Changes the stored bytes of a record behind the store's back, as a failing disk would, or removes
    /// them. Says whether there were any. If the store keeps copies in memory, it is made to forget them.
    fn tamper(
        &self,
        home: &Self::Home,
        store: &Self::Store,
        workflow: &WorkflowId,
        version: u64,
        change: Change<'_>,
    ) -> impl Future<Output = bool> + Send;

    /// Changes what is kept of a workflow beside its records: its head, as a failing disk would, while its store is
    /// closed. Says whether there is such a thing.
    ///
    /// By default there is not, as if the store found all it knows in the records.
    fn behead(
        &self,
        _home: &Self::Home,
        _workflow: &WorkflowId,
    ) -> impl Future<Output = bool> + Send {
        async { false }
    }

    /// Lets time pass, on the clock of the leases and on that of the ages: a test's paused clock is advanced,
    /// a real one waited for. Never less than was asked for.
    fn pass(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// How a case ends: a sentence says what was broken.
pub type Outcome = Result<(), String>;

/// A run of a case: one future, so that it may be spawned or given a timeout.
pub type Run<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// One thing that a store is held to.
pub struct Case<S> {
    name: &'static str,
    run: for<'a> fn(&'a S) -> Run<'a>,
}

impl<S: Subject> Case<S> {
    /// Its name, which is what it holds the store to, in words joined by `_`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Holds a store to it, in a home of its own.
    pub fn run<'a>(&self, subject: &'a S) -> Run<'a> {
        (self.run)(subject)
    }
}

impl<S> fmt::Debug for Case<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What came of each case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The cases in the order in which they ran, each with its outcome.
    pub cases: Vec<(&'static str, Outcome)>,
}

impl Report {
    /// Whether all passed.
    pub fn passed(&self) -> bool {
        self.broken().next().is_none()
    }

    /// Those that did not pass, and what was broken.
    pub fn broken(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.cases
            .iter()
            .filter_map(|(name, outcome)| Some((*name, outcome.as_ref().err()?.as_str())))
    }
}

impl fmt::Display for Report {
    /// How many passed, and a line for each that did not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broken = self.broken().count();
        write!(f, "{} of {} cases passed", self.cases.len() - broken, self.cases.len())?;
        for (name, sentence) in self.broken() {
            write!(f, "\n{name}: {sentence}")?;
        }
        Ok(())
    }
}

/// Runs all cases, one after the other.
pub async fn run<S: Subject>(subject: &S) -> Report {
    let mut report = Report::default();
    for case in cases::<S>() {
        report.cases.push((case.name, case.run(subject).await));
    }
    report
}

/// Runs the case of a name.
pub async fn check<S: Subject>(subject: &S, name: &str) -> Outcome {
    match cases::<S>().into_iter().find(|case| case.name == name) {
        Some(case) => case.run(subject).await,
        None => Err(format!("there is no case `{name}`")),
    }
}
