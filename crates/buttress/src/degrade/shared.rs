//! The level as calls share it: a lock, and one word in front of it.
//!
//! The word is written under the lock and read without it, so that a call at full level takes no
//! lock while all is well, and looking at the level never does.

use super::{
    level::Level,
    standing::{Recovery, Standing},
};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Shared {
    word: AtomicU64,
    standing: Mutex<Standing>,
}

/// The level that holds was another before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: Level,
    pub(super) to: Level,
}

const LEVEL: u64 = 0b0011;
const FORCED: u64 = 0b0100;
const CALM: u64 = 0b1000;

fn word(standing: &Standing) -> u64 {
    let forced = if standing.is_forced() { FORCED } else { 0 };
    let calm = if standing.is_calm() { CALM } else { 0 };
    standing.level() as u64 | forced | calm
}

impl Shared {
    pub(super) fn new(recovery: Recovery) -> Self {
        let standing = Standing::new(recovery);
        Self { word: AtomicU64::new(word(&standing)), standing: Mutex::new(standing) }
    }

    pub(super) fn level(&self) -> Level {
        match self.word() & LEVEL {
            0 => Level::Full,
            1 => Level::Degraded,
            _ => Level::Minimal,
        }
    }

    pub(super) fn is_forced(&self) -> bool {
        self.word() & FORCED != 0
    }

    /// Whether a call at this level would change nothing.
    #[inline]
    pub(super) fn is_idle(&self, observed: Level) -> bool {
        observed == Level::Full && self.word() & CALM != 0
    }

    /// Takes note of the level of a call.
    pub(super) fn observe(&self, now: u64, observed: Level) -> Option<Change> {
        if self.is_idle(observed) {
            return None;
        }
        self.act(|standing| standing.observe(now, observed))
    }

    pub(super) fn force(&self, level: Option<Level>) -> Option<Change> {
        self.act(|standing| standing.force(level))
    }

    fn act(&self, step: impl FnOnce(&mut Standing)) -> Option<Change> {
        let mut standing = self.lock();
        let from = standing.level();
        step(&mut standing);
        let to = standing.level();
        self.word.store(word(&standing), Ordering::Relaxed);
        (from != to).then_some(Change { from, to })
    }

    // What is in the word is all there is to know: nothing else is published with it.
    #[inline]
    fn word(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }

    /// Nothing that can panic runs under the lock, so poison means nothing.
    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
