use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    BreakerHandle, ResponseFuture, instance::Instance, place::Place, switch::Switch, waiters::Seat,
};
use crate::{ByFault, Classify, FromRejection};

/// The service of [`BreakerLayer`](super::BreakerLayer).
pub struct Breaker<S, C = ByFault> {
    instance: Instance<S>,
    switch: Arc<Switch>,
    classify: C,
    /// In the mode of backpressure: where this instance waits. Boxed, since services are cloned
    /// once per call and this mode is rare.
    place: Option<Box<Place>>,
    /// Where this instance learns that the circuit opened while it waits for the inner service.
    seat: Option<Box<Seat>>,
}

impl<S, C> Breaker<S, C> {
    pub(super) fn new(
        instance: Instance<S>,
        switch: Arc<Switch>,
        classify: C,
        backpressure: bool,
    ) -> Self {
        let place = backpressure.then(|| Box::new(Place::new(switch.clone())));
        Self { instance, switch, classify, place, seat: None }
    }

    /// The handle of the circuit.
    pub fn handle(&self) -> BreakerHandle {
        BreakerHandle::new(self.switch.clone())
    }
}

impl<S, C> Breaker<S, C> {
    /// Lets the inner service be: the call will be refused, or find out.
    #[cold]
    fn leave_alone<E>(&mut self) -> Poll<Result<(), E>> {
        self.seat = None;
        self.instance.let_go();
        Poll::Ready(Ok(()))
    }
}

impl<S: Clone, C: Clone> Clone for Breaker<S, C> {
    fn clone(&self) -> Self {
        let (switch, classify) = (self.switch.clone(), self.classify.clone());
        Self::new(self.instance.clone(), switch, classify, self.place.is_some())
    }
}

impl<S, C, Req> Service<Req> for Breaker<S, C>
where
    S: Service<Req>,
    S::Error: FromRejection,
    C: Classify<Req, S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, C, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match &mut self.place {
            Some(place) => {
                if place.poll(cx).is_pending() {
                    self.instance.let_go();
                    return Poll::Pending;
                }
            }
            None => {
                if !self.switch.may_pass(self.instance.is_single()) {
                    return self.leave_alone();
                }
            }
        }
        let poll = self.instance.poll_ready(cx);
        if poll.is_ready() || self.place.is_some() {
            if self.seat.is_some() {
                self.seat = None;
            }
            return poll;
        }
        let seat = self.seat.get_or_insert_with(|| Box::new(Seat::new(self.switch.clone())));
        seat.register(cx.waker());
        // It may have opened before the waker was in place.
        if !self.switch.may_pass(self.instance.is_single()) {
            return self.leave_alone();
        }
        poll
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        if self.place.is_none()
            && self.instance.is_ready()
            && let Some(guard) = self.switch.pass()
        {
            return self.instance.call_ready(guard, &self.classify, request);
        }
        let kept = self.place.as_mut().and_then(|place| place.begin());
        let admitted = match kept {
            Some(guard) => Ok(guard),
            None if self.instance.can_call() => self.switch.admit(),
            None => Err(self.switch.reject(self.switch.retry_after())),
        };
        self.instance.call(admitted, &self.classify, request)
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Breaker<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("instance", &self.instance)
            .field("circuit", &self.handle())
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
