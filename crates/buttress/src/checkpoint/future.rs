use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::{
    sync::futures::OwnedNotified,
    time::{Instant, Sleep, sleep},
};
use tower_service::Service;

use super::{
    Ask, CheckpointLayer, Codec, Effects, Halt, Keyed, Landing, Memo, StepOf,
    course::{Course, Doubt, Keep, course, keep, resolve},
    instance::Instance,
    tenure::{Lost, Operation, Tenure},
};
use crate::{
    Classify, Deadline, Event, FromRejection, Rejection, Resolution,
    store::{Begin, Begun, Entry, Payload, Place, Sealed, Settled, StoreError, Ticket},
};

/// The longest wait between two looks at a workflow that another process holds.
const GLANCE: Duration = Duration::from_millis(250);

/// The future of [`Checkpoint`](super::Checkpoint).
#[pin_project]
pub struct ResponseFuture<S, Req, K, C, N, P>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
    P: Ask<Req, S::Response, S::Error>,
{
    #[pin]
    stage: Stage<S::Future, P::Future>,
    /// What is asked of the store, or why nothing can be.
    begin: Result<Begin, Option<Halt>>,
    inner: Instance<S>,
    request: Option<Req>,
    /// The error of the service while it was made ready, kept until it is known whether it is needed.
    unready: Option<S::Error>,
    /// The right to write the outcome.
    ticket: Option<Ticket>,
    /// Whether the intent is all that speaks for the step having been done.
    sole: bool,
    tenure: Option<Tenure>,
    call: Option<C::Call>,
    /// The outcome, while it is recorded; or what the world said, while its recording is begun.
    outcome: Option<Result<S::Response, S::Error>>,
    layer: Arc<CheckpointLayer<K, C, N, P>>,
    /// The last to be dropped: who finds it empty knows that nothing of this call is left.
    place: Option<Place>,
}

#[pin_project(project = StageProj)]
enum Stage<F, A> {
    Entering,
    /// The step is done by another call in this process.
    Waiting {
        vacated: Pin<Box<OwnedNotified>>,
    },
    /// Another process holds the workflow.
    Resting {
        timer: Pin<Box<Sleep>>,
    },
    /// A look that writes nothing: without the place, or while the service is not ready.
    Looking {
        operation: Operation<Begun>,
    },
    Readying,
    Beginning {
        operation: Operation<Begun>,
    },
    /// The world is asked about a step in doubt.
    Asking {
        #[pin]
        future: A,
        doubt: Doubt,
    },
    Calling {
        #[pin]
        future: F,
    },
    Recording {
        operation: Operation<Settled>,
        keep: Keep,
    },
    Done,
}

impl<S, Req, K, C, N, P> ResponseFuture<S, Req, K, C, N, P>
where
    S: Service<Req>,
    Req: Keyed,
    C: Classify<Req, S::Response, S::Error>,
    P: Ask<Req, S::Response, S::Error>,
{
    pub(super) fn new(inner: S, request: Req, layer: Arc<CheckpointLayer<K, C, N, P>>) -> Self {
        Self {
            stage: Stage::Entering,
            begin: layer.plan(&request).map_err(Some),
            inner: Instance::new(inner),
            request: Some(request),
            unready: None,
            ticket: None,
            sole: true,
            tenure: None,
            call: None,
            outcome: None,
            layer,
            place: None,
        }
    }
}

impl<S, Req, K, C, N, P> ResponseFuture<S, Req, K, C, N, P>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
    P: Ask<Req, S::Response, S::Error>,
{
    /// Whether dropping it now would leave something undone that may have begun.
    pub(super) fn under_way(&self) -> bool {
        match self.stage {
            Stage::Beginning { .. } => self.begin.as_ref().is_ok_and(|begin| begin.intent),
            Stage::Calling { .. } | Stage::Recording { .. } => true,
            _ => false,
        }
    }
}

impl<K, C, N, P> CheckpointLayer<K, C, N, P> {
    fn plan(&self, request: &impl Keyed) -> Result<Begin, Halt> {
        let StepOf { workflow, step } = request.step().map_err(Halt::Unkeyed)?;
        let fingerprint = request.fingerprint().map_err(Halt::Unkeyed)?;
        let workflow = self.journal.workflow(workflow);
        let intent = self.effects.intend();
        let claim = self.journal.claim(&workflow, intent).map_err(Halt::Store)?;
        Ok(Begin { workflow, step, fingerprint, claim, intent, restart: None })
    }

    /// Asks for what became of a step, and to begin it if nothing did.
    fn begin(&self, begin: &Begin) -> Operation<Begun> {
        let (store, begin) = (self.journal.store().clone(), begin.clone());
        Box::pin(async move { store.begin(&begin).await })
    }

    /// Asks for what became of a step, and no more: without an intent and a lease nothing is written.
    fn look(&self, begin: &Begin) -> Result<Operation<Begun>, Halt> {
        let claim = self.journal.claim(&begin.workflow, false).map_err(Halt::Store)?;
        Ok(self.begin(&Begin { claim, intent: false, restart: None, ..begin.clone() }))
    }

    fn complete(&self, ticket: &Ticket, entry: Entry) -> Operation<Settled> {
        let (store, ticket) = (self.journal.store().clone(), ticket.clone());
        Box::pin(async move { store.complete(&ticket, entry).await })
    }

    fn encode<Res>(&self, response: &Res) -> Result<Payload, String>
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
        if record.status == crate::store::Status::Failed && *codec == Payload::BYTES {
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

    fn answer<Res, E>(&self, record: &Sealed) -> End<Res, E>
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
    fn settle<Res, E>(
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

    fn refuse<E: FromRejection>(&self, halt: Halt) -> E {
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

impl<S, Req, K, C, N, P> Future for ResponseFuture<S, Req, K, C, N, P>
where
    S: Service<Req> + Clone,
    S::Error: FromRejection,
    Req: Keyed,
    K: Codec<S::Response>,
    C: Classify<Req, S::Response, S::Error>,
    N: Memo<S::Error>,
    P: Ask<Req, S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = loop {
            match ready!(self.as_mut().advance(cx)) {
                Ok(stage) => self.as_mut().project().stage.set(stage),
                Err(End::Outcome(outcome)) => break outcome,
                Err(End::Halt(halt)) => break Err(self.layer.refuse(halt)),
            }
        };
        let mut this = self.project();
        this.stage.set(Stage::Done);
        this.inner.leave();
        *this.tenure = None;
        *this.place = None;
        Poll::Ready(outcome)
    }
}

/// What the call comes to.
enum End<Res, E> {
    Outcome(Result<Res, E>),
    Halt(Halt),
}

impl<Res, E> From<Halt> for End<Res, E> {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

type Next<S, Req, P> = Result<
    Stage<
        <S as Service<Req>>::Future,
        <P as Ask<Req, <S as Service<Req>>::Response, <S as Service<Req>>::Error>>::Future,
    >,
    End<<S as Service<Req>>::Response, <S as Service<Req>>::Error>,
>;

impl<S, Req, K, C, N, P> ResponseFuture<S, Req, K, C, N, P>
where
    S: Service<Req> + Clone,
    S::Error: FromRejection,
    Req: Keyed,
    K: Codec<S::Response>,
    C: Classify<Req, S::Response, S::Error>,
    N: Memo<S::Error>,
    P: Ask<Req, S::Response, S::Error>,
{
    /// Goes from one stage to the next, or to the end.
    fn advance(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next<S, Req, P>> {
        let this = self.as_mut().project();
        let begin = match this.begin {
            Ok(begin) => begin,
            Err(halt) => match halt.take() {
                Some(halt) => return Poll::Ready(Err(halt.into())),
                None => return Poll::Pending,
            },
        };
        let layer = &**this.layer;
        let next = match this.stage.project() {
            StageProj::Entering => match layer.journal.enter(&begin.workflow, &begin.step) {
                Ok(place) => {
                    *this.place = Some(place);
                    return Poll::Ready(self.prepare(cx));
                }
                Err(occupied) if layer.wait => {
                    Ok(Stage::Waiting { vacated: Box::pin(occupied.vacated()) })
                }
                Err(_) => layer
                    .look(begin)
                    .map(|operation| Stage::Looking { operation })
                    .map_err(End::Halt),
            },
            StageProj::Waiting { vacated } => {
                ready!(vacated.as_mut().poll(cx));
                Ok(Stage::Entering)
            }
            StageProj::Resting { timer } => {
                ready!(timer.as_mut().poll(cx));
                return Poll::Ready(self.prepare(cx));
            }
            StageProj::Looking { operation } => {
                // One that waits in a queue must be polled there.
                if this.place.is_some()
                    && this.unready.is_none()
                    && let Poll::Ready(Err(error)) = this.inner.poll_ready(cx)
                {
                    *this.unready = Some(error);
                }
                let begun = ready!(operation.as_mut().poll(cx));
                match course(begun, &begin.step) {
                    Course::Call(_) | Course::Doubt(_) if this.place.is_none() => {
                        Err(End::Halt(Halt::InFlight { step: begin.step.clone() }))
                    }
                    Course::Call(_) | Course::Doubt(_) => match this.unready.take() {
                        Some(error) => Err(End::Outcome(Err(error))),
                        None => Ok(Stage::Readying),
                    },
                    course => return Poll::Ready(self.follow(course)),
                }
            }
            StageProj::Readying => {
                if let Err(error) = ready!(this.inner.poll_ready(cx)) {
                    return Poll::Ready(Err(End::Outcome(Err(error))));
                }
                match this.ticket {
                    Some(_) => return Poll::Ready(self.send()),
                    None => Ok(Stage::Beginning { operation: layer.begin(begin) }),
                }
            }
            StageProj::Beginning { operation } => {
                let begun = ready!(operation.as_mut().poll(cx));
                let course = course(begun, &begin.step);
                return Poll::Ready(self.follow(course));
            }
            StageProj::Asking { future, doubt } => {
                let doubt = *doubt;
                match ready!(future.poll(cx)) {
                    Ok(landing) => return Poll::Ready(self.resolve(doubt, Some(landing))),
                    Err(error) => Err(End::Outcome(Err(error))),
                }
            }
            StageProj::Calling { future } => match future.poll(cx) {
                Poll::Ready(outcome) => return Poll::Ready(self.judge(outcome)),
                Poll::Pending => {
                    if let Some(tenure) = this.tenure
                        && let Poll::Ready(Lost(epoch)) = tenure.poll(cx)
                    {
                        layer.voice.tell(Event::Fenced { epoch });
                    }
                    return Poll::Pending;
                }
            },
            StageProj::Recording { operation, keep } => {
                let settled = ready!(operation.as_mut().poll(cx));
                let Some((outcome, ticket)) = this.outcome.take().zip(this.ticket.as_ref()) else {
                    return Poll::Pending;
                };
                Err(layer.settle(ticket, outcome, settled, *keep))
            }
            // Polled again after it was done, which no future owes an answer to.
            StageProj::Done => return Poll::Pending,
        };
        Poll::Ready(next)
    }

    /// Makes the first look at a step whose place is ours.
    ///
    /// With an intent to be written the service is made ready first, so that a call that waits for
    /// it, and is given up, leaves no doubt. Where that takes time, a look says whether it is needed.
    fn prepare(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next<S, Req, P> {
        let this = self.project();
        let Ok(begin) = this.begin else { return Ok(Stage::Done) };
        if begin.intent {
            match this.inner.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    *this.unready = Some(error);
                    return Ok(Stage::Looking { operation: this.layer.look(begin)? });
                }
                Poll::Pending => {
                    return Ok(Stage::Looking { operation: this.layer.look(begin)? });
                }
            }
        }
        Ok(Stage::Beginning { operation: this.layer.begin(begin) })
    }

    /// Does what the store's answer asks for.
    fn follow(self: Pin<&mut Self>, course: Course) -> Next<S, Req, P> {
        let this = self.as_ref();
        let layer = &*this.layer;
        match course {
            Course::Call(ticket) => self.begun(ticket),
            Course::Answer(record) => Err(layer.answer(&record)),
            Course::Doubt(doubt) => self.doubt(doubt),
            Course::Stop(halt) => Err(halt.into()),
            Course::Wait { retry_after, halt } => {
                let pause = retry_after.min(GLANCE);
                let late = |end: Instant| end.saturating_duration_since(Instant::now()) <= pause;
                if !layer.wait || Deadline::current().is_some_and(late) {
                    return Err(halt.into());
                }
                self.project().inner.release();
                Ok(Stage::Resting { timer: Box::pin(sleep(pause)) })
            }
        }
    }

    /// The step is ours to do.
    fn begun(self: Pin<&mut Self>, ticket: Ticket) -> Next<S, Req, P> {
        let this = self.project();
        let layer = &**this.layer;
        if let Some(version) = ticket.intent {
            layer.voice.tell(Event::Intended { attempt: ticket.attempt, version });
        }
        let ticket = this.ticket.insert(ticket);
        match &*this.outcome {
            Some(Ok(landed)) => {
                let payload = layer
                    .encode(landed)
                    .map_err(|message| Halt::Unwritable { step: ticket.step.clone(), message })?;
                let operation = layer.complete(ticket, Entry::done(payload));
                Ok(Stage::Recording { operation, keep: Keep::Result })
            }
            _ => Ok(Stage::Readying),
        }
    }

    fn doubt(mut self: Pin<&mut Self>, doubt: Doubt) -> Next<S, Req, P> {
        let this = self.as_mut().project();
        if doubt.attempt == 0 {
            this.layer.voice.tell(Event::Damaged { version: doubt.version });
        }
        let request = this.request.as_ref();
        match request.and_then(|request| this.layer.probe.ask(request, doubt.key)) {
            Some(future) => {
                // Whoever is asked may need the very permit that a ready instance keeps.
                this.inner.release();
                Ok(Stage::Asking { future, doubt })
            }
            None => self.resolve(doubt, None),
        }
    }

    fn resolve(
        self: Pin<&mut Self>,
        doubt: Doubt,
        world: Option<Landing<S::Response>>,
    ) -> Next<S, Req, P> {
        let this = self.project();
        let layer = &**this.layer;
        let (Ok(begin), Effects::SideEffect(rule)) = (this.begin, layer.effects) else {
            return Ok(Stage::Done);
        };
        let Doubt { version, attempt, .. } = doubt;
        let resolution = resolve(rule, world.as_ref());
        layer.voice.tell(Event::InDoubt { attempt, resolution });
        match resolution {
            Resolution::Retry | Resolution::Absent => {
                *this.sole = resolution == Resolution::Absent;
                *this.outcome = None;
                begin.restart = Some(version);
                Ok(Stage::Readying)
            }
            Resolution::Landed => {
                begin.restart = Some(version);
                if let Some(Landing::Landed(response)) = world {
                    *this.outcome = Some(Ok(response));
                }
                Ok(Stage::Beginning { operation: layer.begin(begin) })
            }
            Resolution::Fail => Err(Halt::InDoubt { step: begin.step.clone(), attempt }.into()),
        }
    }

    /// Calls the service, which is ready.
    fn send(self: Pin<&mut Self>) -> Next<S, Req, P> {
        let this = self.project();
        let layer = &**this.layer;
        let (Some(mut request), Some(ticket)) = (this.request.take(), this.ticket.as_ref()) else {
            return Ok(Stage::Done);
        };
        request.place(ticket.key);
        *this.call = Some(layer.classify.begin(&request));
        *this.tenure = Tenure::of(ticket, &layer.journal);
        match this.inner.call(request) {
            Some(future) => Ok(Stage::Calling { future }),
            None => Ok(Stage::Done),
        }
    }

    /// Keeps of an outcome what is to be kept.
    fn judge(self: Pin<&mut Self>, outcome: Result<S::Response, S::Error>) -> Next<S, Req, P> {
        let this = self.project();
        let layer = &**this.layer;
        let (Some(call), Some(ticket)) = (this.call.take(), this.ticket.as_ref()) else {
            return Err(End::Outcome(outcome));
        };
        let verdict = layer.classify.verdict(&call, outcome.as_ref());
        let kept = keep(verdict, N::KEEPS, *this.sole && ticket.intent.is_some());
        let entry = match (kept, &outcome) {
            (Keep::Nothing, _) => return Err(End::Outcome(outcome)),
            (Keep::Withdrawal, _) => Entry::withdrawn(),
            (Keep::Failure, Err(error)) => {
                let bytes = layer.memo.words(error).into_bytes();
                Entry::failed(Payload { codec: Payload::BYTES, schema: 0, bytes })
            }
            (Keep::Failure, Ok(response)) => match layer.encode(response) {
                Ok(payload) => Entry::failed(payload),
                Err(_) => return Err(End::Outcome(outcome)),
            },
            (Keep::Result, Ok(response)) => Entry::done(
                layer
                    .encode(response)
                    .map_err(|message| Halt::Unwritable { step: ticket.step.clone(), message })?,
            ),
            // A failure that is said to be a success has no response to record.
            (Keep::Result, Err(_)) => return Err(End::Outcome(outcome)),
        };
        let operation = layer.complete(ticket, entry);
        *this.outcome = Some(outcome);
        Ok(Stage::Recording { operation, keep: kept })
    }
}

impl<S, Req, K, C, N, P> fmt::Debug for ResponseFuture<S, Req, K, C, N, P>
where
    S: Service<Req>,
    C: Classify<Req, S::Response, S::Error>,
    P: Ask<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Entering => "entering",
            Stage::Waiting { .. } => "waiting",
            Stage::Resting { .. } => "resting",
            Stage::Looking { .. } => "looking",
            Stage::Readying => "readying",
            Stage::Beginning { .. } => "beginning",
            Stage::Asking { .. } => "asking",
            Stage::Calling { .. } => "calling",
            Stage::Recording { .. } => "recording",
            Stage::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("stage", &stage)
            .field("ticket", &self.ticket)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
