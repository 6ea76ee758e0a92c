//! A store in one file, with redb: no server, and nothing to set up.

mod clock;
mod export;
mod file;
mod key;
mod look;
mod meta;
mod options;
mod overlay;
mod queue;
mod rescue;
mod rows;
mod scrub;
mod sound;
mod start;
mod store;
mod trouble;
mod writer;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    thread::JoinHandle,
};

use ::redb::ReadTransaction;
use buttress::store::{Now, StoreError};

use self::{
    clock::Clock,
    rows::{OPEN, OpenTable, Reading},
    trouble::Stop,
    writer::{Call, Shared, View},
};
pub use self::{export::Exported, options::Options, writer::Point};

/// Keeps state in one file.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("agent.redb");
/// use std::{sync::Arc, time::Duration};
/// use buttress::store::{Store, WorkflowId};
/// use buttress_store::RedbStore;
///
/// let workflow = WorkflowId::new("shop", "order-17");
/// let store = RedbStore::open(&path)?;
/// let me: Arc<str> = "me".into();
/// store.acquire(&workflow, &me, Duration::from_secs(30)).await?;
/// drop(store);
///
/// let store = RedbStore::open(&path)?;
/// assert!(store.summary(&workflow).await?.is_some());
/// # Ok(())
/// # }
/// ```
///
/// # How it writes
/// One thread writes. What waits for it goes into one commit, which is synced before anything of it is
/// answered: sixteen workflows at once cost little more than one. Reading, and beginning a step that was
/// done before, waits for nobody: it takes microseconds, on the task that asks.
///
/// # Leases
/// One process at a time has the file open, so leases of an earlier one are over as soon as it is
/// opened again.
///
/// # Damage
/// A record that is not as it was written is passed over, one by one; so is a head, which is put together
/// from the records. Either is told. Whether anything else was changed is looked for when the file is opened,
/// unless it is [large](Options::check_below); a new file then takes the place of the damaged one, which is
/// kept. The file may also be damaged in such a way that
/// redb cannot read it: every operation then fails with [`TroubleKind::Damaged`](buttress::store::TroubleKind::Damaged).
/// (redb panics at some damage; that is caught, unless the program is built with `panic = "abort"`.)
///
/// # Clone
/// Clones are the same store. When the last is dropped, what waits is written and the file is closed;
/// that drop waits for the disk.
///
/// # Cancellation
/// An operation whose future was dropped before it found room in the queue is not done; later, it is.
///
/// # Errors
/// After an error of the disk (it may have been full) the file is opened again by the next operation. Operations of the commit that failed may have been done or not: ask again.
#[derive(Clone)]
pub struct RedbStore {
    open: Arc<Open>,
}

struct Open {
    shared: Arc<Shared>,
    clock: Clock,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl RedbStore {
    /// Opens the store in a file with the default [`Options`]; the file comes into being if there is none.
    ///
    /// Waits for the disk, and after a crash for as long as redb takes to look the file through.
    ///
    /// # Errors
    /// All are [`StoreError::Engine`], and each says what to do: the directory is not there, rights are
    /// missing, the disk is full, another process has the file open, it is damaged or no store, or a later
    /// release wrote it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Options::new().open(path)
    }

    fn new(shared: Arc<Shared>, clock: Clock, writer: JoinHandle<()>) -> Self {
        Self { open: Arc::new(Open { shared, clock, writer: Mutex::new(Some(writer)) }) }
    }

    fn now(&self) -> Now {
        self.open.clock.now(self.open.shared.boot.load(Ordering::Acquire))
    }

    /// An epoch as it would be handed out next, for what is looked at and not written.
    fn next(&self) -> u64 {
        self.open.shared.epoch.load(Ordering::Acquire).saturating_add(1)
    }

    /// Reads, here and now, unless the file was closed after an error: then the writer opens it first.
    async fn read<T>(
        &self,
        read: impl FnOnce(&Reading) -> Result<T, Stop> + Send,
    ) -> Result<T, StoreError> {
        self.snapshot(|transaction| read(&Reading::open(transaction)?)).await
    }

    /// The same, with the list of what goes on.
    async fn read_open<T>(
        &self,
        read: impl FnOnce(&Reading, &OpenTable) -> Result<T, Stop> + Send,
    ) -> Result<T, StoreError> {
        let read = |transaction: &ReadTransaction| {
            read(&Reading::open(transaction)?, &transaction.open_table(OPEN)?)
        };
        self.snapshot(read).await
    }

    async fn snapshot<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Stop> + Send,
    ) -> Result<T, StoreError> {
        let file = &self.open.shared.file;
        if file.is_closed() {
            self.write(0, |_| Ok(())).await?;
        }
        file.read(read)
    }

    /// Has the writer do something with the next commit, and waits for that.
    async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        act: impl FnOnce(&mut View<'_, '_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = &self.open.shared;
        let stopped = || trouble::stopped(&shared.file.name);
        let room = shared.queue.room.acquire().await.map_err(|_| stopped())?;
        let (call, answer) = Call::new(act);
        shared.queue.push(bytes, Box::new(call)).map_err(|_| stopped())?;
        // The writer gives it back when it has taken the call.
        room.forget();
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.queue.close();
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            // A hook may have had the last of all clones.
            && writer.thread().id() != std::thread::current().id()
        {
            // Its panics are caught.
            let _ = writer.join();
        }
        self.shared.file.close(trouble::stopped(&self.shared.file.name));
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedbStore").field(&self.open.shared.file).finish()
    }
}
