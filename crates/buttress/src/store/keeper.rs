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
    /// Whether it was told that the lease does not hold, and is tried to have it back.
    lapsed: bool,
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
        Self { store, lease, margin, tenure, due: tenure.renewal(), lapsed: false }
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
    /// That the lease lapsed is told once, as soon as it did. Whoever asks on tries to have it back: at once, and
    /// then after each pause.
    ///
    /// Dropping the future is harmless: the renewal may have been made, and only what was answered counts.
    pub async fn next(&mut self) -> Kept {
        if self.lapsed {
            sleep_until(self.due).await;
        } else {
            sleep_until(self.due.min(self.tenure.until())).await;
            let now = Instant::now();
            if !self.tenure.holds(now) {
                (self.lapsed, self.due) = (true, now);
                return Kept::Lapsed;
            }
        }
        let kept = self.renew().await;
        if let Kept::Failed(_) | Kept::Lapsed = kept {
            let (now, (pause, _)) = (Instant::now(), self.tenure.pauses());
            self.due = now + pause;
            if !self.lapsed && !self.tenure.holds(now) {
                self.lapsed = true;
                return Kept::Lapsed;
            }
        }
        kept
    }

    /// Keeps the lease for as long as it can be had, and also has it back when it lapsed. Says why it is over.
    ///
    /// For those who need not stop meanwhile, since all that they write is fenced. Dropping the future is harmless.
    pub async fn hold(&mut self) -> StoreError {
        loop {
            if let Kept::Lost(error) = self.next().await {
                return error;
            }
        }
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
                self.lapsed = !self.tenure.holds(Instant::now());
                if self.lapsed { Kept::Lapsed } else { Kept::Renewed(self.tenure) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, WorkflowId};

    const SECOND: Duration = Duration::from_secs(1);

    async fn keeper(store: &MemoryStore, ttl: Duration) -> Keeper {
        let (workflow, asked) = (WorkflowId::new("leaders", "a"), Instant::now());
        let lease = store.acquire(&workflow, &"a".into(), ttl).await.expect("nobody holds it");
        Keeper::new(Arc::new(store.clone()), lease, asked, Duration::ZERO)
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_lapsed_is_told_once_and_then_had_back() {
        let mut keeper = keeper(&MemoryStore::new(), 9 * SECOND).await;
        tokio::time::advance(20 * SECOND).await;
        assert_eq!(keeper.next().await, Kept::Lapsed);
        let now = Instant::now();
        assert!(matches!(keeper.next().await, Kept::Renewed(tenure) if tenure.holds(now)));
        assert_eq!(now.elapsed(), Duration::ZERO);
        assert!(matches!(keeper.next().await, Kept::Renewed(_)));
        assert_eq!(now.elapsed(), 3 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn one_without_length_is_no_busy_loop() {
        let mut keeper = keeper(&MemoryStore::new(), Duration::ZERO).await;
        let began = Instant::now();
        for _ in 0..10 {
            assert_eq!(keeper.next().await, Kept::Lapsed);
        }
        assert!(began.elapsed() >= 8 * Duration::from_millis(1), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_another_has_is_over() {
        let store = MemoryStore::new();
        let mut keeper = keeper(&store, 9 * SECOND).await;
        let workflow = keeper.lease().workflow.clone();
        tokio::time::advance(10 * SECOND).await;
        store.acquire(&workflow, &"b".into(), SECOND).await.expect("it ran out");
        assert_eq!(keeper.hold().await, StoreError::Fenced { workflow, epoch: 1 });
    }
}
