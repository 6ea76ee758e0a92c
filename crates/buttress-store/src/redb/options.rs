//! How a store is opened.

use std::{
    any::Any,
    fmt, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use ::redb::StorageBackend;
use buttress::{
    Observe, Tracing,
    store::{Retention, StoreError, TroubleKind},
};

use super::{
    Point, RedbStore,
    clock::Clock,
    file::{File, Source},
    queue::Queue,
    rescue, start, trouble,
    writer::{self, Shared},
};

/// How a store is opened.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("agent.redb");
/// use buttress::store::Retention;
/// use buttress_store::redb::Options;
///
/// let ten = std::num::NonZeroU64::new(10).ok_or("ten")?;
/// let retention = Retention { versions: ten, ..Retention::default() };
/// let store = Options::new().retention(retention).open(path)?;
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Options {
    retention: Retention,
    quick_repair_above: u64,
    check_below: u64,
    cache: usize,
    observe: Arc<dyn Observe>,
    on_point: Option<Arc<dyn Fn(Point) + Send + Sync>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            quick_repair_above: 256 << 20,
            check_below: 64 << 20,
            cache: 64 << 20,
            observe: Arc::new(Tracing),
            on_point: None,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how much is kept.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Sets the size of the file, in bytes, above which commits record what a repair after a crash needs; 256 MiB by
    /// default.
    ///
    /// Below, a file that was not closed is walked when it is opened next, which takes about two seconds
    /// per GiB. Above, each commit costs a second sync, and opening takes no time.
    #[must_use]
    pub fn quick_repair_above(mut self, bytes: u64) -> Self {
        self.quick_repair_above = bytes;
        self
    }

    /// Sets the size of the file, in bytes, below which every page of it is checked when it is opened;
    /// 64 MiB by default.
    ///
    /// A record that was changed is found without that. What is found only by this is a changed key, by which
    /// something is missed that is there. A file in which anything was changed is replaced by a new one with
    /// all that is intact, and stays beside it under a name that ends with `.damaged`. (A storage of your own
    /// is refused instead.)
    #[must_use]
    pub fn check_below(mut self, bytes: u64) -> Self {
        self.check_below = bytes;
        self
    }

    /// Sets how much of the file may be kept in memory, in bytes; 64 MiB by default.
    #[must_use]
    pub fn cache(mut self, bytes: usize) -> Self {
        self.cache = bytes;
        self
    }

    /// Sets who is told of damage that the store found and made good; `tracing` by default.
    ///
    /// It is called from the thread that writes too.
    #[must_use]
    pub fn observe(mut self, observe: impl Observe + 'static) -> Self {
        self.observe = Arc::new(observe);
        self
    }

    /// Sets what is called at each [`Point`] of the work of the writer, by its thread, for drills.
    #[must_use]
    pub fn on_point(mut self, hook: impl Fn(Point) + Send + Sync + 'static) -> Self {
        self.on_point = Some(Arc::new(hook));
        self
    }

    /// Opens the store in a file, which comes into being if there is none. See [`RedbStore::open`].
    pub fn open(self, path: impl Into<PathBuf>) -> Result<RedbStore, StoreError> {
        self.open_source(Source::File(path.into()))
    }

    /// Makes the file of a store as small as what it holds, and returns how many bytes it had before and has now.
    ///
    /// No process may have it open. A crash in the middle of it loses nothing. A store needs it only after it
    /// held much more than it does: a file uses its room again, and needs some, since what is written takes a new
    /// place before the old one is free.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); [`StoreError::Engine`] too if there is no such file.
    pub fn compact(self, path: impl Into<PathBuf>) -> Result<(u64, u64), StoreError> {
        let (cache, path) = (self.cache, path.into());
        let source = Source::File(path.clone());
        let name = source.name();
        fs::metadata(&path).map_err(|error| trouble::io_error(&name, "compact", error))?;
        // What is damaged or not a store is found, and what is of an older layout brought up to date.
        drop(self.open(path)?);
        let before = source.len();
        let mut database = source.connect(cache, false)?;
        let compacted = catch_unwind(AssertUnwindSafe(|| database.compact()));
        // Not while a panic unwinds: it may panic too.
        let closed = catch_unwind(AssertUnwindSafe(|| database.close()));
        let failed = |error| trouble::engine(&name, error);
        let panicked = |payload: Box<dyn Any + Send>| trouble::panicked(&name, &*payload);
        compacted.map_err(panicked)?.map_err(|error| failed(error.into()))?;
        closed.map_err(panicked)?.map_err(|error| failed(error.into()))?;
        Ok((before, source.len()))
    }

    /// Opens the store on a storage of your own, such as a simulated disk.
    ///
    /// After an error of the storage it is closed and used again, so `close` should release its locks only.
    pub fn open_backend(self, backend: impl StorageBackend) -> Result<RedbStore, StoreError> {
        self.open_source(Source::Disk(Arc::new(backend)))
    }

    fn open_source(self, source: Source) -> Result<RedbStore, StoreError> {
        source.prepare()?;
        let check = source.len() < self.check_below;
        let (database, found) = match source.start(self.cache, check) {
            Err(error) if check && is_damage(&error) => {
                let Source::File(path) = &source else { return Err(error) };
                let found = rescue::rescue(path)?;
                (source.connect(self.cache, true)?, found)
            }
            opened => (opened?, Vec::new()),
        };
        let shared = Arc::new(Shared {
            file: File::new(source, self.cache, database),
            queue: Queue::default(),
            retention: self.retention,
            quick_repair_above: self.quick_repair_above,
            observe: self.observe,
            on_point: self.on_point,
            epoch: AtomicU64::new(0),
            boot: AtomicU64::new(0),
        });
        for (workflow, version) in found {
            shared.tell_damage(workflow.as_ref(), version);
        }
        let path = &*shared.file.name;
        let started = catch_unwind(AssertUnwindSafe(|| start::start(&shared)));
        let meta = match started {
            Ok(started) => started.map_err(|stop| stop.tell(path))?,
            Err(payload) => return Err(trouble::panicked(path, &*payload)),
        };
        shared.epoch.store(meta.epoch, Ordering::Release);
        shared.boot.store(meta.epoch, Ordering::Release);
        let writer = thread::Builder::new().name("buttress-redb".into()).spawn({
            let shared = shared.clone();
            move || writer::run(&shared)
        });
        match writer {
            Ok(writer) => Ok(RedbStore::new(shared, Clock::start(), writer)),
            Err(error) => Err(trouble::io_error(path, "start a writer for", error)),
        }
    }
}

fn is_damage(error: &StoreError) -> bool {
    matches!(error, StoreError::Engine(trouble) if trouble.kind == TroubleKind::Damaged)
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("retention", &self.retention)
            .field("quick_repair_above", &self.quick_repair_above)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}
