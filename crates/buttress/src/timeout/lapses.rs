//! How many time limits have ended on this thread.
//!
//! A layer outside looks at the count around a poll of what is inside, and so knows of a failure
//! whether a time limit caused it. The error cannot tell: it is the user's.

use std::cell::Cell;

thread_local! {
    static LAPSES: Cell<u64> = const { Cell::new(0) };
}

#[inline]
pub(crate) fn count() -> u64 {
    LAPSES.get()
}

pub(super) fn bump() {
    LAPSES.set(LAPSES.get() + 1);
}
