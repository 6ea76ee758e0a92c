//! What is asked of the store for a step, and how its answers are read.

use std::{future::Future, pin::Pin};

use super::{CheckpointLayer, Codec, Halt, Keyed, StepOf, course::Keep};
use crate::{
    Event, FromRejection, Rejection,
    store::{Begin, Begun, Entry, Payload, Sealed, Settled, Status, StoreError, Ticket},
};

/// An operation of a store that owns what it works on.
pub(super) type Operation<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// What the call comes to.
pub(super) enum End<Res, E> {
    Outcome(Result<Res, E>),
    Halt(Halt),
}

impl<Res, E> From<Halt> for End<Res, E> {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl<K, C, N, P> CheckpointLayer<K, C, N, P> {
    pub(super) fn plan(&self, request: &impl Keyed) -> Result<Begin, Halt> {
        let StepOf { workflow, step } = request.step().map_err(Halt::Unkeyed)?;
        let fingerprint = request.fingerprint().map_err(Halt::Unkeyed)?;
        let workflow = self.journal.workflow(workflow);
        let intent = self.effects.intend();
        let claim = self.journal.claim(&workflow, intent).map_err(Halt::Store)?;
        Ok(Begin { workflow, step, fingerprint, claim, intent, restart: None, mark: None })
    }

    /// Asks for what became of a step, and to begin it if nothing did.
    pub(super) fn begin(&self, begin: &Begin) -> Operation<Begun> {
        let (store, begin) = (self.journal.store().clone(), begin.clone());
        Box::pin(async move { store.begin(&begin).await })
    }

    /// Asks for what became of a step, and no more: without an intent and a lease nothing is written.
    pub(super) fn look(&self, begin: &Begin) -> Result<Operation<Begun>, Halt> {
        let claim = self.journal.claim(&begin.workflow, false).map_err(Halt::Store)?;
        Ok(self.begin(&Begin { claim, intent: false, restart: None, mark: None, ..begin.clone() }))
    }

    pub(super) fn complete(&self, ticket: &Ticket, entry: Entry) -> Operation<Settled> {
        let (store, ticket) = (self.journal.store().clone(), ticket.clone());
        Box::pin(async move { store.complete(&ticket, entry).await })
    }

    pub(super) fn encode<Res>(&self, response: &Res) -> Result<Payload, String>
    where
        K: Codec<Res>,
    {
        let bytes = self.codec.encode(response).map_err(|error| error.to_string())?;
        Ok(Payload { codec: self.codec.number(), schema: self.schema, bytes })
    }

    /// The outcome that a record tells of.
    fn replay<Res>(&self, record: &Sealed) -> Result<Res, Halt>
    where
        K: Codec<Res>,
    {
        let step = || record.step.clone();
        let Payload { codec, schema, bytes } = &record.payload;
        if record.status == Status::Failed && *codec == Payload::BYTES {
            let message = String::from_utf8_lossy(bytes).into_owned();
            return Err(Halt::Failed { step: step(), message });
        }
        let (found, wanted) = ((*codec, *schema), (self.codec.number(), self.schema));
        let unreadable = |message| Halt::Unreadable { step: step(), found, wanted, message };
        if found != wanted {
            return Err(unreadable(String::new()));
        }
        self.codec.decode(bytes).map_err(|error| unreadable(error.to_string()))
    }

    pub(super) fn answer<Res, E>(&self, record: &Sealed) -> End<Res, E>
    where
        K: Codec<Res>,
    {
        let replayed = self.replay(record);
        if matches!(replayed, Ok(_) | Err(Halt::Failed { .. })) {
            self.voice
                .tell_of(&record.workflow.workflow, Event::Replayed { version: record.version });
        }
        match replayed {
            Ok(response) => End::Outcome(Ok(response)),
            Err(halt) => End::Halt(halt),
        }
    }

    /// Answers with the outcome that counts. `fenced`: it is told already that the lease is lost.
    pub(super) fn settle<Res, E>(
        &self,
        ticket: &Ticket,
        outcome: Result<Res, E>,
        settled: Result<Settled, StoreError>,
        keep: Keep,
        fenced: bool,
    ) -> End<Res, E>
    where
        K: Codec<Res>,
    {
        match settled {
            // A withdrawal that was written before was ours: the store asked itself twice.
            Ok(Settled { record, ours })
                if ours || (keep, record.status) == (Keep::Withdrawal, Status::Withdrawn) =>
            {
                let (attempt, version) = (ticket.attempt, record.version);
                let event = match keep {
                    Keep::Withdrawal => Event::Withdrawn { attempt, version },
                    _ => Event::Recorded { attempt, version },
                };
                self.voice.tell_of(&ticket.workflow.workflow, event);
                End::Outcome(outcome)
            }
            Ok(Settled { record, .. }) => self.answer(&record),
            Err(error) => {
                if !fenced {
                    self.tell_fenced(&error);
                }
                match keep {
                    Keep::Result => {
                        End::Halt(Halt::Unrecorded { step: ticket.step.clone(), error })
                    }
                    // What the service said is nearer to the cause; the doubt stays.
                    _ => End::Outcome(outcome),
                }
            }
        }
    }

    /// Tells that the lease is lost if it is, and says so.
    pub(super) fn tell_fenced(&self, error: &StoreError) -> bool {
        let StoreError::Fenced { workflow, epoch } = error else { return false };
        self.voice.tell_of(&workflow.workflow, Event::Fenced { epoch: *epoch });
        true
    }

    pub(super) fn refuse<E: FromRejection>(&self, workflow: &str, halt: Halt) -> E {
        match &halt {
            Halt::Store(error) => {
                self.tell_fenced(error);
            }
            Halt::InFlight { .. } | Halt::Within { .. } => {
                self.voice.tell_of(workflow, Event::Rejected { retry_after: None });
            }
            Halt::Held { retry_after, .. } => {
                self.voice.tell_of(workflow, Event::Rejected { retry_after: Some(*retry_after) });
            }
            _ => {}
        }
        E::from_rejection(Rejection::halted(self.voice.name(), halt))
    }
}

#[cfg(test)]
mod tests {
    use tower::BoxError;

    use super::*;
    use crate::{
        checkpoint::{Effects, InDoubt, Step},
        store::MemoryStore,
    };

    #[tokio::test(start_paused = true)]
    async fn a_withdrawal_that_the_store_wrote_twice_is_ours() {
        let effects = Effects::SideEffect(InDoubt::Fail);
        let layer = CheckpointLayer::new(MemoryStore::new(), effects);
        let begin = layer.plan(&Step::new("order", "pay", 5)).expect("it is a step");
        let begun = layer.begin(&begin).await;
        let Ok(Begun::Fresh(ticket)) = begun else { unreachable!("not fresh: {begun:?}") };
        let mut settled = layer.complete(&ticket, Entry::withdrawn()).await;
        for ours in [true, false] {
            assert_eq!(settled.as_ref().map(|settled| settled.ours), Ok(ours));
            let outcome = Err::<u32, BoxError>("no room".into());
            match layer.settle(&ticket, outcome, settled, Keep::Withdrawal, false) {
                End::Outcome(Err(error)) => assert_eq!(error.to_string(), "no room"),
                End::Outcome(Ok(_)) => unreachable!("it failed"),
                End::Halt(halt) => unreachable!("halted: {halt}"),
            }
            settled = layer.complete(&ticket, Entry::withdrawn()).await;
        }
    }
}
