//! The versions of a state, and which of them one goes on from.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    marker::PhantomData,
    sync::Arc,
};

use buttress::{
    Event, Observe, Teller, Tracing,
    store::{
        Audit, Digest, Finding, Found, Journal, Sealed, Status, StepId, StoreError, Version,
        WorkflowId,
    },
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Listed, Saved, StateError,
    version::{about, read},
};

/// The versions of one state. See the [module](super).
///
/// # Cancellation
/// A save that is dropped was made or was not; the next save finds out which.
pub struct Checkpoints<T> {
    pub(super) journal: Journal,
    pub(super) subject: WorkflowId,
    pub(super) step: StepId,
    pub(super) schema: u32,
    observe: Arc<dyn Observe>,
    pub(super) base: Base,
    /// Marks saves as ours, for when an answer of the store is lost.
    pub(super) mark: Digest,
    state: PhantomData<fn(T) -> T>,
}

/// What the next save follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Base {
    /// The version that must be the newest; 0 for none.
    pub(super) newest: u64,
    /// The version that the state was made from.
    pub(super) parent: Option<u64>,
    /// Whether a save was begun since whose answer was not heard. It may yet be made.
    pub(super) unheard: bool,
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

    fn is_ours(&self, record: &Sealed) -> bool {
        record.status == Status::State && record.step == self.step
    }

    pub(super) fn tell(&self, event: Event) {
        let teller = Teller {
            pattern: "state",
            name: &self.subject.workflow,
            workflow: &self.subject.workflow,
        };
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
        let saved = read(&record, skipped, self.schema)?;
        self.base = Base { newest, parent: Some(record.version), unheard: false };
        Ok(Some(saved))
    }

    /// The newest intact version, just to look at it; `None` if there is none.
    ///
    /// # Errors
    /// As of [`recover`](Self::recover).
    pub async fn latest(&self) -> Result<Option<Saved<T>>, StateError> {
        let found = self.found().await?;
        found.map(|Found { record, skipped, .. }| read(&record, skipped, self.schema)).transpose()
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
        read(&record, Vec::new(), self.schema)
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
