//! What is asked of the store for a step, and how its answers are read.

use super::{CheckpointLayer, Codec, Halt, Keyed, StepOf, course::Keep, tenure::Operation};
use crate::{
    Event, FromRejection, Rejection,
    store::{Begin, Begun, Entry, Payload, Sealed, Settled, Status, StoreError, Ticket},
};

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
        Ok(Begin { workflow, step, fingerprint, claim, intent, restart: None })
    }

    /// Asks for what became of a step, and to begin it if nothing did.
    pub(super) fn begin(&self, begin: &Begin) -> Operation<Begun> {
        let (store, begin) = (self.journal.store().clone(), begin.clone());
        Box::pin(async move { store.begin(&begin).await })
    }

    /// Asks for what became of a step, and no more: without an intent and a lease nothing is written.
    pub(super) fn look(&self, begin: &Begin) -> Result<Operation<Begun>, Halt> {
        let claim = self.journal.claim(&begin.workflow, false).map_err(Halt::Store)?;
        Ok(self.begin(&Begin { claim, intent: false, restart: None, ..begin.clone() }))
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
            self.voice.tell(Event::Replayed { version: record.version });
        }
        match replayed {
            Ok(response) => End::Outcome(Ok(response)),
            Err(halt) => End::Halt(halt),
        }
    }

    /// Answers with the outcome that counts.
    pub(super) fn settle<Res, E>(
        &self,
        ticket: &Ticket,
        outcome: Result<Res, E>,
        settled: Result<Settled, StoreError>,
        keep: Keep,
    ) -> End<Res, E>
    where
        K: Codec<Res>,
    {
        match settled {
            Ok(Settled { record, ours: false }) => self.answer(&record),
            Ok(Settled { record, ours: true }) => {
                let (attempt, version) = (ticket.attempt, record.version);
                self.voice.tell(match keep {
                    Keep::Withdrawal => Event::Withdrawn { attempt, version },
                    _ => Event::Recorded { attempt, version },
                });
                End::Outcome(outcome)
            }
            Err(error) => {
                if let StoreError::Fenced { epoch, .. } = error {
                    self.voice.tell(Event::Fenced { epoch });
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

    pub(super) fn refuse<E: FromRejection>(&self, halt: Halt) -> E {
        match &halt {
            Halt::Store(StoreError::Fenced { epoch, .. }) => {
                self.voice.tell(Event::Fenced { epoch: *epoch });
            }
            Halt::InFlight { .. } => self.voice.tell(Event::Rejected { retry_after: None }),
            Halt::Held { retry_after, .. } => {
                self.voice.tell(Event::Rejected { retry_after: Some(*retry_after) });
            }
            _ => {}
        }
        E::from_rejection(Rejection::halted(self.voice.name(), halt))
    }
}
