//! How a step is done: as a checkpoint, again and again, until it is known what came of it.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use buttress::{
    CallError, CheckpointLayer, Effect, Event, Fault, Kind, Rejection, Teller,
    checkpoint::{Ask, Effects, Halt, InDoubt, Landing, Step},
    store::{IdempotencyKey, Journal, Status, StepId},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt};

use crate::{patience::Patience, voice::Voice};

/// Where the steps of one saga are done.
pub(super) struct Bench {
    /// Writes under the lease of the saga.
    pub(super) journal: Journal,
    pub(super) id: Arc<str>,
    pub(super) patience: Patience,
    pub(super) voice: Voice,
}

/// Whether a step may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Must {
    /// It may: then the saga turns back, and the failure is for good.
    Decide,
    /// It may not: whatever went wrong, it is tried again, at the latest when the saga is resumed.
    Succeed,
}

/// What came of a step.
#[derive(Debug)]
pub(super) enum Ended<T> {
    Done(T),
    /// Nothing came of it.
    Failed(String),
    /// Nobody knows what came of it.
    InDoubt(String),
    /// The saga cannot go on here.
    Interrupted(Halt),
}

impl<T> Ended<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Ended<U> {
        match self {
            Self::Done(done) => Ended::Done(change(done)),
            Self::Failed(error) => Ended::Failed(error),
            Self::InDoubt(error) => Ended::InDoubt(error),
            Self::Interrupted(halt) => Ended::Interrupted(halt),
        }
    }
}

impl Bench {
    /// Does a step, unless that is done. Also returns how often it was asked for.
    pub(super) async fn run<V, Req, Res, E>(
        &self,
        step: StepId,
        effects: Effects,
        service: V,
        asked: Asked<Req, Res, E>,
        request: impl Fn() -> Req,
        must: Must,
    ) -> (u32, Ended<Res>)
    where
        V: Service<Step<Req>, Response = Res, Error = E> + Clone,
        Req: Serialize,
        Res: Serialize + DeserializeOwned,
        E: Fault + fmt::Display,
    {
        let service = service.map_err(CallError::Service as fn(E) -> CallError<E>);
        let mut layer =
            CheckpointLayer::new(self.journal.clone(), effects).name(step.to_string()).probe(asked);
        if let Some(observe) = self.voice.observer() {
            layer = layer
                .observe(move |teller: Teller<'_>, event: &Event| observe.event(teller, event));
        }
        match must {
            Must::Decide => {
                let service = layer.record_failures().layer(service);
                self.attempts(step, effects, service, request, must).await
            }
            Must::Succeed => {
                self.attempts(step, effects, layer.layer(service), request, must).await
            }
        }
    }

    async fn attempts<V, Req, Res, E>(
        &self,
        step: StepId,
        effects: Effects,
        mut service: V,
        request: impl Fn() -> Req,
        must: Must,
    ) -> (u32, Ended<Res>)
    where
        V: Service<Step<Req>, Response = Res, Error = CallError<E>>,
        E: Fault + fmt::Display,
    {
        let (mut attempts, mut previous) = (0, Duration::ZERO);
        loop {
            attempts += 1;
            let asked = Step::new(self.id.clone(), step.clone(), request());
            let outcome = match service.ready().await {
                Ok(service) => service.call(asked).await,
                Err(error) => Err(error),
            };
            let error = match outcome {
                Ok(response) => return (attempts, Ended::Done(response)),
                Err(error) => error,
            };
            let verdict = error.verdict();
            let ended = match &error {
                CallError::Rejected(Rejection::Halted { halt, .. }) => halted(halt),
                _ if verdict.kind == Kind::Permanent => Some(Ended::Failed(error.to_string())),
                // It would only be found in doubt.
                _ if effects == Effects::SideEffect(InDoubt::Fail)
                    && verdict.effect != Effect::None =>
                {
                    Some(Ended::InDoubt(error.to_string()))
                }
                _ => None,
            };
            if let Some(ended) = ended {
                if must == Must::Succeed && !matches!(ended, Ended::Interrupted(_)) {
                    self.voice.tell(&step.name, &self.id, Event::Stuck { attempts });
                }
                return (attempts, ended);
            }
            self.voice.tell(&step.name, &self.id, Event::Failed { attempt: attempts, verdict });
            let asked = verdict.retry_after;
            if let Some(delay) = self.patience.pause(attempts, &mut previous, asked) {
                self.voice.tell(
                    &step.name,
                    &self.id,
                    Event::Retrying { attempt: attempts + 1, delay },
                );
                sleep(delay).await;
                continue;
            }
            let ended = match must {
                Must::Succeed => {
                    self.voice.tell(&step.name, &self.id, Event::Stuck { attempts });
                    Ended::Failed(error.to_string())
                }
                Must::Decide => self.given_up(&step, error.to_string()).await,
            };
            return (attempts, ended);
        }
    }

    /// What a step is that was tried often enough. The last attempt may have come to nothing, and one
    /// before it, in another process perhaps, to something: the store knows.
    async fn given_up<Res>(&self, step: &StepId, error: String) -> Ended<Res> {
        let workflow = self.journal.workflow(self.id.clone());
        match self.journal.store().latest(&workflow, Some(step)).await {
            Ok(Some(found)) if found.record.status == Status::Intent => Ended::InDoubt(error),
            Ok(_) => Ended::Failed(error),
            Err(trouble) => Ended::InDoubt(format!("{error}; {trouble}")),
        }
    }
}

/// What a step comes to that cannot be done, or whose outcome cannot be kept. `None` to try it again.
fn halted<T>(halt: &Halt) -> Option<Ended<T>> {
    match halt {
        Halt::Failed { message, .. } => Some(Ended::Failed(message.clone())),
        Halt::InDoubt { .. } | Halt::Unwritable { .. } | Halt::Unrecorded { .. } => {
            Some(Ended::InDoubt(halt.to_string()))
        }
        Halt::Store(error) if error.verdict().kind == Kind::Transient => None,
        other => Some(Ended::Interrupted(other.clone())),
    }
}

type Answer<Res, E> = Pin<Box<dyn Future<Output = Result<Landing<Res>, CallError<E>>> + Send>>;

/// Who is asked what became of a step in doubt.
pub(super) struct Asked<Req, Res, E>(
    Option<Arc<dyn Fn(&Step<Req>, IdempotencyKey) -> Answer<Res, E> + Send + Sync>>,
);

impl<Req, Res, E> Asked<Req, Res, E> {
    pub(super) const fn nobody() -> Self {
        Self(None)
    }

    pub(super) fn somebody<F, Fut>(probe: F) -> Self
    where
        F: Fn(&Step<Req>, IdempotencyKey) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Landing<Res>, E>> + Send + 'static,
    {
        Self(Some(Arc::new(move |request, key| {
            let answer = probe(request, key);
            Box::pin(async move { answer.await.map_err(CallError::Service) })
        })))
    }
}

impl<Req, Res, E> Clone for Asked<Req, Res, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Req, Res, E> Ask<Step<Req>, Res, CallError<E>> for Asked<Req, Res, E> {
    type Future = Answer<Res, E>;

    fn ask(&self, request: &Step<Req>, key: IdempotencyKey) -> Option<Self::Future> {
        self.0.as_ref().map(|probe| probe(request, key))
    }
}
