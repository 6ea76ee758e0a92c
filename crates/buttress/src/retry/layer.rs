use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{Retry, policy::Policy};
use crate::{
    Backoff, Budget, ByClone, ByFault, Name, Observe, Random,
    event::{Pattern, Voice},
    stack::note,
};

/// Repeats calls that failed in a way that may pass. See the [module](super).
#[derive(Clone, Debug)]
pub struct RetryLayer<C = ByFault, R = ByClone> {
    pub(super) policy: Policy,
    pub(super) limit: Option<Duration>,
    pub(super) budget: Option<Budget>,
    pub(super) classify: C,
    pub(super) replay: R,
    pub(super) random: Random,
    pub(super) voice: Voice,
}

impl RetryLayer {
    /// Three attempts in all; see [Defaults](super#defaults).
    pub fn new() -> Self {
        Self {
            policy: Policy {
                attempts: 3,
                backoff: Backoff::default(),
                max_retry_after: Duration::from_secs(60),
                wait_when_rejected: None,
                retry_unknown: false,
            },
            limit: None,
            budget: None,
            classify: ByFault,
            replay: ByClone,
            random: Random::default(),
            voice: Voice::new(Pattern::Retry),
        }
    }
}

impl Default for RetryLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<C, R> RetryLayer<C, R> {
    /// Sets the number of attempts, the first included; 3 by default.
    ///
    /// The first attempt is always made, so 0 means the same as 1.
    #[must_use]
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.policy.attempts = attempts;
        self
    }

    /// Sets the waits between attempts; 100 ms doubling to 10 s with full jitter by default.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.policy.backoff = backoff;
        self
    }

    /// Makes repeating cost tokens; without a budget by default.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Sets the longest `retry_after` that is waited for; 60 s by default.
    ///
    /// A call that is asked to wait longer ends at once.
    #[must_use]
    pub const fn max_retry_after(mut self, longest: Duration) -> Self {
        self.policy.max_retry_after = longest;
        self
    }

    /// Waits for a layer inside that refused the call, such as an open breaker, if it asks for
    /// no more than `longest`, or for no time in particular: then the backoff applies. By default
    /// refusals are returned at once.
    #[must_use]
    pub const fn wait_when_rejected(mut self, longest: Duration) -> Self {
        self.policy.wait_when_rejected = Some(longest);
        self
    }

    /// Also repeats failures that nobody can classify; not by default.
    #[must_use]
    pub const fn retry_unknown(mut self, retry: bool) -> Self {
        self.policy.retry_unknown = retry;
        self
    }

    /// Bounds the time after which no further wait begins and no further attempt is sent, from
    /// the call on. An attempt that runs by then is not cut short.
    ///
    /// A surrounding [`TimeoutLayer`](crate::TimeoutLayer) is respected without it.
    #[must_use]
    pub const fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets who says what an outcome means; the error itself by default.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> RetryLayer<D, R> {
        let Self { policy, limit, budget, classify: _, replay, random, voice } = self;
        RetryLayer { policy, limit, budget, classify, replay, random, voice }
    }

    /// Sets which requests may be repeated and how they are copied; all, by `Clone`, by default.
    #[must_use]
    pub fn replay<Q>(self, replay: Q) -> RetryLayer<C, Q> {
        let Self { policy, limit, budget, classify, replay: _, random, voice } = self;
        RetryLayer { policy, limit, budget, classify, replay, random, voice }
    }

    /// Sets the source of the jitter; the process's by default.
    #[must_use]
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
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
}

impl<S, C: Clone, R: Clone> Layer<S> for RetryLayer<C, R> {
    type Service = Retry<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        note(&self.voice, || {
            let Policy { attempts, backoff, .. } = &self.policy;
            let budget = if self.budget.is_some() { ", within a budget" } else { "" };
            format!("{attempts} attempts, {backoff}{budget}")
        });
        Retry { inner, layer: Arc::new(self.clone()) }
    }
}
