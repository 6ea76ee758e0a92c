use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{Answers, DegradeHandle, ResponseFuture, layer::Plan};
use crate::{ByClone, ByFault, Classify, FromRejection, IntoCause, Replay, fan::Fan};

/// The service of [`DegradeLayer`](super::DegradeLayer).
pub struct Degrade<S, C = ByFault, R = ByClone> {
    /// Never polled here: their clones become ready in the future.
    services: Vec<S>,
    plan: Arc<Plan<C, R>>,
}

impl<S, C, R> Degrade<S, C, R> {
    pub(super) const fn new(services: Vec<S>, plan: Arc<Plan<C, R>>) -> Self {
        Self { services, plan }
    }

    /// The handle of the level across calls.
    pub fn handle(&self) -> DegradeHandle {
        DegradeHandle::new(self.plan.gauge.clone())
    }
}

impl<S: Clone, C, R> Clone for Degrade<S, C, R> {
    fn clone(&self) -> Self {
        Self::new(self.services.clone(), self.plan.clone())
    }
}

impl<S, Req, C, R> Service<Req> for Degrade<S, C, R>
where
    S: Service<Req> + Clone,
    S::Error: FromRejection + IntoCause,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
{
    type Response = Answers<S::Response>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, C, R>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let call = self.plan.classify.begin(&request);
        let (mut fan, mut left_out) = (Fan::new(), Vec::new());
        let mut request = Some(request);
        let last = self.services.len().saturating_sub(1);
        for (place, service) in self.services.iter().enumerate() {
            let copy = match &request {
                Some(request) if place < last => self.plan.replay.copy(request),
                _ => None,
            };
            match copy.or_else(|| request.take()) {
                Some(request) => fan.add(place, service.clone(), request),
                None => left_out.push(place),
            }
        }
        ResponseFuture::new(fan, left_out, call, self.plan.clone())
    }
}

impl<S, C, R> fmt::Debug for Degrade<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Degrade")
            .field("members", &self.plan.seats)
            .field("level", &self.handle())
            .finish_non_exhaustive()
    }
}
