use std::time::Duration;

use super::Ended;
use crate::{FailKind, Fate};

/// What a tool has been through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls made.
    pub launched: u64,
    /// Calls that were answered, right or wrong.
    pub answered: u64,
    /// Answers that were wrong; counted in `answered` too.
    pub corrupt: u64,
    /// Calls that were asked to slow down.
    pub throttled: u64,
    /// Calls whose answer broke off.
    pub dropped: u64,
    /// Calls that met a crash.
    pub crashed: u64,
    /// Calls whose future was dropped before it had ended.
    pub cancelled: u64,
    /// The time that ended calls ran, summed: from the first poll to the end or the drop.
    pub busy: Duration,
    /// Calls that found the [queue](crate::Capacity) full; counted by how they ended too.
    pub refused: u64,
    /// Calls that wait for a worker now, those of callers that have gone among them.
    pub queued: u64,
    /// How many have waited at the same time at most.
    pub longest_queue: u64,
    /// The time that workers give to the calls made so far, without those that hang.
    pub worked: Duration,
    /// The part of it that they work for callers that have gone.
    pub wasted: Duration,
    failed: [u64; FailKind::ALL.len()],
}

impl Stats {
    /// Calls that failed in one way.
    pub const fn failed(&self, kind: FailKind) -> u64 {
        self.failed[kind as usize]
    }

    /// Calls that ended in an error of any sort.
    pub fn failures(&self) -> u64 {
        self.failed.iter().sum::<u64>() + self.throttled + self.dropped + self.crashed
    }

    /// Calls that have not ended.
    pub fn in_flight(&self) -> u64 {
        self.launched - self.answered - self.failures() - self.cancelled
    }

    pub(super) fn launch(&mut self) {
        self.launched += 1;
    }

    pub(super) fn refuse(&mut self) {
        self.refused += 1;
    }

    pub(super) fn take(&mut self, work: Duration, queued: usize) {
        self.worked = self.worked.saturating_add(work);
        self.longest_queue = self.longest_queue.max(queued as u64);
    }

    pub(super) fn waste(&mut self, work: Duration) {
        self.wasted = self.wasted.saturating_add(work);
    }

    pub(super) fn end(&mut self, fate: &Fate, ended: Ended, ran: Duration) {
        self.busy = self.busy.saturating_add(ran);
        let counter = match (ended, fate) {
            (Ended::Cancelled, _) | (_, Fate::Hang) => &mut self.cancelled,
            (_, Fate::Pass { .. }) => &mut self.answered,
            (_, Fate::Corrupt { .. }) => {
                self.corrupt += 1;
                &mut self.answered
            }
            (_, Fate::Fail { kind, .. }) => &mut self.failed[*kind as usize],
            (_, Fate::Throttle { .. }) => &mut self.throttled,
            (_, Fate::DropMidAnswer { .. }) => &mut self.dropped,
            (_, Fate::Crash { .. }) => &mut self.crashed,
        };
        *counter += 1;
    }
}
