//! The word of somebody who has looked: what became of a step in doubt.
//!
//! It is written as any worker writes it. The lease of the workflow is taken, so that nobody who holds it is
//! disturbed, and whoever stalled and comes back is fenced; the step is begun anew in the place of what is in
//! doubt, and its outcome recorded or the intent withdrawn. If this process dies in between, it stays in doubt.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt,
    sync::Arc,
    time::Duration,
};

use buttress::store::{
    Begin, Begun, Claim, Digest, Entry, Fence, IdempotencyKey, Lease, Life, Payload, Sealed,
    Status, StepId, Store, StoreError, Ticket, Version, WorkflowId,
};
use rand::RngExt;
use serde_json::Value;

use super::history;

/// How long nobody else may write the workflow, should this process die over it.
const TTL: Duration = Duration::from_secs(30);

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It was done.
    Landed {
        /// The tool's answer, as JSON.
        answer: Vec<u8>,
        /// The version of the type that it is read as; by default that of the workflow's other outcomes.
        schema: Option<u32>,
    },
    /// It was not: it will be done as if it had never been begun.
    Absent,
}

/// Writes down what became of a step in doubt, and returns the record of it.
///
/// `step` is its name, with `#N` behind it from the second time on. `begun_in` is the workflow in which it was begun, if
/// that is another: a copy does not begin what was in doubt.
pub async fn resolve(
    store: &dyn Store,
    workflow: &WorkflowId,
    step: &str,
    begun_in: Option<&WorkflowId>,
    word: Word,
) -> Result<Sealed, Unresolved> {
    let origin = begun_in.unwrap_or(workflow);
    let known = Known::of(&history(store, origin).await?);
    let doubt = doubt(store, origin, known.step(step)?, &known).await?;
    let (entry, fingerprint) = match word {
        Word::Landed { answer, schema } => {
            let fingerprint =
                doubt.fingerprint.ok_or_else(|| Unresolved::Forgotten(doubt.step.clone()))?;
            (Entry::done(known.payload(answer, schema)?), fingerprint)
        }
        // Of what was not done it does not matter for which request.
        Word::Absent => (Entry::withdrawn(), doubt.fingerprint.unwrap_or_default()),
    };
    // What has ended is not to go on by this.
    let entry = match store.summary(workflow).await? {
        Some(summary) if summary.life == Life::Finished => entry.finish(),
        _ => entry,
    };
    let owner: Arc<str> = format!("lab-resolve-{:016x}", rand::rng().random::<u64>()).into();
    let begin = Begin {
        workflow: workflow.clone(),
        step: doubt.step,
        fingerprint,
        claim: Claim::Take { owner: owner.clone(), ttl: TTL },
        intent: true,
        restart: (origin == workflow).then_some(doubt.version),
        mark: None,
    };
    let latest = match store.begin(&begin).await? {
        Begun::Fresh(ticket) => {
            let settled = store.complete(&ticket, entry).await;
            if let Fence::Epoch(epoch) = ticket.fence {
                // If that fails, it runs out by itself.
                let lease = Lease { workflow: workflow.clone(), epoch, owner, ttl: TTL };
                let _ = store.release(&lease).await;
            }
            return Ok(settled?.record);
        }
        Begun::Completed { record } | Begun::Failed { record } => {
            return Err(Unresolved::Settled(Box::new(record)));
        }
        // Somebody has begun it again since.
        Begun::Pending { record, .. } | Begun::Mismatch { record } => record.version,
        Begun::Damaged { version, .. } => version,
    };
    Err(StoreError::Stale { workflow: workflow.clone(), latest }.into())
}

/// A step that was begun and has no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The step.
    pub step: StepId,
    /// The version of its intent, or of its damaged outcome.
    pub version: u64,
    /// For which request it was begun, if that is still to be read.
    pub fingerprint: Option<Digest>,
}

/// A step in doubt, and the key by which a tool may know it. Nothing is written.
pub async fn in_doubt(
    store: &dyn Store,
    workflow: &WorkflowId,
    step: &str,
) -> Result<(Doubt, IdempotencyKey), Unresolved> {
    let known = Known::of(&history(store, workflow).await?);
    let doubt = doubt(store, workflow, known.step(step)?, &known).await?;
    let look = Begin {
        workflow: workflow.clone(),
        step: doubt.step.clone(),
        fingerprint: doubt.fingerprint.unwrap_or_default(),
        claim: Claim::Shared,
        intent: false,
        restart: None,
        mark: None,
    };
    match store.begin(&look).await? {
        Begun::Fresh(Ticket { key, .. })
        | Begun::Pending { key, .. }
        | Begun::Damaged { key, .. } => Ok((doubt, key)),
        Begun::Completed { record } | Begun::Failed { record } | Begun::Mismatch { record } => {
            Err(Unresolved::Settled(Box::new(record)))
        }
    }
}

async fn doubt(
    store: &dyn Store,
    workflow: &WorkflowId,
    step: StepId,
    known: &Known,
) -> Result<Doubt, Unresolved> {
    let found = match store.latest(workflow, Some(&step)).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let open = known.steps.iter().filter(|(_, open)| **open);
            let open = open.map(|(step, _)| step.to_string()).collect();
            return Err(Unresolved::None { workflow: workflow.clone(), step, open });
        }
        Err(StoreError::Corrupt { version: Some(version), .. }) => {
            return Ok(Doubt { step, version, fingerprint: None });
        }
        Err(error) => return Err(error.into()),
    };
    let record = found.record;
    if record.status == Status::Intent && goes_on(&record) {
        return Err(Unresolved::GoesOn(Box::new(record)));
    }
    match (record.status, found.skipped.is_empty()) {
        (Status::Intent, _) | (Status::Done | Status::Failed, false) => {
            let fingerprint = Some(record.record.fingerprint);
            Ok(Doubt { step, version: found.newest, fingerprint })
        }
        // What was withdrawn may have been begun again for another request.
        (Status::Withdrawn, false) => Ok(Doubt { step, version: found.newest, fingerprint: None }),
        (Status::Done | Status::Failed | Status::Withdrawn, true) | (Status::State, _) => {
            Err(Unresolved::Settled(Box::new(record)))
        }
    }
}

/// Whether an intent is that of the last step of a saga or a transaction, which is written when those begin (see
/// `docket.rs` of `buttress-flow`): they are under way, and go on by themselves.
fn goes_on(record: &Sealed) -> bool {
    &*record.step.name == "saga/end" || record.fingerprint == Digest::of(b"buttress transaction 1")
}

/// What the history of a workflow tells.
#[derive(Default)]
struct Known {
    /// The steps, and whether the newest record of each is an intent.
    steps: BTreeMap<StepId, bool>,
    codecs: BTreeSet<u8>,
    schemas: BTreeSet<u32>,
}

impl Known {
    fn of(history: &[Version]) -> Self {
        let mut known = Self::default();
        for version in history {
            let Version::Intact(record) = version else { continue };
            let open = record.status == Status::Intent && !goes_on(record);
            known.steps.insert(record.step.clone(), open);
            if record.status == Status::Done {
                known.codecs.insert(record.payload.codec);
                known.schemas.insert(record.payload.schema);
            }
        }
        known
    }

    /// The step of a name as it is printed.
    fn step(&self, name: &str) -> Result<StepId, Unresolved> {
        let mut alike = self.steps.keys().filter(|step| step.to_string() == name);
        match (alike.next(), alike.next()) {
            (Some(step), None) => Ok(step.clone()),
            (Some(_), Some(_)) => Err(Unresolved::Ambiguous(name.to_owned())),
            // All of its records may be damaged, and its name with them.
            (None, _) => {
                let parts = name.rsplit_once('#');
                let counted = parts.and_then(|(name, count)| Some((name, count.parse().ok()?)));
                Ok(match counted {
                    Some((name, count)) if count > 1 => StepId::new(name).occurrence(count),
                    _ => StepId::new(name),
                })
            }
        }
    }

    /// A wrong one would be there for good, and could not be read: rather refused.
    fn payload(&self, answer: Vec<u8>, schema: Option<u32>) -> Result<Payload, Unresolved> {
        if let Err(error) = serde_json::from_slice::<Value>(&answer) {
            return Err(Unresolved::NotJson(error.to_string()));
        }
        if let Some(codec) = self.codecs.iter().find(|codec| **codec != Payload::JSON) {
            return Err(Unresolved::Codec(*codec));
        }
        let schema = match (schema, self.schemas.first()) {
            (Some(schema), _) => schema,
            (None, Some(schema)) if self.schemas.len() == 1 => *schema,
            (None, _) => return Err(Unresolved::Schema(self.schemas.clone())),
        };
        Ok(Payload { codec: Payload::JSON, schema, bytes: answer.trim_ascii().to_vec() })
    }
}

/// Why nothing was written.
#[derive(Debug)]
pub enum Unresolved {
    /// No step of this name was begun.
    None {
        /// The workflow.
        workflow: WorkflowId,
        /// The step.
        step: StepId,
        /// The steps that are in doubt.
        open: Vec<String>,
    },
    /// Two steps are printed like this.
    Ambiguous(String),
    /// It has an outcome, or is none.
    Settled(Box<Sealed>),
    /// It is the end of a saga or a transaction that is under way.
    GoesOn(Box<Sealed>),
    /// It cannot be told any more for which request it was begun.
    Forgotten(StepId),
    /// The answer is not JSON.
    NotJson(String),
    /// The outcomes of the workflow are in another codec.
    Codec(u8),
    /// The outcomes of the workflow do not tell the schema: there are several, or none.
    Schema(BTreeSet<u32>),
    /// The store refuses, or fails.
    Store(StoreError),
}

impl From<StoreError> for Unresolved {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None { workflow, step, open } if open.is_empty() => {
                write!(
                    f,
                    "step `{step}` of workflow `{workflow}` was never begun, and none is in doubt"
                )
            }
            Self::None { workflow, step, open } => {
                let open = open.join("`, `");
                write!(
                    f,
                    "step `{step}` of workflow `{workflow}` was never begun; in doubt: `{open}`"
                )
            }
            Self::Ambiguous(step) => {
                write!(f, "two steps are called {step:?}: settle it by a probe")
            }
            Self::Settled(record) => write!(
                f,
                "step `{}` is not in doubt: version {} of workflow `{}` says `{}`, and stays",
                record.step,
                record.version,
                record.workflow,
                record.status.as_str()
            ),
            Self::GoesOn(record) => write!(
                f,
                "`{}` is no step in doubt: it ends what is under way, and is written by its coordinator",
                record.step
            ),
            Self::Forgotten(step) => write!(
                f,
                "the intent of step `{step}` is damaged or gone, so nobody can tell for which request it was \
                 begun: settle it by a probe"
            ),
            Self::NotJson(error) => write!(f, "the answer is not JSON: {error}"),
            Self::Codec(codec) => write!(
                f,
                "the outcomes of this workflow are in codec {codec}, and this writes JSON, which could never be \
                 read: settle it by a probe"
            ),
            Self::Schema(schemas) if schemas.is_empty() => f.write_str(
                "no outcome of this workflow tells of which schema they are: give --schema N, 1 unless your \
                 program says otherwise",
            ),
            Self::Schema(schemas) => {
                write!(
                    f,
                    "the outcomes of this workflow are of the schemas {schemas:?}: give --schema N"
                )
            }
            Self::Store(error @ StoreError::Held { .. }) => {
                write!(f, "{error}, and whoever that is may be at this very step: end it, or wait")
            }
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl Error for Unresolved {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}
