//! What a node is called with, and what it is wrapped in.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll, ready},
};

use buttress::{
    Fault,
    checkpoint::{Keyed, Step, fingerprint},
    store::{Digest, IdempotencyKey, StepId},
};
use pin_project::pin_project;
use serde::Serialize;
use tower::util::{BoxCloneSyncService, Oneshot};
use tower_service::Service;

use super::progress::{Context, Fate, News, Presence};

/// A node, or a branch of one, as [layers](super::Draft::wrap) see it.
pub type BoxNode<S, E> = BoxCloneSyncService<Step<S>, S, E>;

/// A node as a run sees it.
pub(super) type Member<S, E> = BoxCloneSyncService<Visit<S>, S, E>;

/// One visit of a node.
#[derive(Clone)]
pub(super) struct Visit<S> {
    pub(super) run: Arc<Context>,
    pub(super) step: StepId,
    pub(super) state: S,
    pub(super) fate: Arc<Fate>,
    key: Option<IdempotencyKey>,
}

impl<S> Visit<S> {
    /// The visit, and who tells how it ends.
    pub(super) fn new(run: Arc<Context>, step: StepId, state: S) -> (Self, Presence) {
        let fate = Arc::new(Fate::default());
        let presence = Presence::new(run.clone(), step.clone(), fate.clone());
        (Self { run, step, state, fate, key: None }, presence)
    }

    /// Says that the node is called now.
    pub(super) fn enter(&self) {
        self.fate.call();
        self.run.tell(Some(&self.step), News::Entered);
    }
}

impl<S: Serialize> Keyed for Visit<S> {
    fn workflow(&self) -> Arc<str> {
        self.run.workflow.clone()
    }

    fn step(&self) -> StepId {
        self.step.clone()
    }

    fn fingerprint(&self) -> Digest {
        fingerprint(&self.state)
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
    type Error = E;
    type Future = MarkFuture<S, E>;

    /// Ready at once: a node that fails to become ready has failed.
    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, visit: Visit<S>) -> MarkFuture<S, E> {
        visit.enter();
        let Visit { run, step, state, key, fate } = visit;
        let step = Step { workflow: run.workflow.clone(), step, request: state, key };
        MarkFuture { inner: Oneshot::new(self.0.clone(), step), fate }
    }
}

#[pin_project]
pub(super) struct MarkFuture<S, E> {
    #[pin]
    inner: Oneshot<BoxNode<S, E>, Step<S>>,
    fate: Arc<Fate>,
}

impl<S, E> Future for MarkFuture<S, E> {
    type Output = Result<S, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.inner.poll(cx));
        if outcome.is_err() {
            this.fate.fail();
        }
        Poll::Ready(outcome)
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
    type Error = E;
    type Future = CatchFuture<S, E>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), E>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, visit: Visit<S>) -> CatchFuture<S, E> {
        let copy = Some(visit.clone());
        CatchFuture { inner: self.inner.call(visit), visit: copy, fold: self.fold.clone() }
    }
}

#[pin_project]
pub(super) struct CatchFuture<S, E> {
    #[pin]
    inner: <Member<S, E> as Service<Visit<S>>>::Future,
    visit: Option<Visit<S>>,
    fold: Fold<S, E>,
}

impl<S, E: Fault> Future for CatchFuture<S, E> {
    type Output = Result<S, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.inner.poll(cx));
        Poll::Ready(match (outcome, this.visit.take()) {
            // Of a node that has branches or nodes of its own it may be the store that failed.
            (Err(error), Some(Visit { run, step, state, fate, .. })) if fate.failed() => {
                run.tell(Some(&step), News::Caught { verdict: error.verdict() });
                Ok((this.fold)(state, error))
            }
            (outcome, _) => outcome,
        })
    }
}
