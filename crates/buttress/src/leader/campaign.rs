//! Getting an office, and keeping it.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use super::office::Office;
use crate::{
    Random, Why,
    store::{Keeper, Kept, StoreError, unanswered},
};

/// Stands for the office, again and again, until `shutdown`.
pub(super) async fn run<F>(office: Arc<Office>, shutdown: F) -> Result<(), StoreError>
where
    F: Future<Output = ()>,
{
    let mut shutdown = pin!(shutdown);
    loop {
        let Some(keeper) = stand(&office, shutdown.as_mut()).await? else { return Ok(()) };
        match lead(&office, keeper, shutdown.as_mut()).await {
            End::Shutdown => return Ok(()),
            End::Lost => {}
            End::Resigned => {
                // Whoever looks as often as we do comes first.
                let rest = sleep(office.settings.poll().saturating_mul(3));
                if unless(shutdown.as_mut(), rest).await.is_none() {
                    return Ok(());
                }
            }
        }
    }
}

/// Asks for the lease until it is given: `None` at `shutdown`, an error if it never will be.
async fn stand<F>(office: &Office, mut shutdown: Pin<&mut F>) -> Result<Option<Keeper>, StoreError>
where
    F: Future<Output = ()>,
{
    let settings = &office.settings;
    let (store, ttl) = (settings.journal.store(), settings.ttl());
    let mut owner = name(office);
    let mut failures: u32 = 0;
    loop {
        let asked = Instant::now();
        let patience = (ttl / 3).max(Duration::from_millis(1));
        // Not dropped at `shutdown`: the lease might be taken, and nobody would know.
        let answer = timeout(patience, store.acquire(&settings.id, &owner, ttl)).await;
        let wait = match answer.unwrap_or_else(|_| Err(unanswered())) {
            Ok(lease) => {
                let keeper = Keeper::new(store.clone(), lease, asked, settings.margin());
                if keeper.tenure().holds(Instant::now()) {
                    return Ok(Some(keeper));
                }
                settings.poll()
            }
            Err(StoreError::Held { owner, retry_after, .. }) => {
                failures = 0;
                office.held_by(owner, retry_after);
                settings.poll().min(retry_after.max(Duration::from_millis(1)))
            }
            Err(error @ StoreError::Engine(_)) => {
                failures += 1;
                office.failed(failures, error);
                // The lease may be ours without our knowing. Under another name it runs out, and others, who get
                // answers, come first.
                owner = name(office);
                let pause = settings.poll().saturating_mul(1 << failures.min(16)).min(ttl / 3);
                pause.mul_f64(0.5 + 0.5 * Random::default().unit()).max(settings.poll())
            }
            Err(error) => return Err(error),
        };
        if unless(shutdown.as_mut(), sleep(wait)).await.is_none() {
            return Ok(None);
        }
    }
}

/// A name that the office was never held under: a lease is then never taken for an earlier one, which may
/// still be given back by a request that is late.
fn name(office: &Office) -> Arc<str> {
    let word = Random::default().word();
    format!("{}.{word:016x}", office.settings.journal.owner_name()).into()
}

/// How a leadership ended.
enum End {
    Shutdown,
    Resigned,
    Lost,
}

/// Keeps the office until it is lost or given up.
async fn lead<F>(office: &Office, mut keeper: Keeper, mut shutdown: Pin<&mut F>) -> End
where
    F: Future<Output = ()>,
{
    let epoch = keeper.lease().epoch;
    let incumbent = Incumbent { office, epoch };
    office.elect(&keeper);
    let mut failures = 0;
    let end = loop {
        // Made before the question: from here on no resignation is missed.
        let mut resigning = pin!(office.resigning.notified());
        if office.has_resigned(epoch) {
            break End::Resigned;
        }
        let turn = unless(resigning.as_mut(), keeper.next());
        let mut kept = match unless(shutdown.as_mut(), turn).await {
            None => break End::Shutdown,
            Some(None) => continue,
            Some(Some(kept)) => kept,
        };
        if kept == Kept::Lapsed {
            office.depose(epoch, Why::LeaseLost);
            kept = match regain(office, &mut keeper, shutdown.as_mut()).await {
                None => break End::Shutdown,
                Some(kept) => kept,
            };
        }
        match kept {
            Kept::Renewed(tenure) => {
                failures = 0;
                office.extend(tenure);
            }
            Kept::Failed(error) => {
                failures += 1;
                office.failed(failures, error);
            }
            Kept::Lapsed => {}
            Kept::Lost(_) => {
                office.depose(epoch, Why::LeaseLost);
                return End::Lost;
            }
        }
    };
    // First nothing is let in any more, then others may lead.
    drop(incumbent);
    if let Err(error) = keeper.release().await {
        office.failed(1, error);
    }
    end
}

/// Renews a lease that lapsed, unless somebody else has it by now.
async fn regain<F>(office: &Office, keeper: &mut Keeper, mut shutdown: Pin<&mut F>) -> Option<Kept>
where
    F: Future<Output = ()>,
{
    let mut failures = 0;
    loop {
        match keeper.renew().await {
            Kept::Renewed(tenure) => {
                office.elect(keeper);
                return Some(Kept::Renewed(tenure));
            }
            Kept::Failed(error) => {
                failures += 1;
                office.failed(failures, error);
            }
            Kept::Lapsed => {}
            Kept::Lost(error) => return Some(Kept::Lost(error)),
        }
        unless(shutdown.as_mut(), sleep(office.settings.poll())).await?;
    }
}

/// Ends the leadership when the campaign ends in whatever way, also by being dropped.
struct Incumbent<'a> {
    office: &'a Office,
    epoch: u64,
}

impl Drop for Incumbent<'_> {
    fn drop(&mut self) {
        self.office.depose(self.epoch, Why::Command);
    }
}

/// What `future` comes to, unless `stop` comes first.
async fn unless<S, F>(mut stop: Pin<&mut S>, future: F) -> Option<F::Output>
where
    S: Future<Output = ()>,
    F: Future,
{
    let mut future = pin!(future);
    poll_fn(|cx| match stop.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => future.as_mut().poll(cx).map(Some),
    })
    .await
}
