//! The instance of the service that one call may use.

use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

/// An instance that becomes ready if it is needed, and is called at most once.
pub(super) struct Instance<S> {
    service: Option<S>,
    ready: bool,
}

impl<S> Instance<S> {
    pub(super) const fn new(service: S) -> Self {
        Self { service: Some(service), ready: false }
    }

    pub(super) fn poll_ready<Req>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req>,
    {
        if self.ready {
            return Poll::Ready(Ok(()));
        }
        let Some(service) = &mut self.service else { return Poll::Pending };
        let poll = service.poll_ready(cx);
        self.ready = matches!(poll, Poll::Ready(Ok(())));
        poll
    }

    /// Gives up what readiness has reserved.
    pub(super) fn release(&mut self)
    where
        S: Clone,
    {
        self.ready = false;
        self.service = self.service.clone();
    }

    /// Calls it, which must be ready.
    pub(super) fn call<Req>(&mut self, request: Req) -> Option<S::Future>
    where
        S: Service<Req>,
    {
        self.service.take().map(|mut service| service.call(request))
    }

    /// It is not needed any more.
    pub(super) fn leave(&mut self) {
        self.service = None;
    }
}

impl<S> fmt::Debug for Instance<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("ready", &self.ready).finish_non_exhaustive()
    }
}
