//! How participants are spoken to.

use std::{error::Error, sync::Arc, time::Duration};

use buttress::{Event, Fault, Verdict};
use tokio::time::{sleep, timeout};
use tower::{BoxError, ServiceExt, util::BoxCloneSyncService};

use super::{Answer, Ask, Transaction, protocol::Decision};
use crate::{patience::Patience, voice::Voice};

pub(super) type Target<P> = BoxCloneSyncService<Transaction<P>, Answer, BoxError>;

/// How long and how often.
#[derive(Clone, Debug)]
pub(super) struct Manners {
    pub(super) prepare_within: Duration,
    pub(super) answer_within: Duration,
    pub(super) patience: Patience,
    pub(super) voice: Voice,
}

/// How the delivery of a decision went.
pub(super) struct Delivery {
    pub(super) attempts: u32,
    /// What the participant did.
    pub(super) acknowledged: Option<Decision>,
    /// The last that went wrong.
    pub(super) error: Option<String>,
}

/// A participant, and how it is spoken to.
pub(super) struct Desk<P> {
    pub(super) name: Arc<str>,
    /// `None` if this coordinator does not know it.
    pub(super) target: Option<Target<P>>,
    pub(super) manners: Arc<Manners>,
}

impl<P> Clone for Desk<P> {
    fn clone(&self) -> Self {
        let Self { name, target, manners } = self;
        Self { name: name.clone(), target: target.clone(), manners: manners.clone() }
    }
}

impl<P> Desk<P> {
    /// Asks once. `attempt`: for which time.
    pub(super) async fn ask(
        self,
        id: String,
        ask: Ask<P>,
        within: Duration,
        attempt: u32,
    ) -> Result<Answer, String> {
        let Some(target) = self.target else {
            return Err("no such participant is known here".into());
        };
        let (verdict, error) =
            match timeout(within, target.oneshot(Transaction { id: id.clone(), ask })).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => (error.verdict(), whole(&*error)),
                Err(_) => (Verdict::transient(), format!("no answer within {within:?}")),
            };
        self.manners.voice.tell(&self.name, &id, Event::Failed { attempt, verdict });
        Err(error)
    }

    /// Tells the decision until it was acknowledged, or enough is enough.
    pub(super) async fn deliver(self, id: String, decision: Decision) -> Delivery {
        let Self { name, manners, .. } = &self;
        let (mut attempts, mut previous, mut last) = (0, Duration::ZERO, None);
        loop {
            let asked = match decision {
                Decision::Commit => Ask::Commit,
                Decision::Abort => Ask::Abort,
            };
            attempts += 1;
            let answer = self.clone().ask(id.clone(), asked, manners.answer_within, attempts).await;
            let error = match answer {
                Ok(Answer { standing, why }) => match standing.settled() {
                    Some(done) => {
                        if done != decision {
                            let commit = decision == Decision::Commit;
                            manners.voice.tell(name, &id, Event::Mixed { commit });
                        }
                        let error = why.or(last);
                        return Delivery { attempts, acknowledged: Some(done), error };
                    }
                    None => format!("was told, and is still {standing}"),
                },
                Err(error) => error,
            };
            let Some(delay) = manners.patience.pause(attempts, &mut previous, None) else {
                manners.voice.tell(name, &id, Event::Stuck { attempts });
                return Delivery { attempts, acknowledged: None, error: Some(error) };
            };
            manners.voice.tell(name, &id, Event::Retrying { attempt: attempts + 1, delay });
            sleep(delay).await;
            last = Some(error);
        }
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
