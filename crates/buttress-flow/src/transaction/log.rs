//! The log of decisions: a transaction is a workflow of the store.
//!
//! | step | written | says |
//! |---|---|---|
//! | `end`, the intent | first | the id is taken, and the store keeps the workflow until its end |
//! | `begin` | before anybody is asked to prepare | who takes part, and with what |
//! | `decision` | before anybody is told | commit or abort: the first that is written counts |
//! | `end` | when all have acknowledged | who did otherwise |

use std::sync::Arc;

use buttress::store::{Digest, Journal, Lease, Status, StoreError, Ticket, WorkflowId};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::protocol::{Decision, Outcome};
use crate::docket::{Docket, Hold, Kind, TakenUp, parse, write};

const DECISION: &str = "decision";
const END: &str = "end";

/// What is written of a transaction at its begin: names and payloads.
#[derive(Serialize)]
struct Opening<'a, P> {
    participants: Vec<(&'a str, &'a P)>,
}

#[derive(Deserialize)]
struct Opened {
    participants: Vec<(String, IgnoredAny)>,
}

/// What is written of it at its end.
#[derive(Serialize, Deserialize)]
struct Closing {
    decision: Decision,
    contrary: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Log {
    docket: Docket,
}

/// Names and payloads as they are to be written.
pub(super) fn opening<P: Serialize>(parts: &[(Arc<str>, P)]) -> Result<Vec<u8>, String> {
    let participants = parts.iter().map(|(name, payload)| (&**name, payload)).collect();
    write(&Opening { participants })
}

fn mark() -> Digest {
    Digest::of(b"buttress transaction 1")
}

impl Log {
    pub(super) fn new(journal: Journal) -> Self {
        Self { docket: Docket::new(journal, Kind { mark: mark(), begin: "begin", end: END }) }
    }

    pub(super) fn workflow(&self, id: &str) -> WorkflowId {
        self.docket.workflow(id)
    }

    /// Enters a transaction, `None` if its id was used before.
    pub(super) async fn open(
        &self,
        workflow: &WorkflowId,
        opening: Vec<u8>,
    ) -> Result<Option<Box<Hold>>, StoreError> {
        self.docket.open(workflow, mark(), opening).await
    }

    /// Writes a decision unless there is one, and returns the one that counts.
    pub(super) async fn decide(
        &self,
        lease: &Lease,
        decision: Decision,
    ) -> Result<Decision, StoreError> {
        let word = match decision {
            Decision::Commit => br#""commit""#.as_slice(),
            Decision::Abort => br#""abort""#,
        };
        parse(&self.docket.once(lease, DECISION, mark(), word.to_vec()).await?)
    }

    /// Writes the end.
    pub(super) async fn close(&self, end: &Ticket, closing: Vec<u8>) -> Result<(), StoreError> {
        self.docket.close(end, closing).await
    }

    pub(super) async fn release(&self, hold: &Hold) {
        self.docket.release(hold).await;
    }

    pub(super) async fn unfinished(&self) -> Result<Vec<WorkflowId>, StoreError> {
        self.docket.unfinished().await
    }

    /// Takes an unfinished transaction up, with the names of its participants. `None` if there is none, or
    /// somebody else is at it.
    pub(super) async fn take_up(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Option<(Box<Hold>, Vec<String>)>, StoreError> {
        let TakenUp::Held(hold, opened) = self.docket.take_up(workflow).await? else {
            return Ok(None);
        };
        // If it came no further than its id, nobody was asked.
        let opened =
            opened.map_or(Ok(Opened { participants: Vec::new() }), |opened| parse(&opened));
        match opened {
            Ok(Opened { participants }) => {
                Ok(Some((hold, participants.into_iter().map(|(name, _)| name).collect())))
            }
            Err(error) => {
                self.docket.release(&hold).await;
                Err(error)
            }
        }
    }

    /// What can be said of a transaction, `None` if its id was never used.
    pub(super) async fn outcome(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Option<Outcome>, StoreError> {
        let end = match self.docket.read(workflow, END).await? {
            Some(end) if end.fingerprint == mark() => end,
            _ => return Ok(None),
        };
        if end.status == Status::Done {
            let Closing { decision, contrary } = parse(&end)?;
            let mixed = !contrary.is_empty();
            return Ok(Some(if mixed { Outcome::Mixed(decision) } else { decision.into() }));
        }
        let decided = self.docket.read(workflow, DECISION).await?;
        let decision = decided.map(|decided| parse::<Decision>(&decided)).transpose()?;
        Ok(Some(decision.map_or(Outcome::InDoubt, Outcome::from)))
    }
}

/// What is to be written at the end.
pub(super) fn closing(decision: Decision, contrary: Vec<String>) -> Vec<u8> {
    // A word and a list of texts: there is nothing in it that JSON could not say.
    write(&Closing { decision, contrary }).unwrap_or_default()
}
