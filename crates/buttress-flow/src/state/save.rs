//! How a state is saved, and what is done about an answer that was not heard.

use buttress::{
    Event,
    store::{Append, Entry, Found, Payload, Sealed, StoreError},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Checkpoints, StateError,
    checkpoints::Base,
    version::{Draft, encode},
};

impl<T: Serialize + DeserializeOwned> Checkpoints<T> {
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
}

impl<T> Checkpoints<T> {
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
}
