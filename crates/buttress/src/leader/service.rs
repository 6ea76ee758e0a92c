use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::sync::futures::OwnedNotified;
use tower_service::Service;

use super::{Fenced, LeaderHandle, ResponseFuture, office::Office};
use crate::FromRejection;

/// The service of [`LeaderLayer`](super::LeaderLayer).
pub struct Leader<S> {
    inner: S,
    office: Arc<Office>,
    readiness: Readiness,
    /// While the inner service keeps this instance waiting: that the process leads no more. Boxed,
    /// since services are cloned once per call and this is rare.
    deposed: Option<Pin<Box<OwnedNotified>>>,
}

/// What was asked of the inner service since the last call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Fresh,
    Waiting,
    Ready,
}

impl<S> Leader<S> {
    pub(super) const fn new(inner: S, office: Arc<Office>) -> Self {
        Self { inner, office, readiness: Readiness::Fresh, deposed: None }
    }

    /// The handle of the office.
    pub fn handle(&self) -> LeaderHandle {
        LeaderHandle::new(self.office.clone())
    }
}

impl<S: Clone> Leader<S> {
    /// Gives up whatever the inner service holds or waits for, so that others may have it.
    #[cold]
    fn let_go(&mut self) {
        self.deposed = None;
        if self.readiness != Readiness::Fresh {
            self.inner = self.inner.clone();
            self.readiness = Readiness::Fresh;
        }
    }
}

impl<S: Clone> Clone for Leader<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.office.clone())
    }
}

impl<S, Req> Service<Req> for Leader<S>
where
    S: Service<Req> + Clone,
    S::Error: FromRejection,
    Req: Fenced,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        loop {
            if !self.office.leads() {
                // The call will be refused.
                self.let_go();
                return Poll::Ready(Ok(()));
            }
            let poll = self.inner.poll_ready(cx);
            self.readiness = match &poll {
                Poll::Ready(Ok(())) => Readiness::Ready,
                Poll::Ready(Err(_)) => Readiness::Fresh,
                Poll::Pending => Readiness::Waiting,
            };
            if poll.is_ready() {
                self.deposed = None;
                return poll;
            }
            match &mut self.deposed {
                // Looks once more, now that nothing is missed any more.
                None => self.deposed = Some(Box::pin(self.office.deposed())),
                Some(deposed) => {
                    ready!(deposed.as_mut().poll(cx));
                    self.deposed = None;
                }
            }
        }
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let hint = match self.office.admit() {
            Ok(token) if self.readiness == Readiness::Ready => {
                self.readiness = Readiness::Fresh;
                request.attach(token);
                return ResponseFuture::calling(self.inner.call(request));
            }
            // Elected since it was asked for readiness: the next call is let in.
            Ok(_) => Some(Duration::ZERO),
            Err(hint) => hint,
        };
        self.let_go();
        ResponseFuture::rejected(self.office.reject(hint))
    }
}

impl<S: fmt::Debug> fmt::Debug for Leader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader")
            .field("inner", &self.inner)
            .field("readiness", &self.readiness)
            .field("office", &self.office)
            .finish_non_exhaustive()
    }
}
