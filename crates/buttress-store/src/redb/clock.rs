//! What time it is for leases.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use buttress::store::Now;
use tokio::time::Instant;

/// Time since the store was opened.
///
/// It is read where an operation is asked for, on the caller's task, and goes with it to the writer: so
/// it is tokio's clock, which tests move, and a lease never ends before its holder thinks it does. An
/// operation that waited for its turn sees an earlier time, by which leases last longer, never shorter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    opened: Instant,
    /// Milliseconds since 1970 when it was opened: information, and the age of what is pruned.
    wall: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "read once, for people: see `wall`")]
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { opened: Instant::now(), wall: millis(wall) }
    }

    pub(super) fn now(&self, boot: u64) -> Now {
        let clock = millis(self.opened.elapsed());
        Now { boot, clock, wall: self.wall.saturating_add(clock) }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
