//! Versions of a state.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    marker::PhantomData,
    sync::Arc,
};

use buttress::{
    Event, Observe, Teller, Tracing,
    store::{
        Append, Audit, Damage, Digest, Entry, Finding, Found, Journal, Payload, Sealed, Status,
        StepId, StoreError, Version, WorkflowId,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::StateError;

/// The versions of one state. See the [module](super).
///
/// # Cancellation
/// A save that is dropped was made or was not; the next save finds out which.
pub struct Checkpoints<T> {
    journal: Journal,
    subject: WorkflowId,
    step: StepId,
    schema: u32,
    observe: Arc<dyn Observe>,
    base: Base,
    /// Marks saves as ours, for when an answer of the store is lost.
    mark: Digest,
    state: PhantomData<fn(T) -> T>,
}

/// What the next save follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Base {
    /// The version that must be the newest; 0 for none.
    newest: u64,
    /// The version that the state was made from.
    parent: Option<u64>,
    /// Whether a save was begun since whose answer was not heard. It may yet be made.
    unheard: bool,
}

/// A version that was loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved<T> {
    /// The state.
    pub state: T,
    /// Its version.
    pub version: u64,
    /// The version that it was made from.
    pub parent: Option<u64>,
    /// What was said about it.
    pub metadata: Value,
    /// When it was saved, in milliseconds since 1970, by the clock of who saved it.
    pub created: u64,
    /// Newer versions that are damaged and were passed over, newest first.
    pub skipped: Vec<Finding>,
}

/// A version in a list.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Listed {
    /// It is as it was saved.
    Intact {
        /// The version.
        version: u64,
        /// The version that it was made from.
        parent: Option<u64>,
        /// What was said about it.
        metadata: Value,
        /// When it was saved, in milliseconds since 1970, by the clock of who saved it.
        created: u64,
        /// The number of its type.
        schema: u32,
        /// How long it is, in bytes, metadata included.
        bytes: usize,
    },
    /// It is not.
    Damaged {
        /// The version.
        version: u64,
        /// What is wrong with it.
        damage: Damage,
    },
}

/// How it is written: readable by any tool that knows JSON.
#[derive(Serialize)]
struct Written<'a, T> {
    metadata: &'a Value,
    state: &'a T,
}

#[derive(Deserialize)]
struct Read<T> {
    metadata: Value,
    state: T,
}

/// The metadata alone, without a need to know the type of the state.
#[derive(Deserialize)]
struct About {
    metadata: Value,
}

/// How many versions are read at a time.
const PAGE: usize = 64;

impl<T> Checkpoints<T> {
    /// The versions of a subject: an agent, a session, a task.
    pub fn new(journal: impl Into<Journal>, subject: impl Into<Arc<str>>) -> Self {
        let journal = journal.into();
        let subject = journal.workflow(subject);
        let random = RandomState::new().hash_one(()).to_le_bytes();
        let mark = Digest::of_parts(&[journal.owner_name().as_bytes(), &random]);
        Self {
            journal,
            subject,
            step: StepId::new("state"),
            schema: 1,
            observe: Arc::new(Tracing),
            base: Base::default(),
            mark,
            state: PhantomData,
        }
    }

    /// Sets the number of the state's type; 1 by default.
    ///
    /// Count it up when the type changes so that old bytes would be misread. What was saved under another
    /// is a [`StateError::Schema`], never a default.
    #[must_use]
    pub const fn schema(mut self, number: u32) -> Self {
        self.schema = number;
        self
    }

    /// Sets who listens to events; `tracing` by default.
    #[must_use]
    pub fn observe(mut self, observe: impl Observe + 'static) -> Self {
        self.observe = Arc::new(observe);
        self
    }

    /// What the versions are of.
    pub const fn subject(&self) -> &WorkflowId {
        &self.subject
    }

    /// The version that the next save is to follow, 0 for none.
    pub const fn newest(&self) -> u64 {
        self.base.newest
    }

    /// Every version that is kept, oldest first, the damaged ones included.
    ///
    /// # Errors
    /// What the store says. A subject of which nothing was saved has no versions, which is no error.
    pub async fn list(&self) -> Result<Vec<Listed>, StateError> {
        let (mut listed, mut after) = (Vec::new(), 0);
        loop {
            let page = match self.journal.store().history(&self.subject, after, PAGE).await {
                Err(StoreError::NotFound { .. }) => return Ok(listed),
                page => page?,
            };
            let full = page.len() == PAGE;
            for version in page {
                match version {
                    Version::Damaged(Finding { version, damage }) => {
                        after = version;
                        listed.push(Listed::Damaged { version, damage });
                    }
                    Version::Intact(record) => {
                        after = record.version;
                        if self.is_ours(&record) {
                            listed.push(about(&record)?);
                        }
                    }
                }
            }
            if !full {
                return Ok(listed);
            }
        }
    }

    /// Looks through all versions: how many there are, and what is wrong with them.
    ///
    /// # Errors
    /// What the store says.
    pub async fn verify(&self) -> Result<Audit, StateError> {
        match self.journal.store().verify(&self.subject).await {
            Err(StoreError::NotFound { .. }) => Ok(Audit::default()),
            audit => Ok(audit?),
        }
    }

    async fn found(&self) -> Result<Option<Found>, StateError> {
        let found = self.journal.store().latest(&self.subject, Some(&self.step)).await?;
        for finding in found.iter().flat_map(|found| &found.skipped) {
            self.tell(Event::Damaged { version: finding.version });
        }
        Ok(found)
    }

    /// Writes a version.
    pub(super) async fn commit(&mut self, Draft(bytes): Draft) -> Result<u64, StateError> {
        let payload = Payload { codec: Payload::JSON, schema: self.schema, bytes };
        if self.base.unheard {
            self.listen().await?;
        }
        loop {
            let before = self.base;
            let append = self.append(payload.clone())?;
            // From here on, until there is an answer, it may be saved or not: dropped or failed.
            self.base.unheard = true;
            let error = match self.journal.store().append(append).await {
                Ok(Sealed { record, .. }) => {
                    let version = record.version;
                    self.base = Base { newest: version, parent: Some(version), unheard: false };
                    self.tell(Event::Recorded { attempt: 1, version });
                    return Ok(version);
                }
                Err(error) => error,
            };
            match error {
                StoreError::Engine(_) => {}
                // An earlier one was made only now.
                StoreError::Stale { .. } if before.unheard => {
                    self.listen().await?;
                    if self.base.newest != before.newest {
                        continue;
                    }
                }
                StoreError::Fenced { epoch, .. } => {
                    self.base = before;
                    self.tell(Event::Fenced { epoch });
                }
                _ => self.base = before,
            }
            return Err(error.into());
        }
    }

    fn append(&self, payload: Payload) -> Result<Append, StoreError> {
        Ok(Append {
            workflow: self.subject.clone(),
            step: self.step.clone(),
            claim: self.journal.claim(&self.subject, false)?,
            expect: Some(self.base.newest),
            parent: self.base.parent,
            fingerprint: self.mark,
            entry: Entry::state(payload),
        })
    }

    /// Finds out whether a save was made whose answer was not heard.
    async fn listen(&mut self) -> Result<(), StateError> {
        let found = match self.journal.store().latest(&self.subject, Some(&self.step)).await {
            // What it was cannot be told any more; whoever wrote it, it is there to be followed or not.
            Err(StoreError::Corrupt { .. }) => None,
            found => found?,
        };
        if let Some(Found { record, newest, .. }) = found
            && record.fingerprint == self.mark
            && record.version == newest
        {
            self.base.newest = newest;
            self.base.parent = Some(newest);
        }
        Ok(())
    }

    fn is_ours(&self, record: &Sealed) -> bool {
        record.status == Status::State && record.step == self.step
    }

    fn tell(&self, event: Event) {
        let teller = Teller { pattern: "state", name: &self.subject.workflow };
        self.observe.event(teller, &event);
    }
}

impl<T: Serialize + DeserializeOwned> Checkpoints<T> {
    /// Loads the newest intact version, and goes on from there; `None` if there is none yet.
    ///
    /// Newer ones that are damaged are passed over, and told. The next save follows them all.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if there are versions and none is intact: to go on regardless, save after
    /// [`start_over`](Self::start_over). [`StateError::Schema`] and [`StateError::Unreadable`] for an intact one
    /// of another type: it is not passed over, since it is not lost.
    pub async fn recover(&mut self) -> Result<Option<Saved<T>>, StateError> {
        let Some(Found { record, newest, skipped }) = self.found().await? else {
            self.base = Base::default();
            return Ok(None);
        };
        let saved = self.read(&record, skipped)?;
        self.base = Base { newest, parent: Some(record.version), unheard: false };
        Ok(Some(saved))
    }

    /// The newest intact version, just to look at it; `None` if there is none.
    ///
    /// # Errors
    /// As of [`recover`](Self::recover).
    pub async fn latest(&self) -> Result<Option<Saved<T>>, StateError> {
        let found = self.found().await?;
        found.map(|Found { record, skipped, .. }| self.read(&record, skipped)).transpose()
    }

    /// One version, just to look at it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] and [`StoreError::Corrupt`], or as of [`recover`](Self::recover).
    pub async fn load(&self, version: u64) -> Result<Saved<T>, StateError> {
        let record = self.journal.store().get(&self.subject, version).await?;
        if !self.is_ours(&record) {
            let workflow = self.subject.clone();
            return Err(StoreError::NotFound { workflow, version: Some(version) }.into());
        }
        self.read(&record, Vec::new())
    }

    /// Loads an older version, and goes on from there: the next save has it as its parent, and follows what
    /// is the newest now.
    ///
    /// # Errors
    /// As of [`load`](Self::load).
    pub async fn rewind(&mut self, version: u64) -> Result<Saved<T>, StateError> {
        let saved = self.load(version).await?;
        self.base = Base { parent: Some(version), ..self.after_all().await? };
        Ok(saved)
    }

    /// Goes on from nothing, whatever there is: the next save has no parent, and follows what is the newest
    /// now.
    ///
    /// # Errors
    /// What the store says.
    pub async fn start_over(&mut self) -> Result<(), StateError> {
        self.base = self.after_all().await?;
        Ok(())
    }

    async fn after_all(&self) -> Result<Base, StateError> {
        let newest = match self.found().await {
            Ok(found) => found.map_or(0, |found| found.newest),
            Err(StateError::Store(StoreError::Corrupt { version: Some(newest), .. })) => newest,
            Err(error) => return Err(error),
        };
        Ok(Base { newest, parent: None, unheard: false })
    }

    /// Saves a state, with whatever is to be said about it, and returns its version.
    ///
    /// It is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Stale`] if there is a version that this one does not follow: nothing was saved. That
    /// is so, too, where something was saved before and nothing was loaded. Otherwise what the store says;
    /// where it leaves open whether the state was saved, the next save finds out.
    pub async fn save(&mut self, state: &T, metadata: impl Into<Value>) -> Result<u64, StateError> {
        let draft = encode(state, &metadata.into())?;
        self.commit(draft).await
    }

    fn read(&self, record: &Sealed, skipped: Vec<Finding>) -> Result<Saved<T>, StateError> {
        let Payload { codec, schema, bytes } = &record.payload;
        let (version, wanted) = (record.version, self.schema);
        if *schema != wanted {
            return Err(StateError::Schema { version, found: *schema, wanted });
        }
        if *codec != Payload::JSON {
            let message = format!("it is written in codec {codec}");
            return Err(StateError::Unreadable { version, message });
        }
        let Read { metadata, state } = serde_json::from_slice(bytes)
            .map_err(|error| StateError::Unreadable { version, message: error.to_string() })?;
        let (parent, created) = (record.parent, record.created);
        Ok(Saved { state, version, parent, metadata, created, skipped })
    }
}

/// A state in the form in which it is saved.
#[derive(Clone)]
pub(super) struct Draft(Vec<u8>);

pub(super) fn encode<T: Serialize>(state: &T, metadata: &Value) -> Result<Draft, StateError> {
    serde_json::to_vec(&Written { metadata, state })
        .map(Draft)
        .map_err(|error| StateError::Unwritable { message: error.to_string() })
}

fn about(record: &Sealed) -> Result<Listed, StateError> {
    let (version, parent, created) = (record.version, record.parent, record.created);
    let Payload { schema, bytes, .. } = &record.payload;
    let About { metadata } = serde_json::from_slice(bytes)
        .map_err(|error| StateError::Unreadable { version, message: error.to_string() })?;
    Ok(Listed::Intact { version, parent, metadata, created, schema: *schema, bytes: bytes.len() })
}

impl<T> fmt::Debug for Checkpoints<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoints")
            .field("subject", &self.subject)
            .field("schema", &self.schema)
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}
