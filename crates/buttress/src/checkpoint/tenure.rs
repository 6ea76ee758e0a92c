//! A lease that is renewed for as long as a call runs.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use crate::store::{Journal, Lease, Store, StoreError, Ticket};

/// An operation of a store that owns what it works on.
pub(super) type Operation<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Renews the lease of a call from inside its future: nothing is spawned.
pub(super) struct Tenure {
    store: Arc<dyn Store>,
    lease: Lease,
    stage: Stage,
}

enum Stage {
    /// The call was not yet pending: most never are for long, and cost no timer.
    Untimed,
    Resting(Pin<Box<Sleep>>),
    Renewing(Operation<Lease>),
    /// Another has the workflow now.
    Lost,
}

/// The epoch that is over.
pub(super) struct Lost(pub(super) u64);

impl Tenure {
    /// That of a call whose step was begun by taking the lease; a lease that was given to the journal is
    /// renewed by whoever gave it.
    pub(super) fn of(ticket: &Ticket, journal: &Journal) -> Option<Self> {
        let crate::store::Fence::Epoch(epoch) = ticket.fence else { return None };
        if journal.lease().is_some() {
            return None;
        }
        let lease = Lease {
            workflow: ticket.workflow.clone(),
            epoch,
            owner: journal.owner_name().clone(),
            ttl: journal.lease_time(),
        };
        Some(Self { store: journal.store().clone(), lease, stage: Stage::Untimed })
    }

    /// Keeps the lease, and is ready once, when it is lost.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Lost> {
        loop {
            self.stage = match &mut self.stage {
                Stage::Untimed => Stage::Resting(Box::pin(sleep(self.pause()))),
                Stage::Resting(timer) => {
                    ready!(timer.as_mut().poll(cx));
                    let (store, lease) = (self.store.clone(), self.lease.clone());
                    Stage::Renewing(Box::pin(async move { store.renew(&lease, lease.ttl).await }))
                }
                Stage::Renewing(renewal) => match ready!(renewal.as_mut().poll(cx)) {
                    Err(StoreError::Fenced { epoch, .. }) => {
                        self.stage = Stage::Lost;
                        return Poll::Ready(Lost(epoch));
                    }
                    // A store out of reach may be back for the next; the lease outlasts two misses.
                    Ok(_) | Err(_) => Stage::Untimed,
                },
                Stage::Lost => return Poll::Pending,
            };
        }
    }

    /// Not zero, or a lease without length would be renewed for ever in one poll.
    fn pause(&self) -> Duration {
        (self.lease.ttl / 3).max(Duration::from_millis(1))
    }
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenure").field("lease", &self.lease).finish_non_exhaustive()
    }
}
