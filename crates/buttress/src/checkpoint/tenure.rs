//! The lease of a call.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use crate::store::{Fence, Journal, Keeper, Lease, StoreError, Ticket};

/// The lease of a call, which is kept from inside its future: nothing is spawned.
pub(super) enum Tenure {
    /// Nothing is kept: there is no lease, it is over, or whoever gave it to the journal keeps it.
    Idle,
    /// It was asked for then. Most calls are over before it is to be renewed, and cost no timer.
    Asked(Instant),
    Kept(Pin<Box<dyn Future<Output = StoreError> + Send>>),
}

impl Tenure {
    /// That of a step whose intent is asked to be written now.
    pub(super) fn ask(journal: &Journal) -> Self {
        if journal.lease().is_some() { Self::Idle } else { Self::Asked(Instant::now()) }
    }

    /// Keeps the lease, and is ready once, when it is over.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        ticket: &Ticket,
        journal: &Journal,
    ) -> Poll<StoreError> {
        if let Self::Asked(asked) = *self {
            let Fence::Epoch(epoch) = ticket.fence else { return Poll::Pending };
            let (owner, ttl) = (journal.owner_name().clone(), journal.lease_time());
            let lease = Lease { workflow: ticket.workflow.clone(), epoch, owner, ttl };
            // The call goes on when the lease does not hold for sure: its outcome is fenced.
            let mut keeper = Keeper::new(journal.store().clone(), lease, asked, Duration::ZERO);
            *self = Self::Kept(Box::pin(async move { keeper.hold().await }));
        }
        let Self::Kept(kept) = self else { return Poll::Pending };
        let error = ready!(kept.as_mut().poll(cx));
        *self = Self::Idle;
        Poll::Ready(error)
    }
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::Asked(_) => "Asked",
            Self::Kept(_) => "Kept",
        })
    }
}
