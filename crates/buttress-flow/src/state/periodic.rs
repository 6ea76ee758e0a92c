//! Saves every so often, beside the work.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use buttress::{Fault, Kind};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use super::{
    Checkpoints, Every, StateError,
    version::{Draft, encode},
};

/// The side of the work: told of each step, it has the state saved every so often.
///
/// [`note`](Self::note) does not wait: the [`Saver`] saves while the work goes on. If it is still at it when the
/// next save is due, the newest state takes its turn when it is done; one that was due in between is left
/// out. Made by [`Checkpoints::periodic`].
///
/// ```
/// use buttress::store::{Journal, MemoryStore};
/// use buttress_flow::state::{Checkpoints, Every, StateError};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let journal = Journal::new(MemoryStore::new());
/// let checkpoints = Checkpoints::new(journal.clone(), "counter");
/// let (mut periodic, saver) = checkpoints.periodic(Every::steps(10));
/// let work = async move {
///     for count in 1..=25 {
///         tokio::task::yield_now().await; // the work
///         periodic.note(&count, serde_json::Value::Null)?;
///     }
///     periodic.flush(&25, "the end").await
/// };
/// // Beside each other in one task; `tokio::spawn(saver)` will do as well.
/// let (last, saved) = tokio::join!(work, saver);
/// assert_eq!((last, saved), (Ok(3), Ok(Some(3))));
///
/// let counts = Checkpoints::<u32>::new(journal, "counter");
/// assert_eq!(counts.load(1).await.unwrap().state, 10);
/// assert_eq!(counts.latest().await.unwrap().unwrap().state, 25);
/// # }
/// ```
///
/// # Cancellation
/// Dropping it lets the saver finish what is due, and end. What was noted and is not due is not saved:
/// [`flush`](Self::flush) at the end.
pub struct Periodic<T> {
    every: Every,
    steps: u32,
    since: Instant,
    count: u64,
    due: watch::Sender<Option<Due>>,
    told: watch::Receiver<Told>,
    state: PhantomData<fn(&T)>,
}

#[derive(Clone)]
struct Due {
    number: u64,
    draft: Draft,
}

/// What became of the last save.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    number: u64,
    outcome: Option<Result<u64, StateError>>,
}

impl<T> Checkpoints<T>
where
    T: Serialize + DeserializeOwned + 'static,
{
    /// Saves every so often: the first half is for the work, the second is to be polled beside it.
    pub fn periodic(self, every: Every) -> (Periodic<T>, Saver) {
        let (due, dues) = watch::channel(None);
        let (tell, told) = watch::channel(Told::default());
        let saver = Saver(Box::pin(save(self, dues, tell)));
        let since = Instant::now();
        let state = PhantomData;
        (Periodic { every, steps: 0, since, count: 0, due, told, state }, saver)
    }
}

impl<T: Serialize + DeserializeOwned> Periodic<T> {
    /// Takes note of a step and the state after it, which is saved if that is due. Does not wait.
    ///
    /// # Errors
    /// That of an earlier save, once, or each time if no other can succeed; the state is due all the same.
    /// [`StateError::Unwritable`] if it cannot be put into bytes, [`StateError::Gone`] if the saver is.
    pub fn note(&mut self, state: &T, metadata: impl Into<Value>) -> Result<(), StateError> {
        self.steps = self.steps.saturating_add(1);
        if self.every.is_due(self.steps, self.since.elapsed()) {
            self.hand_over(state, metadata.into())?;
        }
        let gone = self.told.has_changed().is_err();
        let told = self.told.borrow_and_update();
        match &told.outcome {
            Some(Err(error)) if gone || told.has_changed() => Err(error.clone()),
            _ if gone => Err(StateError::Gone),
            _ => Ok(()),
        }
    }

    /// Saves a state, due or not, and waits until that is done.
    ///
    /// # Errors
    /// As of [`Checkpoints::save`], and [`StateError::Gone`] if the saver is.
    pub async fn flush(
        &mut self,
        state: &T,
        metadata: impl Into<Value>,
    ) -> Result<u64, StateError> {
        self.hand_over(state, metadata.into())?;
        let count = self.count;
        let told = self.told.wait_for(|told| told.number >= count).await;
        match told.map(|told| told.outcome.clone()) {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(StateError::Gone),
            // Why it is gone it has told, if it could.
            Err(_) => match self.told.borrow().outcome.clone() {
                Some(Err(error)) => Err(error),
                _ => Err(StateError::Gone),
            },
        }
    }

    fn hand_over(&mut self, state: &T, metadata: Value) -> Result<(), StateError> {
        let draft = encode(state, &metadata)?;
        self.steps = 0;
        self.since = Instant::now();
        self.count += 1;
        self.due.send_replace(Some(Due { number: self.count, draft }));
        Ok(())
    }
}

/// The side of the store: a future that saves what is due, one at a time, until the work is done.
///
/// It ends when its [`Periodic`] is dropped and all that was due is saved, with the last version that it
/// saved; or with the error of the last save, or of one after which no other can succeed, such as a
/// stale one. Dropping it saves nothing more.
#[must_use = "nothing is saved unless it is polled"]
pub struct Saver(Pin<Box<dyn Future<Output = Result<Option<u64>, StateError>> + Send>>);

impl Future for Saver {
    type Output = Result<Option<u64>, StateError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

async fn save<T>(
    mut checkpoints: Checkpoints<T>,
    mut due: watch::Receiver<Option<Due>>,
    told: watch::Sender<Told>,
) -> Result<Option<u64>, StateError> {
    let mut last = Ok(None);
    // What is due when the work ends is seen before its end is.
    while due.changed().await.is_ok() {
        let Some(Due { number, draft }) = due.borrow_and_update().clone() else { continue };
        let outcome = checkpoints.commit(draft).await;
        told.send_replace(Told { number, outcome: Some(outcome.clone()) });
        let ended = matches!(&outcome, Err(error) if error.verdict().kind == Kind::Permanent);
        last = outcome.map(Some);
        if ended {
            break;
        }
    }
    last
}

impl<T> fmt::Debug for Periodic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Periodic")
            .field("every", &self.every)
            .field("steps", &self.steps)
            .field("told", &self.told.borrow().outcome)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Saver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saver").finish_non_exhaustive()
    }
}
