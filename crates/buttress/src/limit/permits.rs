//! The permits as callers share them: a word, and a line behind a lock.
//!
//! The word says how many calls there may be, how many there are, and how many wait. While
//! nobody waits, permits are taken and given back by a single step on it. Who has to wait joins
//! the line, and whoever makes room hands it over to the first in line, under the lock: a permit
//! that comes free while others wait is never up for grabs.

use std::{collections::BTreeMap, task::Waker};

use super::aimd::{Aimd, Terms, is_used};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

const BITS: u32 = 21;

/// The most calls that a limit can tell apart.
pub(super) const MOST: u32 = (1 << BITS) - 1;

/// How the permits stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

impl Word {
    const TAKEN: u64 = 1;
    const WAITING: u64 = 1 << BITS;

    const fn new(limit: u32) -> Self {
        Self((limit as u64) << (2 * BITS))
    }

    const fn part(self, index: u32) -> u32 {
        (self.0 >> (index * BITS)) as u32 & MOST
    }

    /// Permits that are taken. More than the limit if that has shrunk.
    #[inline]
    pub(super) const fn taken(self) -> u32 {
        self.part(0)
    }

    /// Callers in line.
    #[inline]
    pub(super) const fn waiting(self) -> u32 {
        self.part(1)
    }

    #[inline]
    pub(super) const fn limit(self) -> u32 {
        self.part(2)
    }

    /// Whether a permit is free for whoever comes.
    #[inline]
    const fn is_open(self) -> bool {
        self.waiting() == 0 && self.taken() < self.limit()
    }

    /// Whether a permit is free for the first in line.
    const fn is_due(self) -> bool {
        self.waiting() > 0 && self.taken() < self.limit()
    }

    /// Whether nobody else may wait in a line of at most `queue`; by default as many as may run.
    fn is_full(self, queue: Option<u32>) -> bool {
        !self.is_open() && self.waiting() >= queue.unwrap_or(self.limit()).min(MOST)
    }

    const fn with_limit(self, limit: u32) -> Self {
        Self(self.0 & (Self::new(1).0 - 1) | Self::new(limit).0)
    }
}

/// What became of asking for a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Taken,
    /// In line, under this number.
    Waiting(u64),
    Full,
}

/// A limit that moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) from: u32,
    pub(super) to: u32,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Permits {
    word: AtomicU64,
    /// How many may wait; as many as may run, if `None`.
    queue: Option<u32>,
    /// How far the limit may grow by itself.
    max: u32,
    ledger: Mutex<Ledger>,
}

#[derive(Debug)]
struct Ledger {
    line: BTreeMap<u64, Waker>,
    numbers: u64,
    aimd: Option<Aimd>,
}

impl Permits {
    /// A limit that changes by itself only if it has terms for it.
    pub(super) fn new(limit: u32, queue: Option<u32>, terms: Option<Terms>) -> Self {
        let ledger = Ledger { line: BTreeMap::new(), numbers: 0, aimd: terms.map(Aimd::new) };
        Self {
            word: AtomicU64::new(Word::new(limit.clamp(1, MOST)).0),
            queue,
            max: terms.map_or(0, |terms| terms.max),
            ledger: Mutex::new(ledger),
        }
    }

    /// How they stand.
    #[inline]
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Relaxed))
    }

    /// Takes a permit, if one is free and nobody waits.
    #[inline]
    pub(super) fn take(&self) -> bool {
        let mut word = self.word();
        while word.is_open() {
            match self.replace(word, Word(word.0 + Word::TAKEN)) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Takes a permit, or joins the line.
    pub(super) fn ask(&self, waker: &Waker) -> Asked {
        if self.word().is_full(self.queue) {
            return Asked::Full;
        }
        // Wakers are the caller's code: cloned before, and dropped after, the lock is held.
        let waker = waker.clone();
        let mut ledger = self.lock();
        let mut word = self.word();
        loop {
            let (asked, next) = if word.is_open() {
                (Asked::Taken, Word(word.0 + Word::TAKEN))
            } else if word.is_full(self.queue) {
                return Asked::Full;
            } else {
                (Asked::Waiting(ledger.numbers), Word(word.0 + Word::WAITING))
            };
            match self.replace(word, next) {
                Ok(()) if asked == Asked::Taken => return asked,
                Ok(()) => break,
                Err(now) => word = now,
            }
        }
        let number = ledger.numbers;
        ledger.numbers += 1;
        ledger.line.insert(number, waker);
        Asked::Waiting(number)
    }

    /// Whether who waited under this number has a permit now; if not, sets who is woken.
    pub(super) fn is_granted(&self, number: u64, waker: &Waker) -> bool {
        let mut waker = waker.clone();
        let mut ledger = self.lock();
        match ledger.line.get_mut(&number) {
            Some(kept) => {
                std::mem::swap(kept, &mut waker);
                false
            }
            None => true,
        }
    }

    /// Leaves the line; `false` if a permit was granted before that, which is the leaver's.
    pub(super) fn leave(&self, number: u64) -> bool {
        let mut ledger = self.lock();
        let left = ledger.line.remove(&number);
        if left.is_some() {
            self.update(|word| Word(word.0 - Word::WAITING));
        }
        drop(ledger);
        left.is_some()
    }

    /// Gives a permit back, to the first in line if there is one.
    #[inline]
    pub(super) fn give(&self) {
        let mut word = self.word();
        while word.waiting() == 0 {
            match self.replace(word, Word(word.0 - Word::TAKEN)) {
                Ok(()) => return,
                Err(now) => word = now,
            }
        }
        let ledger = self.lock();
        self.update(|word| Word(word.0 - Word::TAKEN));
        self.hand_over(ledger);
    }

    /// Whether the limit could change by an answer as things stand: a look without the lock, at
    /// every call.
    #[inline]
    pub(super) fn could_grow(&self) -> bool {
        let word = self.word();
        word.limit() < self.max && is_used(word.limit(), word.taken())
    }

    /// Takes note of an answer to a call that still has its permit.
    pub(super) fn answered(&self, began: Option<u64>) -> Option<Moved> {
        self.resize(|aimd, word| aimd?.answered(word.limit(), word.taken(), began).into())
    }

    /// Takes note of a sign of overload.
    pub(super) fn overloaded(&self, began: u64, now: u64) -> Option<Moved> {
        self.resize(|aimd, word| aimd?.overloaded(word.limit(), began, now).into())
    }

    /// Sets the limit, within the bounds if it has some.
    pub(super) fn set(&self, limit: u32) -> Option<Moved> {
        let limit = limit.clamp(1, MOST);
        self.resize(|aimd, _| aimd.map_or(limit, |aimd| aimd.set(limit)).into())
    }

    fn resize(&self, decide: impl FnOnce(Option<&mut Aimd>, Word) -> Option<u32>) -> Option<Moved> {
        let mut ledger = self.lock();
        let word = self.word();
        let (from, to) = (word.limit(), decide(ledger.aimd.as_mut(), word)?);
        if from == to {
            return None;
        }
        self.update(|word| word.with_limit(to));
        self.hand_over(ledger);
        Some(Moved { from, to })
    }

    /// Hands the room there is to those in line. Whoever makes room does this, so that nobody
    /// waits while there is some.
    ///
    /// One at a time: no lock is held while a waker, which is the caller's code, runs.
    fn hand_over(&self, mut ledger: MutexGuard<'_, Ledger>) {
        let mut next = self.grant(&mut ledger);
        drop(ledger);
        while let Some(waker) = next {
            waker.wake();
            next = self.word().is_due().then(|| self.grant(&mut self.lock())).flatten();
        }
    }

    /// Gives the first in line a permit, if one is free.
    fn grant(&self, ledger: &mut Ledger) -> Option<Waker> {
        if !self.word().is_due() {
            return None;
        }
        let (_, waker) = ledger.line.pop_first()?;
        self.update(|word| Word(word.0 + Word::TAKEN - Word::WAITING));
        Some(waker)
    }

    fn update(&self, change: impl Fn(Word) -> Word) {
        let mut word = self.word();
        while let Err(now) = self.replace(word, change(word)) {
            word = now;
        }
    }

    // Who takes a permit sees what was done by whoever gave it back.
    #[inline]
    fn replace(&self, word: Word, by: Word) -> Result<(), Word> {
        self.word
            .compare_exchange_weak(word.0, by.0, Ordering::AcqRel, Ordering::Relaxed)
            .map(|_| ())
            .map_err(Word)
    }

    /// Nothing that can panic runs under the lock but arithmetic, so poison means nothing.
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
