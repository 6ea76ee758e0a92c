use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tokio::{sync::futures::OwnedNotified, time::Sleep};
use tower_service::Service;

use super::{
    Ask, CheckpointLayer, Codec, Halt, Keyed, Memo,
    clerk::{End, Operation},
    course::{Course, Doubt, Keep, course},
    instance::Instance,
    tenure::Tenure,
};
use crate::{
    Classify, FromRejection,
    store::{Begin, Begun, Place, Settled, StoreError, Ticket},
};

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
    pub(super) begin: Result<Begin, Option<Halt>>,
    pub(super) inner: Instance<S>,
    pub(super) request: Option<Req>,
    /// The error of the service while it was made ready, kept until it is known whether it is needed.
    pub(super) unready: Option<S::Error>,
    /// The right to write the outcome.
    pub(super) ticket: Option<Ticket>,
    /// Whether the intent is all that speaks for the step having been done.
    pub(super) sole: bool,
    pub(super) tenure: Tenure,
    /// Whether it was told that the lease is lost.
    fenced: bool,
    pub(super) call: Option<C::Call>,
    /// The outcome, while it is recorded; or what the world said, while its recording is begun.
    pub(super) outcome: Option<Result<S::Response, S::Error>>,
    pub(super) layer: Arc<CheckpointLayer<K, C, N, P>>,
    /// The last to be dropped: who finds it empty knows that nothing of this call is left.
    pub(super) place: Option<Place>,
}

#[pin_project(project = StageProj)]
pub(super) enum Stage<F, A> {
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
        or: Or,
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

/// What is done about a step that was looked at and has no outcome.
pub(super) enum Or {
    /// Its place is ours: the service is made ready.
    Ready,
    /// Whoever did it is gone: its place may be had.
    Enter,
    Stop(Halt),
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
            tenure: Tenure::Idle,
            fenced: false,
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
            let turn = match self.place.as_ref().map(Place::within) {
                Some(within) => within.scope(|| self.as_mut().advance(cx)),
                None => self.as_mut().advance(cx),
            };
            match ready!(turn) {
                Ok(stage) => self.as_mut().project().stage.set(stage),
                Err(End::Outcome(outcome)) => break outcome,
                Err(End::Halt(halt)) => {
                    let workflow =
                        self.begin.as_ref().map_or("", |begin| &*begin.workflow.workflow);
                    break Err(self.layer.refuse(workflow, halt));
                }
            }
        };
        let mut this = self.project();
        this.stage.set(Stage::Done);
        this.inner.leave();
        *this.tenure = Tenure::Idle;
        *this.place = None;
        Poll::Ready(outcome)
    }
}

pub(super) type Next<S, Req, P> = Result<
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
            StageProj::Entering if this.place.is_some() => return Poll::Ready(self.prepare(cx)),
            StageProj::Entering => match layer.journal.enter(&begin.workflow, &begin.step) {
                Ok(place) => {
                    *this.place = Some(place);
                    Ok(Stage::Entering)
                }
                Err(occupied) if occupied.is_within() => {
                    let step = begin.step.clone();
                    looking(layer.look(begin), Or::Stop(Halt::Within { step }))
                }
                Err(occupied) if layer.wait => {
                    Ok(Stage::Waiting { vacated: Box::pin(occupied.vacated()) })
                }
                Err(_) => {
                    let step = begin.step.clone();
                    looking(layer.look(begin), Or::Stop(Halt::InFlight { step }))
                }
            },
            StageProj::Waiting { vacated } => {
                ready!(vacated.as_mut().poll(cx));
                // All who waited look at once: if it is done, none needs its place.
                looking(layer.look(begin), Or::Enter)
            }
            StageProj::Resting { timer } => {
                ready!(timer.as_mut().poll(cx));
                Ok(Stage::Entering)
            }
            StageProj::Looking { operation, or } => {
                // One that waits in a queue must be polled there.
                if matches!(or, Or::Ready)
                    && this.unready.is_none()
                    && let Poll::Ready(Err(error)) = this.inner.poll_ready(cx)
                {
                    *this.unready = Some(error);
                }
                let begun = ready!(operation.as_mut().poll(cx));
                match (course(begun, &begin.step), or) {
                    (Course::Call(_) | Course::Doubt(_), Or::Ready) => match this.unready.take() {
                        Some(error) => Err(End::Outcome(Err(error))),
                        None => Ok(Stage::Readying),
                    },
                    (Course::Call(_) | Course::Doubt(_), Or::Enter) => Ok(Stage::Entering),
                    (Course::Call(_) | Course::Doubt(_), Or::Stop(halt)) => {
                        Err(End::Halt(halt.clone()))
                    }
                    (course, _) => return Poll::Ready(self.follow(course)),
                }
            }
            StageProj::Readying => {
                if let Err(error) = ready!(this.inner.poll_ready(cx)) {
                    return Poll::Ready(Err(End::Outcome(Err(error))));
                }
                let begun = this.ticket.is_some();
                return Poll::Ready(if begun { self.send() } else { self.start() });
            }
            StageProj::Beginning { operation } => {
                let begun = ready!(operation.as_mut().poll(cx));
                // What an engine that failed says leaves it open whether the intent was written.
                if let Some(place) = this.place
                    && !matches!(begun, Err(StoreError::Engine(_)))
                {
                    place.answered();
                }
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
                    if let Some(ticket) = this.ticket
                        && let Poll::Ready(lost) = this.tenure.poll(cx, ticket, &layer.journal)
                    {
                        *this.fenced = layer.tell_fenced(&lost);
                    }
                    return Poll::Pending;
                }
            },
            StageProj::Recording { operation, keep } => {
                let settled = ready!(operation.as_mut().poll(cx));
                let Some((outcome, ticket)) = this.outcome.take().zip(this.ticket.as_ref()) else {
                    return Poll::Pending;
                };
                Err(layer.settle(ticket, outcome, settled, *keep, *this.fenced))
            }
            // Polled again after it was done, which no future owes an answer to.
            StageProj::Done => return Poll::Pending,
        };
        Poll::Ready(next)
    }
}

fn looking<F, A, Res, E>(
    look: Result<Operation<Begun>, Halt>,
    or: Or,
) -> Result<Stage<F, A>, End<Res, E>> {
    look.map(|operation| Stage::Looking { operation, or }).map_err(End::Halt)
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
