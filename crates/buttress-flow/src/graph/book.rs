//! What is kept of a run as a whole: what it began with, and what came of it.

use buttress::{
    checkpoint::{Codec, Halt, Json},
    store::{
        Begin, Begun, Digest, Entry, Journal, Payload, Sealed, Settled, StepId, StoreError, Ticket,
        Version, WorkflowId,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    START,
    outline::{Outline, Trail},
};

/// How many records are read at a time.
const PAGE: usize = 64;

/// The records of one run.
pub(super) struct Book {
    pub(super) journal: Journal,
    pub(super) workflow: WorkflowId,
    pub(super) schema: u32,
}

/// What a run began with.
#[derive(Serialize, Deserialize)]
pub(super) struct Started<S> {
    pub(super) graph: Outline,
    pub(super) input: S,
}

/// What is known of a record that is to be written.
pub(super) enum Opened<T> {
    /// It is written already.
    Written(T),
    Fresh(Ticket),
}

impl Book {
    /// Looks for the record of a step, which belongs to an input.
    pub(super) async fn open<T>(&self, step: &str, input: Digest) -> Result<Opened<T>, Halt>
    where
        T: Serialize + DeserializeOwned,
    {
        let step = StepId::new(step);
        let claim = self.journal.claim(&self.workflow, false).map_err(Halt::Store)?;
        let begin = Begin {
            workflow: self.workflow.clone(),
            step: step.clone(),
            fingerprint: input,
            claim,
            intent: false,
            restart: None,
            mark: None,
        };
        match self.journal.store().begin(&begin).await.map_err(halt)? {
            Begun::Fresh(ticket) => Ok(Opened::Fresh(ticket)),
            Begun::Completed { record } => self.read(&record).map(Opened::Written),
            // Steps of these names are begun and fail nowhere: another program has written them.
            Begun::Pending { .. }
            | Begun::Failed { .. }
            | Begun::Damaged { .. }
            | Begun::Mismatch { .. } => Err(Halt::Mismatch { step }),
        }
    }

    /// Writes the record, and returns what counts: what was written first.
    pub(super) async fn write<T>(&self, ticket: &Ticket, value: T, ends: bool) -> Result<T, Halt>
    where
        T: Serialize + DeserializeOwned,
    {
        let step = || ticket.step.clone();
        let bytes = Json
            .encode(&value)
            .map_err(|error| Halt::Unwritable { step: step(), message: error.to_string() })?;
        let codec = Codec::<T>::number(&Json);
        let entry = Entry::done(Payload { codec, schema: self.schema, bytes });
        // Under a lease that was given to us, the workflow is somebody else's, such as a worker's, who has
        // something to write yet.
        let ends = ends && self.journal.lease().is_none();
        let entry = if ends { entry.finish() } else { entry };
        match self.journal.store().complete(ticket, entry).await {
            Ok(Settled { ours: true, .. }) => Ok(value),
            Ok(Settled { record, ours: false }) => self.read(&record),
            Err(error) => Err(Halt::Unrecorded { step: step(), error }),
        }
    }

    /// What the run began with.
    pub(super) async fn started<S>(&self) -> Result<Started<S>, Halt>
    where
        S: Serialize + DeserializeOwned,
    {
        let start = StepId::new(START);
        let store = self.journal.store();
        let found = store.latest(&self.workflow, Some(&start)).await.map_err(halt)?;
        match found {
            Some(found) => self.read(&found.record),
            None => {
                let workflow = self.workflow.clone();
                Err(Halt::Store(StoreError::NotFound { workflow, version: None }))
            }
        }
    }

    /// What was recorded since the run began, when the graph looked otherwise than now.
    pub(super) async fn trail(&self, graphs: [&Outline; 2]) -> Result<Option<Trail>, Halt> {
        let (mut steps, mut after) = (Vec::new(), 0);
        loop {
            let page = self.journal.store().history(&self.workflow, after, PAGE);
            let page = page.await.map_err(halt)?;
            let full = page.len() == PAGE;
            for version in page {
                // What is damaged may have been of any step, and is done again if that is harmless.
                let Version::Intact(record) = version else { return Ok(None) };
                after = record.version;
                steps.push((record.record.step, record.record.status));
            }
            if !full {
                return Ok(Some(Trail::new(graphs, steps)));
            }
        }
    }

    fn read<T>(&self, record: &Sealed) -> Result<T, Halt>
    where
        T: Serialize + DeserializeOwned,
    {
        let Payload { codec, schema, bytes } = &record.payload;
        let (found, wanted) = ((*codec, *schema), (Codec::<T>::number(&Json), self.schema));
        let unreadable =
            |message| Halt::Unreadable { step: record.step.clone(), found, wanted, message };
        if found != wanted {
            return Err(unreadable(String::new()));
        }
        Json.decode(bytes).map_err(|error| unreadable(error.to_string()))
    }
}

fn halt(error: StoreError) -> Halt {
    match error {
        StoreError::Held { owner, retry_after, .. } => Halt::Held { owner, retry_after },
        error => Halt::Store(error),
    }
}
