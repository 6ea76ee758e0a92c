//! The open file, which is opened anew after an error that redb does not go on from.

use std::{
    fmt, fs,
    io::{self, Read as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use ::redb::{
    BackendError, Builder, Database, ReadTransaction, ReadableDatabase, StorageBackend,
    WriteTransaction,
};
use buttress::store::{StoreError, TroubleKind};

use super::trouble::{self, Stop};

/// Where the bytes are.
#[derive(Clone)]
pub(super) enum Source {
    File(PathBuf),
    Disk(Arc<dyn StorageBackend>),
}

/// More than redb makes a new file of.
const MOST_UNFINISHED: u64 = 16 << 20;

/// Whether these bytes are a file that redb began to make: at most the header is there, without the magic
/// number, which is written last.
fn unfinished(bytes: &[u8]) -> bool {
    let blank = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    match bytes.split_at_checked(320) {
        Some((header, rest)) if blank(rest) && rest.len() > 4096 => match header {
            // Magic number, flags, and the size of a page.
            [0, 0, 0, 0, 0, 0, 0, 0, 0, _, _, _, 0, 16, 0, 0, ..] => true,
            header => blank(header),
        },
        _ => false,
    }
}

impl Source {
    /// What it is called in errors.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Disk(_) => "the store".into(),
        }
    }

    /// How many bytes there are, 0 if nobody can tell.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::File(path) => fs::metadata(path).map_or(0, |file| file.len()),
            Self::Disk(disk) => disk.len().unwrap_or(0),
        }
    }

    /// Makes the file if there is none, and makes its name durable too.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        let Self::File(path) = self else { return Ok(()) };
        let name = self.name();
        if path.is_dir() {
            return Err(trouble::io_error(&name, "open", io::ErrorKind::IsADirectory.into()));
        }
        if path.exists() {
            return Ok(());
        }
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        if !directory.is_dir() {
            return Err(StoreError::engine(
                TroubleKind::Other,
                format!(
                    "cannot create `{name}`: there is no directory `{}`: create it first",
                    directory.display()
                ),
                None,
            ));
        }
        let make = || {
            fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            // A file whose name is lost in a power failure is lost, however often it was synced.
            #[cfg(unix)]
            fs::File::open(directory)?.sync_all()?;
            Ok(())
        };
        make().map_err(|error| trouble::io_error(&name, "create", error))
    }

    /// Opens what is there, and begins anew where the power failed before there was a store.
    pub(super) fn start(&self, cache: usize, check: bool) -> Result<Database, StoreError> {
        match self.connect(cache, check) {
            Err(_) if self.clear_unfinished() => self.connect(cache, check),
            connected => connected,
        }
    }

    /// Empties a file that redb began to make. Nothing was ever answered from it.
    fn clear_unfinished(&self) -> bool {
        let len = self.len();
        if len == 0 || len > MOST_UNFINISHED {
            return false;
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        match self {
            Self::File(path) => {
                let mut clear = || -> io::Result<bool> {
                    let mut file = fs::OpenOptions::new().read(true).write(true).open(path)?;
                    // Another process may be making it at this moment.
                    if file.try_lock().is_err() {
                        return Ok(false);
                    }
                    file.read_exact(&mut bytes)?;
                    let unfinished = unfinished(&bytes);
                    if unfinished {
                        file.set_len(0)?;
                    }
                    Ok(unfinished)
                };
                clear().unwrap_or(false)
            }
            Self::Disk(disk) => {
                disk.read(0, &mut bytes).is_ok() && unfinished(&bytes) && disk.set_len(0).is_ok()
            }
        }
    }

    /// Opens what is there; if `check`, only if no page of it was changed.
    pub(super) fn connect(&self, cache: usize, check: bool) -> Result<Database, StoreError> {
        let mut builder = Builder::new();
        builder.set_cache_size(cache).set_check_integrity_on_open(check);
        let open = || match self {
            Self::File(path) => {
                // Not redb's `open`, which refuses an empty file.
                let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
                builder.create_with_backend(::redb::backends::FileBackend::new(file)?)
            }
            Self::Disk(disk) => builder.create_with_backend(Disk(disk.clone())),
        };
        match catch_unwind(AssertUnwindSafe(open)) {
            Ok(Ok(database)) => Ok(database),
            Ok(Err(error)) => Err(trouble::engine(&self.name(), error.into())),
            Err(payload) => Err(trouble::panicked(&self.name(), &*payload)),
        }
    }
}

/// A backend that survives the database that uses it.
#[derive(Debug)]
struct Disk(Arc<dyn StorageBackend>);

type Range = std::ops::Bound<u64>;

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}

/// The database, which readers share and the writer may replace.
pub(super) struct File {
    pub(super) source: Source,
    pub(super) name: Arc<str>,
    cache: usize,
    /// Or why it is closed.
    database: RwLock<Result<Database, StoreError>>,
}

impl File {
    pub(super) fn new(source: Source, cache: usize, database: Database) -> Self {
        let name = source.name().into();
        Self { source, name, cache, database: RwLock::new(Ok(database)) }
    }

    /// Reads from a snapshot. The closure must not wait for anything: the writer may be waiting for it.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Stop>,
    ) -> Result<T, StoreError> {
        let inside = || read(&self.open().as_ref().map_err(StoreError::clone)?.begin_read()?);
        match catch_unwind(AssertUnwindSafe(inside)) {
            Ok(done) => done.map_err(|stop| stop.tell(&self.name)),
            Err(payload) => Err(trouble::panicked(&self.name, &*payload)),
        }
    }

    /// Starts a write transaction.
    pub(super) fn write(&self) -> Result<WriteTransaction, Stop> {
        Ok(self.open().as_ref().map_err(StoreError::clone)?.begin_write()?)
    }

    fn open(&self) -> RwLockReadGuard<'_, Result<Database, StoreError>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the database, and returns why: readers are told so until it is opened again.
    pub(super) fn close(&self, why: StoreError) -> StoreError {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let open = std::mem::replace(&mut *database, Err(why.clone()));
        // What redb says when it closes a file that it failed on is known.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(open)));
        why
    }

    /// Opens the database if it is closed. Says whether it was.
    pub(super) fn reopen(&self) -> Result<bool, StoreError> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_ok() {
            return Ok(false);
        }
        *database = Ok(self.source.connect(self.cache, false)?);
        Ok(true)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.close(trouble::stopped(&self.name));
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
