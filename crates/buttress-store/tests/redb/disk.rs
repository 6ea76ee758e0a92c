//! A disk that loses its power, lies, fills up and rots.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

use crate::support::Dice;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What a power failure leaves for certain.
    durable: Vec<u8>,
    /// What is read back.
    current: Vec<u8>,
    /// What was written since the last sync.
    unsynced: Vec<Change>,
    /// Whether it says that it synced, and does not.
    lies: bool,
    /// After so many more changes and syncs the power is gone.
    left: Option<u64>,
    /// How many bytes there is room for.
    room: Option<u64>,
    syncs: u64,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

fn place(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

impl Disk {
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.state().durable.clone_from(&bytes);
        disk.state().current = bytes;
        disk
    }

    pub(crate) fn lying(self) -> Self {
        self.state().lies = true;
        self
    }

    pub(crate) fn fail_after(&self, changes: u64) {
        self.state().left = Some(changes);
    }

    pub(crate) fn set_room(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state().current.clone()
    }

    /// The disk after a power failure: of what was not synced some sectors are there, in the order
    /// in which they were written, and some are not.
    pub(crate) fn after_power_failure(&self, random: &Dice) -> Self {
        let state = self.state();
        let mut left = state.durable.clone();
        // All, none, or some.
        let kept = [0.0, 0.5, 0.9, 1.0][random.below(4) as usize];
        for change in &state.unsynced {
            match change {
                Change::Length(bytes) if random.unit() < kept => left.resize(*bytes, 0),
                Change::Length(_) => {}
                Change::Write(offset, data) => {
                    let mut at = 0;
                    while at < data.len() {
                        // Up to the end of the sector that it falls into.
                        let end = data.len().min(at + SECTOR - (offset + at) % SECTOR);
                        if random.unit() < kept {
                            place(&mut left, offset + at, &data[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
        let after = Self::holding(left);
        after.state().lies = state.lies;
        after
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn powered(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        match &mut state.left {
            Some(0) => return Err(io::Error::other("the power is gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(state)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let from = offset as usize;
        let Some(bytes) = from.checked_add(out.len()).and_then(|to| state.current.get(from..to))
        else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.powered()?;
        if state.room.is_some_and(|room| len > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.current.resize(len as usize, 0);
        state.unsynced.push(Change::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.powered()?;
        state.syncs += 1;
        if !state.lies {
            state.durable = state.current.clone();
            state.unsynced.clear();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.powered()?;
        if state.room.is_some_and(|room| offset + data.len() as u64 > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        place(&mut state.current, offset as usize, data);
        state.unsynced.push(Change::Write(offset as usize, data.to_vec()));
        Ok(())
    }
}
