//! The recommended order of layers, with settings for a purpose.

use std::{fmt, time::Duration};

use tower::util::{Either, option_layer};
use tower_layer::Layer;

use super::outline::outline;
use crate::{
    Backoff, Breaker, BreakerHandle, BreakerLayer, Budget, ByClone, ByFault, Hedge, HedgeLayer,
    Limit, LimitHandle, LimitLayer, Name, Observe, Random, Ratio, Retry, RetryLayer, Timeout,
    TimeoutLayer, Trigger, limit::Adaptive,
};

const SECOND: Duration = Duration::from_secs(1);

/// A tool that fails once in five calls, as in the documents that this crate answers, needs 0.31
/// further attempts per success.
const TOOL_EXTRA: Ratio = Ratio::percent(35);

/// Time limit, retry, hedge, breaker, limit and time limit, from the outside in.
///
/// Itself a layer. Prints as the list of its layers:
///
/// ```
/// use std::time::Duration;
/// use buttress::Stack;
///
/// let stack = Stack::llm("claude").within(Duration::from_secs(90)).retry(|retry| retry.attempts(4));
/// let text = stack.to_string();
/// assert!(text.starts_with("1. timeout `claude`  90s\n2. retry `claude`    4 attempts"), "{text}");
/// ```
///
/// A fallback, a quorum or an ensemble goes around it.
///
/// # Defaults
///
/// | | [`tool`](Self::tool) | [`llm`](Self::llm) |
/// |---|---|---|
/// | the call | 30 s | 120 s |
/// | attempts | 3 | 3 |
/// | backoff | 100 ms doubling to 10 s | 1 s doubling to 20 s |
/// | hedge | one more, when it pays | none: tokens cost money |
/// | breaker | [flaky](Trigger::flaky) | [default](Trigger::default) |
/// | budget of both, per success | 35 %, at most 20 | 10 %, at most 10 |
/// | limit | adaptive | adaptive |
/// | an attempt | 10 s | 60 s |
///
/// Retry and hedge share one [budget](Budget). Requests are repeated freely, by `Clone`: see
/// [`replay`](Self::replay) for those that have effects.
///
/// # Clone
/// One value has one circuit, one limit and one budget, shared by its clones and by all services
/// made of it.
#[derive(Clone, Debug)]
pub struct Stack<C = ByFault, R = ByClone> {
    call: TimeoutLayer,
    retry: RetryLayer<C, R>,
    hedge: Option<HedgeLayer<C, R>>,
    breaker: BreakerLayer<C>,
    limit: LimitLayer<Adaptive<C>>,
    attempt: TimeoutLayer,
    budget: Budget,
    classify: C,
    replay: R,
}

/// What [`Stack`] makes of a service.
pub type Stacked<S, C, R> = Timeout<Retry<Either<Hedge<Guarded<S, C>, C, R>, Guarded<S, C>>, C, R>>;

/// The part of it that each attempt goes through.
type Guarded<S, C> = Breaker<Limit<Timeout<S>, C>, C>;

impl Stack {
    /// For tools that answer in seconds.
    pub fn tool(name: impl Into<Name>) -> Self {
        let name = name.into();
        let budget = Budget::per_success(TOOL_EXTRA).cap(20);
        Self {
            call: TimeoutLayer::new(30 * SECOND).name(name.clone()),
            retry: RetryLayer::new().budget(budget.clone()).name(name.clone()),
            hedge: Some(HedgeLayer::learned().budget(budget.clone()).name(name.clone())),
            breaker: BreakerLayer::new(Trigger::flaky()).name(name.clone()),
            limit: LimitLayer::adaptive().name(name.clone()),
            attempt: TimeoutLayer::new(10 * SECOND).name(name),
            budget,
            classify: ByFault,
            replay: ByClone,
        }
    }

    /// For language models, that answer in up to a minute and cost money.
    pub fn llm(name: impl Into<Name>) -> Self {
        let name = name.into();
        let budget = Budget::default();
        let backoff = Backoff::exponential(SECOND, 20 * SECOND);
        Self {
            call: TimeoutLayer::new(120 * SECOND).name(name.clone()),
            retry: RetryLayer::new().backoff(backoff).budget(budget.clone()).name(name.clone()),
            hedge: None,
            breaker: BreakerLayer::default().slow_after(60 * SECOND).name(name.clone()),
            limit: LimitLayer::adaptive().slow_after(60 * SECOND).name(name.clone()),
            attempt: TimeoutLayer::new(60 * SECOND).name(name),
            budget,
            classify: ByFault,
            replay: ByClone,
        }
    }
}

impl<C, R> Stack<C, R> {
    /// Sets the time that a call may take.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.call = self.call.limit(limit);
        self
    }

    /// Sets the time that each attempt may take.
    #[must_use]
    pub fn attempt_within(mut self, limit: Duration) -> Self {
        self.attempt = self.attempt.limit(limit);
        self
    }

    /// Changes the settings of the retry.
    #[must_use]
    pub fn retry(mut self, set: impl FnOnce(RetryLayer<C, R>) -> RetryLayer<C, R>) -> Self {
        self.retry = set(self.retry);
        self
    }

    /// Changes the settings of the breaker.
    #[must_use]
    pub fn breaker(mut self, set: impl FnOnce(BreakerLayer<C>) -> BreakerLayer<C>) -> Self {
        self.breaker = set(self.breaker);
        self
    }

    /// Changes the settings of the limit.
    #[must_use]
    pub fn limit(
        mut self,
        set: impl FnOnce(LimitLayer<Adaptive<C>>) -> LimitLayer<Adaptive<C>>,
    ) -> Self {
        self.limit = set(self.limit);
        self
    }

    /// Hedges each attempt in this way, within the [budget](Self::budget); `None` for no hedge.
    ///
    /// It then judges and repeats as the other layers do; its events go where it says.
    #[must_use]
    pub fn hedge(mut self, hedge: impl Into<Option<HedgeLayer>>) -> Self
    where
        C: Clone,
        R: Clone,
    {
        self.hedge = hedge.into().map(|layer| {
            let Self { budget, classify, replay, .. } = &self;
            layer.budget(budget.clone()).classify(classify.clone()).replay(replay.clone())
        });
        self
    }

    /// Sets who says what an outcome means, for all layers; the error itself by default.
    #[must_use]
    pub fn classify<D: Clone>(self, classify: D) -> Stack<D, R> {
        Stack {
            call: self.call,
            retry: self.retry.classify(classify.clone()),
            hedge: self.hedge.map(|layer| layer.classify(classify.clone())),
            breaker: self.breaker.classify(classify.clone()),
            limit: self.limit.classify(classify.clone()),
            attempt: self.attempt,
            budget: self.budget,
            classify,
            replay: self.replay,
        }
    }

    /// Sets which requests may be repeated and how they are copied; all, by `Clone`, by default.
    ///
    /// [`EffectsIf`](crate::EffectsIf) is the rule for tools of which some have effects.
    #[must_use]
    pub fn replay<Q: Clone>(self, replay: Q) -> Stack<C, Q> {
        Stack {
            call: self.call,
            retry: self.retry.replay(replay.clone()),
            hedge: self.hedge.map(|layer| layer.replay(replay.clone())),
            breaker: self.breaker,
            limit: self.limit,
            attempt: self.attempt,
            budget: self.budget,
            classify: self.classify,
            replay,
        }
    }

    /// Sets who listens to the events of all layers; `tracing` by default.
    #[must_use]
    pub fn observe(self, observe: impl Observe + Clone + 'static) -> Self {
        Self {
            call: self.call.observe(observe.clone()),
            retry: self.retry.observe(observe.clone()),
            hedge: self.hedge.map(|layer| layer.observe(observe.clone())),
            breaker: self.breaker.observe(observe.clone()),
            limit: self.limit.observe(observe.clone()),
            attempt: self.attempt.observe(observe),
            ..self
        }
    }

    /// Sets where all randomness comes from; the process's own source by default.
    #[must_use]
    pub fn random(self, random: Random) -> Self {
        Self {
            retry: self.retry.random(random.clone()),
            breaker: self.breaker.random(random),
            ..self
        }
    }

    /// The budget that retry and hedge share; give it to a fallback around them, too.
    pub fn budget(&self) -> Budget {
        self.budget.clone()
    }

    /// The handle of the circuit. Take it from the finished stack: setters make a new circuit.
    pub fn breaker_handle(&self) -> BreakerHandle {
        self.breaker.handle()
    }

    /// The handle of the limit. Take it from the finished stack: setters make a new limit.
    pub fn limit_handle(&self) -> LimitHandle {
        self.limit.handle()
    }
}

impl<S: Clone, C: Clone, R: Clone> Layer<S> for Stack<C, R> {
    type Service = Stacked<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        let guarded = self.breaker.layer(self.limit.layer(self.attempt.layer(inner)));
        let attempts = option_layer(self.hedge.clone()).layer(guarded);
        self.call.layer(self.retry.layer(attempts))
    }
}

impl<C: Clone, R: Clone> fmt::Display for Stack<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        outline(self, ()).1.fmt(f)
    }
}
