//! The deadline that surrounds the code that is running now.
//!
//! Set by a layer around each `call` and `poll` of what is inside, and so visible to all layers
//! inside without the request's help. Nothing is spawned on the way, hence a thread-local is
//! enough; what is moved to another task (by `tower::buffer`, or `tokio::spawn`) leaves it.

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

/// The time by which the surrounding call must have ended.
///
/// ```
/// use std::time::Duration;
/// use buttress::Deadline;
/// use tokio::time::Instant;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// assert_eq!(Deadline::current(), None);
/// let end = Instant::now() + Duration::from_secs(1);
/// Deadline::at(end).scope(|| {
///     // The nearer of nested deadlines holds.
///     Deadline::at(end + Duration::from_secs(1)).scope(|| {
///         assert_eq!(Deadline::current(), Some(end));
///     });
/// });
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline {
    at: Option<Instant>,
    /// A bound whose clock nobody has read yet: it counts from whenever it is looked at, which is
    /// within the first poll. This saves the clock for calls that end in their first poll.
    within: Option<Duration>,
}

thread_local! {
    static AMBIENT: Cell<Deadline> = const { Cell::new(Deadline { at: None, within: None }) };
}

impl Deadline {
    /// A deadline at a point in time.
    pub const fn at(end: Instant) -> Self {
        Self { at: Some(end), within: None }
    }

    /// A deadline at a distance from when it is first looked at.
    #[inline]
    pub(crate) const fn within(limit: Duration) -> Self {
        Self { at: None, within: Some(limit) }
    }

    /// The deadline of the code that is running now, if there is one.
    pub fn current() -> Option<Instant> {
        AMBIENT.get().resolve()
    }

    /// The time left until the surrounding deadline; zero if it has passed.
    pub fn remaining() -> Option<Duration> {
        Self::current().map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// Runs `body` under this deadline, or under the surrounding one if that is nearer.
    #[inline]
    pub fn scope<T>(self, body: impl FnOnce() -> T) -> T {
        /// Puts the outer deadline back, also when `body` panics.
        struct Restore(Deadline);
        impl Drop for Restore {
            #[inline]
            fn drop(&mut self) {
                AMBIENT.set(self.0);
            }
        }
        let outer = AMBIENT.get();
        let _restore = Restore(outer);
        AMBIENT
            .set(Self { at: nearer(outer.at, self.at), within: nearer(outer.within, self.within) });
        body()
    }

    fn resolve(self) -> Option<Instant> {
        // A bound too far off to be told as a time is no bound.
        let within = self.within.and_then(|limit| Instant::now().checked_add(limit));
        nearer(self.at, within)
    }
}

#[inline]
fn nearer<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_nearer_of_nested_bounds_holds() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        Deadline::within(3 * second).scope(|| {
            assert_eq!(Deadline::current(), Some(start + 3 * second));
            Deadline::at(start + 2 * second).scope(|| {
                assert_eq!(Deadline::current(), Some(start + 2 * second));
                Deadline::within(second).scope(|| {
                    assert_eq!(Deadline::remaining(), Some(second));
                });
            });
            assert_eq!(Deadline::current(), Some(start + 3 * second));
        });
        assert_eq!(Deadline::current(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_leaves_no_deadline_behind() {
        let scope = std::panic::catch_unwind(|| {
            Deadline::within(Duration::ZERO).scope(|| panic!("planned"));
        });
        assert!(scope.is_err());
        assert_eq!(Deadline::current(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_bound_is_none() {
        Deadline::within(Duration::MAX).scope(|| assert_eq!(Deadline::current(), None));
    }
}
