use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{FailoverHandle, ResponseFuture, desk::Desk, manners::Manners, shelf::Shelf};
use crate::{ByClone, ByFault, Classify, FromRejection, Replay};

/// The service of [`FailoverLayer`](super::FailoverLayer).
pub struct Failover<S, C = ByFault, R = ByClone> {
    core: Arc<Core<S, C, R>>,
}

/// What the clones of a service and their futures have in common.
pub(super) struct Core<S, C, R> {
    /// The instances, in the order of the roster.
    pub(super) shelves: Vec<Shelf<S>>,
    pub(super) desk: Arc<Desk>,
    pub(super) manners: Manners<C, R>,
}

impl<S, C, R> Failover<S, C, R> {
    pub(super) fn new(
        instances: impl IntoIterator<Item = S>,
        desk: Arc<Desk>,
        manners: Manners<C, R>,
    ) -> Self {
        let shelves = instances.into_iter().map(Shelf::new).collect();
        Self { core: Arc::new(Core { shelves, desk, manners }) }
    }

    /// The handle of the roster.
    pub fn handle(&self) -> FailoverHandle {
        FailoverHandle::new(self.core.desk.clone())
    }
}

impl<S, C, R> Clone for Failover<S, C, R> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone() }
    }
}

impl<S, Req, C, R> Service<Req> for Failover<S, C, R>
where
    S: Service<Req> + Clone,
    S::Error: FromRejection,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, C, R>;

    /// Always ready: who is called is chosen in the future, and made ready there.
    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        ResponseFuture::new(request, self.core.clone())
    }
}

impl<S, C, R> fmt::Debug for Failover<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failover").field("replicas", &self.handle()).finish_non_exhaustive()
    }
}
