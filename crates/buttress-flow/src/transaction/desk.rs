//! How participants are spoken to.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use buttress::{Backoff, Fault, Random, Verdict};
use tokio::time::{sleep, timeout};
use tower::{BoxError, ServiceExt, util::BoxCloneSyncService};

use super::{Answer, Ask, Transaction, protocol::Decision};

pub(super) type Target<P> = BoxCloneSyncService<Transaction<P>, Answer, BoxError>;

/// How long and how often.
#[derive(Clone, Debug)]
pub(super) struct Manners {
    pub(super) prepare_within: Duration,
    pub(super) answer_within: Duration,
    pub(super) backoff: Backoff,
    pub(super) attempts: u32,
    pub(super) random: Random,
}

impl Manners {
    /// Waits before the next attempt, or says that there is none.
    async fn again(&self, failures: u32, previous: &mut Duration) -> bool {
        if failures >= self.attempts {
            return false;
        }
        *previous = self.backoff.delay(failures, *previous, self.random.unit());
        sleep(*previous).await;
        true
    }

    /// Does something with the store until it is done, or has failed for good or too often.
    pub(super) async fn persist<T, E: Fault, F: Future<Output = Result<T, E>>>(
        &self,
        mut write: impl FnMut() -> F,
    ) -> Result<T, E> {
        let (mut failures, mut previous) = (0, Duration::ZERO);
        loop {
            let result = write().await;
            failures += 1;
            match &result {
                Err(error) if error.verdict().kind == Verdict::transient().kind => {}
                _ => return result,
            }
            if !self.again(failures, &mut previous).await {
                return result;
            }
        }
    }
}

/// How the delivery of a decision went.
pub(super) struct Delivery {
    pub(super) attempts: u32,
    /// What the participant did.
    pub(super) acknowledged: Option<Decision>,
    /// The last that went wrong.
    pub(super) error: Option<String>,
}

/// Asks a participant once.
pub(super) async fn ask<P>(
    target: Option<Target<P>>,
    id: String,
    ask: Ask<P>,
    within: Duration,
) -> Result<Answer, String> {
    let Some(target) = target else { return Err("no such participant is known here".into()) };
    match timeout(within, target.oneshot(Transaction { id, ask })).await {
        Ok(answer) => answer.map_err(|error| whole(&*error)),
        Err(_) => Err(format!("no answer within {within:?}")),
    }
}

/// Tells a participant the decision until it has acknowledged, or enough is enough.
pub(super) async fn deliver<P>(
    manners: Arc<Manners>,
    target: Option<Target<P>>,
    id: String,
    decision: Decision,
) -> Delivery {
    let (mut attempts, mut previous, mut last) = (0, Duration::ZERO, None);
    loop {
        let asked = match decision {
            Decision::Commit => Ask::Commit,
            Decision::Abort => Ask::Abort,
        };
        attempts += 1;
        let error = match ask(target.clone(), id.clone(), asked, manners.answer_within).await {
            Ok(Answer { standing, why }) => match standing.settled() {
                Some(done) => {
                    let error = why.or(last);
                    return Delivery { attempts, acknowledged: Some(done), error };
                }
                None => format!("was told, and is still {standing}"),
            },
            Err(error) => error,
        };
        if !manners.again(attempts, &mut previous).await {
            return Delivery { attempts, acknowledged: None, error: Some(error) };
        }
        last = Some(error);
    }
}

/// An error with its causes, unless it tells them by itself.
fn whole(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}
