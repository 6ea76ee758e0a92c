//! A file that is read and never written: what redb changes to repair it stays in memory.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ::redb::{BackendError, Builder, DatabaseError, ReadableDatabase, StorageBackend};

const PAGE: u64 = 4096;

/// Clones read the same file, with the same changes.
#[derive(Clone, Debug)]
pub(super) struct Overlay(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    file: fs::File,
    /// How much of the file counts.
    in_file: u64,
    len: u64,
    changed: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    pub(super) fn new(file: fs::File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let state = State { file, in_file: len, len, changed: BTreeMap::new() };
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    /// Opens the database in it.
    ///
    /// Only to be read, if that can be done without a repair: redb writes as it closes what it may write to,
    /// and over a damaged page it may panic twice there, which ends the process.
    pub(super) fn database(&self) -> Result<Box<dyn ReadableDatabase>, DatabaseError> {
        match Builder::new().open_read_only_with_backend(self.clone()) {
            Ok(database) => Ok(Box::new(database)),
            Err(DatabaseError::RepairAborted) => {
                Ok(Box::new(Builder::new().create_with_backend(self.clone())?))
            }
            Err(error) => Err(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The page as it stands, blank beyond the end.
    fn page(&mut self, number: u64) -> io::Result<Vec<u8>> {
        if let Some(changed) = self.changed.get(&number) {
            return Ok(changed.clone());
        }
        let at = number * PAGE;
        let mut page = vec![0; PAGE as usize];
        let there = self.in_file.saturating_sub(at).min(PAGE) as usize;
        self.file.seek(SeekFrom::Start(at))?;
        let (there, _) = page.split_at_mut(there);
        self.file.read_exact(there)?;
        Ok(page)
    }

    /// Calls for each page that a range touches, with where in the page and where in the range.
    fn pages(
        &mut self,
        offset: u64,
        len: usize,
        mut each: impl FnMut(&mut Self, u64, usize, std::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let part = (len - done).min(PAGE as usize - within);
            each(self, at / PAGE, within, done..done + part)?;
            done += part;
        }
        Ok(())
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.lock();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > state.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        state.pages(offset, out.len(), |state, number, within, part| {
            let page = state.page(number)?;
            let to = out.get_mut(part).unwrap_or_default();
            let from = page.get(within..).unwrap_or_default();
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        state.in_file = state.in_file.min(len);
        state.len = len;
        let from = len.div_ceil(PAGE);
        state.changed.split_off(&from);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        state.pages(offset, data.len(), |state, number, within, part| {
            let mut page = state.page(number)?;
            let from = data.get(part).unwrap_or_default();
            let to = page.get_mut(within..).unwrap_or_default();
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            state.changed.insert(number, page);
            Ok(())
        })
    }

    // The file itself is locked by whoever opened it.
    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn query_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}
