use std::time::Duration;

use tower_layer::Layer;

use super::Timeout;
use crate::{
    Name, Observe,
    event::{Pattern, Voice},
    stack::note_limit,
};

/// Bounds the time of each call. See the [module](super).
#[derive(Clone, Debug)]
pub struct TimeoutLayer {
    pub(super) limit: Duration,
    pub(super) voice: Voice,
}

impl TimeoutLayer {
    /// Lets a call take `limit`, from the first poll of its future.
    ///
    /// With a limit of zero only calls that answer at once are answered.
    pub const fn new(limit: Duration) -> Self {
        Self { limit, voice: Voice::new(Pattern::Timeout) }
    }

    /// Sets another limit.
    #[must_use]
    pub const fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the name that events carry.
    #[must_use]
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.voice.set_name(name.into());
        self
    }

    /// Sets who listens to events; `tracing` by default.
    #[must_use]
    pub fn observe(mut self, observe: impl Observe + 'static) -> Self {
        self.voice.set_observe(observe);
        self
    }

    /// Makes the limit cover the wait for readiness too.
    ///
    /// The service is then always ready, and becomes truly so inside the response future; the
    /// caller no longer feels its backpressure. The inner service must be `Clone`.
    #[must_use]
    pub fn and_readiness(self) -> AndReadinessLayer {
        AndReadinessLayer(self)
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        note_limit(&self.voice, self.limit, || format!("{:?}", self.limit));
        Timeout::new(inner, self.clone(), None)
    }
}

/// A [`TimeoutLayer`] whose limit covers the wait for readiness too.
#[derive(Clone, Debug)]
pub struct AndReadinessLayer(TimeoutLayer);

impl<S: Clone> Layer<S> for AndReadinessLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        let TimeoutLayer { limit, voice } = &self.0;
        note_limit(voice, *limit, || format!("{limit:?}, readiness included"));
        Timeout::new(inner, self.0.clone(), Some(S::clone))
    }
}
