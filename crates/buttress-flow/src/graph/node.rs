//! What a node is called with, and what it is wrapped in.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context as Task, Poll, ready},
};

use buttress::{
    Fault, FromRejection, IntoCause, Rejection, Verdict,
    checkpoint::{Keyed, Step, StepOf, Unkeyed, fingerprint},
    store::{Digest, IdempotencyKey, StepId},
};
use pin_project::pin_project;
use serde::Serialize;
use tower::util::{BoxCloneSyncService, Oneshot};
use tower_service::Service;

use super::{
    RunError,
    progress::{Context, News, Presence},
};

/// A node, or a branch of one, as [layers](super::Draft::wrap) see it.
pub type BoxNode<S, E> = BoxCloneSyncService<Step<S>, S, E>;

/// A node as a run sees it.
pub(super) type Member<S, E> = BoxCloneSyncService<Visit<S>, S, Broken<E>>;

/// Why a node came to nothing.
pub(super) enum Broken<E> {
    /// It failed.
    Failed(E),
    /// Its result could not be kept, or it is in doubt: no failure of the node.
    Halted(Rejection),
}

impl<E> From<Rejection> for Broken<E> {
    fn from(rejection: Rejection) -> Self {
        Self::Halted(rejection)
    }
}

impl<E: Fault> Fault for Broken<E> {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Failed(error) => error.verdict(),
            Self::Halted(rejection) => rejection.verdict(),
        }
    }
}

impl<E: FromRejection + IntoCause> Broken<E> {
    pub(super) fn into_error(self) -> E {
        match self {
            Self::Failed(error) => error,
            Self::Halted(rejection) => E::from_rejection(rejection),
        }
    }

    pub(super) fn into_cause(self) -> Box<dyn std::error::Error + Send + Sync> {
        match self {
            Self::Failed(error) => error.into_cause(),
            Self::Halted(rejection) => rejection.into(),
        }
    }

    /// Of what is made up of others: halted if one of them is.
    pub(super) fn of(error: RunError, halted: bool) -> Self {
        let rejection = error.into();
        if halted { Self::Halted(rejection) } else { Self::Failed(E::from_rejection(rejection)) }
    }

    pub(super) const fn is_halted(&self) -> bool {
        matches!(self, Self::Halted(_))
    }
}

/// One visit of a node.
#[derive(Clone)]
pub(super) struct Visit<S> {
    pub(super) run: Arc<Context>,
    pub(super) step: StepId,
    pub(super) state: S,
    key: Option<IdempotencyKey>,
    called: Arc<AtomicBool>,
}

impl<S> Visit<S> {
    /// The visit, and who tells how it ends.
    pub(super) fn new(run: Arc<Context>, step: StepId, state: S) -> (Self, Presence) {
        let called = Arc::new(AtomicBool::new(false));
        let presence = Presence::new(run.clone(), step.clone(), called.clone());
        (Self { run, step, state, key: None, called }, presence)
    }

    /// Says that the node is called now.
    pub(super) fn enter(&self) {
        self.called.store(true, Ordering::Relaxed);
        self.run.tell(Some(&self.step), News::Entered);
    }
}

impl<S: Serialize> Keyed for Visit<S> {
    fn step(&self) -> Result<StepOf, Unkeyed> {
        Ok(StepOf { workflow: self.run.workflow.clone(), step: self.step.clone() })
    }

    fn fingerprint(&self) -> Result<Digest, Unkeyed> {
        Ok(fingerprint(&self.state))
    }

    fn place(&mut self, key: IdempotencyKey) {
        self.key = Some(key);
    }
}

/// A node at the place where it is really called: below the store.
pub(super) struct Mark<S, E>(pub(super) BoxNode<S, E>);

impl<S, E> Clone for Mark<S, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S, E> Service<Visit<S>> for Mark<S, E> {
    type Response = S;
    type Error = Broken<E>;
    type Future = MarkFuture<S, E>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), Broken<E>>> {
        self.0.poll_ready(cx).map_err(Broken::Failed)
    }

    fn call(&mut self, visit: Visit<S>) -> MarkFuture<S, E> {
        visit.enter();
        let Visit { run, step, state, key, .. } = visit;
        let step = Step { workflow: run.workflow.clone(), step, request: state, key };
        MarkFuture(self.0.call(step))
    }
}

#[pin_project]
pub(super) struct MarkFuture<S, E>(#[pin] <BoxNode<S, E> as Service<Step<S>>>::Future);

impl<S, E> Future for MarkFuture<S, E> {
    type Output = Result<S, Broken<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        self.project().0.poll(cx).map_err(Broken::Failed)
    }
}

/// What a failure makes of the state.
pub(super) type Fold<S, E> = Arc<dyn Fn(S, E) -> S + Send + Sync>;

/// A node whose failures are part of the state.
pub(super) struct Catch<S, E> {
    pub(super) inner: Member<S, E>,
    pub(super) fold: Fold<S, E>,
}

impl<S, E> Clone for Catch<S, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), fold: self.fold.clone() }
    }
}

impl<S: Clone, E: Fault> Service<Visit<S>> for Catch<S, E> {
    type Response = S;
    type Error = Broken<E>;
    type Future = CatchFuture<S, E>;

    /// Ready at once: a failure to become ready is a failure to be caught.
    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Broken<E>>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, visit: Visit<S>) -> CatchFuture<S, E> {
        let copy = Some(visit.clone());
        let inner = Oneshot::new(self.inner.clone(), visit);
        CatchFuture { inner, visit: copy, fold: self.fold.clone() }
    }
}

#[pin_project]
pub(super) struct CatchFuture<S, E> {
    #[pin]
    inner: Oneshot<Member<S, E>, Visit<S>>,
    visit: Option<Visit<S>>,
    fold: Fold<S, E>,
}

impl<S, E: Fault> Future for CatchFuture<S, E> {
    type Output = Result<S, Broken<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.inner.poll(cx));
        Poll::Ready(match (outcome, this.visit.take()) {
            (Err(Broken::Failed(error)), Some(Visit { run, step, state, .. })) => {
                run.tell(Some(&step), News::Caught { verdict: error.verdict() });
                Ok((this.fold)(state, error))
            }
            (outcome, _) => outcome,
        })
    }
}
