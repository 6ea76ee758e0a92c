use std::{fmt, sync::Arc};

use tokio::sync::watch;

use super::office::Office;
use crate::store::{Journal, Lease, StoreError};

/// Looks at an office, and gives it up, from outside.
///
/// # Clone
/// Clones belong to the same office. Get one from the finished layer: setters make a new one.
#[derive(Clone)]
pub struct LeaderHandle {
    office: Arc<Office>,
}

impl LeaderHandle {
    pub(super) const fn new(office: Arc<Office>) -> Self {
        Self { office }
    }

    /// Whether this process leads: a call would be let in now.
    pub fn is_leader(&self) -> bool {
        self.office.leads()
    }

    /// The fence of this process's leadership, while it leads.
    pub fn epoch(&self) -> Option<u64> {
        self.office.epoch()
    }

    /// Who leads, as far as this process knows: the name under which the office is held.
    pub fn leader(&self) -> Option<Arc<str>> {
        self.office.holder()
    }

    /// A writer of the office's own state in the store, while this process leads.
    ///
    /// What it writes after another took the office is refused by the store, however late it comes.
    pub fn journal(&self) -> Option<Journal> {
        Some(self.office.settings.journal.clone().held(self.lease()?))
    }

    /// The lease of the office, while this process leads.
    pub fn lease(&self) -> Option<Lease> {
        self.office.lease()
    }

    /// Why the store could not be asked, or told, the last time that it was.
    pub fn trouble(&self) -> Option<StoreError> {
        self.office.trouble()
    }

    /// Gives the office up. Says whether this process had it.
    ///
    /// No call is let in from here on; the [campaign](super::LeaderLayer::campaign) gives the lease back, stands
    /// back for three polls, and then stands for the office again.
    pub fn step_down(&self) -> bool {
        self.office.resign()
    }

    /// Waits until this process leads, and returns its fence.
    pub async fn wait_until_leader(&self) -> u64 {
        let mut changes = self.office.watch();
        loop {
            if let Some(epoch) = self.epoch() {
                return epoch;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Follows the fence of this process, `None` while it does not lead.
    ///
    /// As the campaign finds out: a campaign that is not polled says nothing, whereas calls are refused
    /// all the same.
    pub fn subscribe(&self) -> watch::Receiver<Option<u64>> {
        self.office.watch()
    }
}

impl fmt::Debug for LeaderHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LeaderHandle").field(&self.office).finish()
    }
}
