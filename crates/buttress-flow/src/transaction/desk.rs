//! How participants are spoken to.

use std::{error::Error, sync::Arc, time::Duration};

use tokio::time::timeout;
use tower::{BoxError, ServiceExt, util::BoxCloneSyncService};

use super::{Answer, Ask, Transaction, protocol::Decision};
use crate::patience::Patience;

pub(super) type Target<P> = BoxCloneSyncService<Transaction<P>, Answer, BoxError>;

/// How long and how often.
#[derive(Clone, Debug)]
pub(super) struct Manners {
    pub(super) prepare_within: Duration,
    pub(super) answer_within: Duration,
    pub(super) patience: Patience,
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
        if !manners.patience.again(attempts, &mut previous, None).await {
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
