//! Who keeps a lease alive.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Lease, Store, StoreError, Tenure, TroubleKind};

/// Keeps a lease alive for as long as somebody asks it to.
///
/// For those who do long work under a lease, as workers and leaders do: [`next`](Self::next) in a loop beside the
/// work, which is dropped as soon as the [tenure](Self::tenure) does not hold any more. It runs nothing by itself:
/// dropped, the lease runs out.
pub struct Keeper {
    store: Arc<dyn Store>,
    lease: Lease,
    margin: Duration,
    tenure: Tenure,
    due: Instant,
}

/// What came of a turn of the [`Keeper`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The lease was renewed.
    Renewed(Tenure),
    /// A renewal failed. There is time for another.
    Failed(StoreError),
    /// The lease is not known to hold any more; it may be renewed yet.
    Lapsed,
    /// The lease is over: somebody else took the workflow, or it is gone.
    Lost(StoreError),
}

impl Keeper {
    /// Keeps a lease that was asked for at `asked`: the time *before* the store was.
    pub fn new(store: Arc<dyn Store>, lease: Lease, asked: Instant, margin: Duration) -> Self {
        let tenure = Tenure::granted(&lease, asked, margin);
        Self { store, lease, margin, tenure, due: tenure.renewal() }
    }

    /// The lease.
    pub const fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Until when it provably holds.
    pub const fn tenure(&self) -> Tenure {
        self.tenure
    }

    /// Waits until a renewal is due, a third of the lease's time after the last, and renews once.
    ///
    /// Dropping the future is harmless: the renewal may have been made, and only what was answered counts.
    pub async fn next(&mut self) -> Kept {
        sleep_until(self.due.min(self.tenure.until())).await;
        if !self.tenure.holds(Instant::now()) {
            return Kept::Lapsed;
        }
        let (pause, _) = self.tenure.pauses();
        let kept = self.renew().await;
        if let Kept::Failed(_) = kept {
            self.due = Instant::now() + pause;
            if !self.tenure.holds(Instant::now()) {
                return Kept::Lapsed;
            }
        }
        kept
    }

    /// Renews the lease now, also one that has lapsed: it holds again if nobody else took it.
    pub async fn renew(&mut self) -> Kept {
        let asked = Instant::now();
        let (_, patience) = self.tenure.pauses();
        let mut end = asked + patience;
        if self.tenure.holds(asked) {
            end = end.min(self.tenure.until());
        }
        match timeout_at(end, self.store.renew(&self.lease, self.lease.ttl)).await {
            Ok(Ok(lease)) => {
                self.lease = lease;
                self.tenure = Tenure::granted(&self.lease, asked, self.margin);
                self.due = self.tenure.renewal();
                if self.tenure.holds(Instant::now()) {
                    Kept::Renewed(self.tenure)
                } else {
                    Kept::Lapsed
                }
            }
            Ok(Err(error @ StoreError::Engine(_))) => Kept::Failed(error),
            Ok(Err(error)) => Kept::Lost(error),
            Err(_) => Kept::Failed(unanswered()),
        }
    }

    /// Gives the lease back.
    ///
    /// # Errors
    /// Of the engine, or that it gave no answer for a third of the lease's time: the lease then
    /// runs out by itself.
    pub async fn release(self) -> Result<(), StoreError> {
        let (_, patience) = self.tenure.pauses();
        let end = Instant::now() + patience;
        timeout_at(end, self.store.release(&self.lease)).await.unwrap_or_else(|_| Err(unanswered()))
    }
}

pub(crate) fn unanswered() -> StoreError {
    StoreError::engine(TroubleKind::Unreachable, "the store gives no answer", None)
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("lease", &self.lease)
            .field("tenure", &self.tenure)
            .finish_non_exhaustive()
    }
}
