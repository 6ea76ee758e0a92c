use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{ResponseFuture, layer::Settings, race::Kept};
use crate::{Classify, Repeat, Replay};

/// The service of [`HedgeLayer`](super::HedgeLayer).
#[derive(Debug)]
pub struct Hedge<S, C, R> {
    pub(super) inner: S,
    /// Where further attempts go in turn. Never polled here: they become ready in the future.
    pub(super) others: Vec<Option<S>>,
    pub(super) settings: Arc<Settings<C, R>>,
}

impl<S: Clone, C, R> Clone for Hedge<S, C, R> {
    fn clone(&self) -> Self {
        let (inner, others) = (self.inner.clone(), self.others.clone());
        Self { inner, others, settings: self.settings.clone() }
    }
}

impl<S, Req, C, R> Service<Req> for Hedge<S, C, R>
where
    S: Service<Req> + Clone,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, C, R>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let settings = &self.settings;
        let call = settings.classify.begin(&request);
        let copy = match settings.replay.repeat(&request) {
            Repeat::Freely if settings.attempts > 1 => settings.replay.copy(&request),
            _ => None,
        };
        // The clone goes into the future, to be made ready there should it be needed.
        let kept = copy.map(|copy| {
            let others = if self.others.is_empty() { Vec::new() } else { self.others.clone() };
            Kept::new(self.inner.clone(), others, copy)
        });
        ResponseFuture::new(self.inner.call(request), call, kept, self.settings.clone())
    }
}
