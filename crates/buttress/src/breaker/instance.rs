//! The inner service, and how ready it is.

use std::{
    fmt, mem,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{ResponseFuture, guard::Guard};
use crate::{Classify, Rejection};

/// One instance of the inner service.
pub(super) struct Instance<S> {
    inner: S,
    readiness: Readiness,
    /// How to copy the inner service, where it can be.
    renew: Option<fn(&S) -> S>,
}

/// What was asked of the instance since its last call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Fresh,
    /// It waits, and may have been given what it waits for by now.
    Waiting,
    Ready,
}

impl<S> Instance<S> {
    pub(super) const fn new(inner: S, renew: Option<fn(&S) -> S>) -> Self {
        Self { inner, readiness: Readiness::Fresh, renew }
    }

    /// Makes the inner service ready.
    #[inline]
    pub(super) fn poll_ready<Req>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req>,
    {
        let poll = self.inner.poll_ready(cx);
        self.readiness = match &poll {
            Poll::Ready(Ok(())) => Readiness::Ready,
            Poll::Ready(Err(_)) => Readiness::Fresh,
            Poll::Pending => Readiness::Waiting,
        };
        poll
    }

    /// Whether a call can be made of it, now or inside of the future.
    #[inline]
    pub(super) fn can_call(&self) -> bool {
        self.renew.is_some() || self.readiness == Readiness::Ready
    }

    /// Whether it can only be called after it was polled here.
    pub(super) const fn is_single(&self) -> bool {
        self.renew.is_none()
    }

    /// Gives up whatever it holds or waits for, so that others may have it.
    pub(super) fn let_go(&mut self) {
        if let (Readiness::Waiting | Readiness::Ready, Some(renew)) = (self.readiness, self.renew) {
            self.inner = renew(&self.inner);
            self.readiness = Readiness::Fresh;
        }
    }

    /// Whether a call can be made of it now.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        self.readiness == Readiness::Ready
    }

    /// Calls with permission: the way of all calls while all is well.
    #[inline]
    pub(super) fn call_ready<C, Req>(
        &mut self,
        guard: Guard,
        classify: &C,
        request: Req,
    ) -> ResponseFuture<S, C, Req>
    where
        S: Service<Req>,
        C: Classify<Req, S::Response, S::Error> + Clone,
    {
        self.readiness = Readiness::Fresh;
        let call = classify.begin(&request);
        ResponseFuture::calling(self.inner.call(request), guard, classify.clone(), call)
    }

    /// Calls with permission, or refuses and lets go.
    #[inline(never)]
    pub(super) fn call<C, Req>(
        &mut self,
        admitted: Result<Guard, Rejection>,
        classify: &C,
        request: Req,
    ) -> ResponseFuture<S, C, Req>
    where
        S: Service<Req>,
        C: Classify<Req, S::Response, S::Error> + Clone,
    {
        let guard = match admitted {
            Ok(guard) => guard,
            Err(rejection) => {
                self.let_go();
                return ResponseFuture::rejected(rejection, classify.clone());
            }
        };
        match self.renew {
            Some(renew) if !self.is_ready() => {
                let call = classify.begin(&request);
                let next = renew(&self.inner);
                let inner = mem::replace(&mut self.inner, next);
                self.readiness = Readiness::Fresh;
                ResponseFuture::readying(inner, request, guard, classify.clone(), call)
            }
            _ => self.call_ready(guard, classify, request),
        }
    }
}

impl<S: Clone> Clone for Instance<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.renew)
    }
}

impl<S: fmt::Debug> fmt::Debug for Instance<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("inner", &self.inner)
            .field("readiness", &self.readiness)
            .finish_non_exhaustive()
    }
}
