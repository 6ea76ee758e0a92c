//! What is done from one wait of a call to the next.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower_service::Service;

use super::{
    Ask, Codec, Effects, Halt, Keyed, Landing, Memo,
    clerk::End,
    course::{Course, Doubt, Keep, keep, resolve},
    future::{Next, Or, ResponseFuture, Stage},
    tenure::Tenure,
};
use crate::{
    Classify, Deadline, Event, FromRejection, Resolution,
    store::{Entry, Payload, Ticket},
};

/// The shortest and the longest wait between two looks at a workflow that another process holds.
const GLANCE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(250));

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
    /// Makes the first look at a step whose place is ours.
    ///
    /// With an intent to be written the service is made ready first, so that a call that waits for
    /// it, and is given up, leaves no doubt. Where that takes time, a look says whether it is needed.
    pub(super) fn prepare(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next<S, Req, P> {
        let this = self.as_mut().project();
        let Ok(begin) = this.begin else { return Ok(Stage::Done) };
        if begin.intent {
            match this.inner.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                waiting => {
                    if let Poll::Ready(Err(error)) = waiting {
                        *this.unready = Some(error);
                    }
                    let operation = this.layer.look(begin)?;
                    return Ok(Stage::Looking { operation, or: Or::Ready });
                }
            }
        }
        self.start()
    }

    /// Asks the store to begin the step.
    pub(super) fn start(self: Pin<&mut Self>) -> Next<S, Req, P> {
        let this = self.project();
        let (Ok(begin), Some(place)) = (this.begin, this.place) else { return Ok(Stage::Done) };
        if begin.intent {
            // An intent after one in doubt is never all that speaks for the step having been done.
            begin.mark = this.sole.then(|| place.writes());
            *this.tenure = Tenure::ask(&this.layer.journal);
        }
        Ok(Stage::Beginning { operation: this.layer.begin(begin) })
    }

    /// Does what the store's answer asks for.
    pub(super) fn follow(self: Pin<&mut Self>, course: Course) -> Next<S, Req, P> {
        let this = self.as_ref();
        let layer = &*this.layer;
        match course {
            Course::Call(ticket) => self.begun(ticket),
            Course::Answer(record) => Err(layer.answer(&record)),
            Course::Doubt(doubt) if this.wrote(&doubt) => self.again(doubt.version),
            Course::Doubt(doubt) => self.doubt(doubt),
            Course::Stop(halt) => Err(halt.into()),
            Course::Wait { retry_after, halt } => {
                let pause = retry_after.clamp(GLANCE.0, GLANCE.1);
                let late = |end: Instant| end.saturating_duration_since(Instant::now()) <= pause;
                if !layer.wait || Deadline::current().is_some_and(late) {
                    return Err(halt.into());
                }
                self.project().inner.release();
                Ok(Stage::Resting { timer: Box::pin(sleep(pause)) })
            }
        }
    }

    /// Whether a step that seems in doubt was not called: its intent was written here, and that was never answered.
    fn wrote(&self, doubt: &Doubt) -> bool {
        let mark = self.place.as_ref().zip(doubt.mark);
        mark.is_some_and(|(place, mark)| place.wrote(mark))
    }

    /// Begins the step anew in the place of a version that nobody is at.
    fn again(mut self: Pin<&mut Self>, version: u64) -> Next<S, Req, P> {
        if let Ok(begin) = self.as_mut().project().begin {
            begin.restart = Some(version);
        }
        self.start()
    }

    /// The step is ours to do.
    fn begun(self: Pin<&mut Self>, ticket: Ticket) -> Next<S, Req, P> {
        let this = self.project();
        let layer = &**this.layer;
        if let Some(version) = ticket.damaged {
            layer.voice.tell_of(&ticket.workflow.workflow, Event::Damaged { version });
        }
        if let Some(version) = ticket.intent {
            let event = Event::Intended { attempt: ticket.attempt, version };
            layer.voice.tell_of(&ticket.workflow.workflow, event);
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
        if let (0, Ok(begin)) = (doubt.attempt, &*this.begin) {
            let event = Event::Damaged { version: doubt.version };
            this.layer.voice.tell_of(&begin.workflow.workflow, event);
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

    pub(super) fn resolve(
        mut self: Pin<&mut Self>,
        doubt: Doubt,
        world: Option<Landing<S::Response>>,
    ) -> Next<S, Req, P> {
        let this = self.as_mut().project();
        let layer = &**this.layer;
        let (Ok(begin), Effects::SideEffect(rule)) = (this.begin, layer.effects) else {
            return Ok(Stage::Done);
        };
        let Doubt { version, attempt, .. } = doubt;
        let resolution = resolve(rule, world.as_ref());
        layer.voice.tell_of(&begin.workflow.workflow, Event::InDoubt { attempt, resolution });
        begin.restart = Some(version);
        *this.sole = resolution == Resolution::Absent;
        *this.outcome = None;
        match resolution {
            Resolution::Retry | Resolution::Absent => Ok(Stage::Readying),
            Resolution::Landed => {
                if let Some(Landing::Landed(response)) = world {
                    *this.outcome = Some(Ok(response));
                }
                self.start()
            }
            Resolution::Fail => Err(Halt::InDoubt { step: begin.step.clone(), attempt }.into()),
        }
    }

    /// Calls the service, which is ready.
    pub(super) fn send(self: Pin<&mut Self>) -> Next<S, Req, P> {
        let this = self.project();
        let layer = &**this.layer;
        let (Some(mut request), Some(ticket)) = (this.request.take(), this.ticket.as_ref()) else {
            return Ok(Stage::Done);
        };
        request.place(ticket.key);
        *this.call = Some(layer.classify.begin(&request));
        match this.inner.call(request) {
            Some(future) => Ok(Stage::Calling { future }),
            None => Ok(Stage::Done),
        }
    }

    /// Keeps of an outcome what is to be kept.
    pub(super) fn judge(
        self: Pin<&mut Self>,
        outcome: Result<S::Response, S::Error>,
    ) -> Next<S, Req, P> {
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
