use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    Breaker, BreakerHandle, KeyedBreakerLayer, Probes, Trigger,
    circuit::Terms,
    instance::Instance,
    switch::{Settings, Switch, nanos},
};
use crate::{
    Backoff, ByFault, Jitter, Name, Observe, Random,
    event::{Pattern, Voice},
};

/// Keeps calls from a dependency that is down. See the [module](super).
#[derive(Clone)]
pub struct BreakerLayer<C = ByFault> {
    pub(super) settings: Settings,
    pub(super) classify: C,
    backpressure: bool,
    switch: Arc<Switch>,
}

impl BreakerLayer {
    /// Opens as the trigger says.
    pub fn new(trigger: Trigger) -> Self {
        let second = Duration::from_secs(1);
        let settings = Settings {
            terms: Terms {
                trigger,
                open_for: Backoff::exponential(5 * second, 30 * second).jitter(Jitter::Equal),
                probes: Probes::default(),
                memory: nanos(600 * second),
                patience: nanos(60 * second),
                max_retry_after: nanos(60 * second),
            },
            slow_after: 10 * second,
            random: Random::default(),
            voice: Voice::new(Pattern::Breaker),
        };
        let switch = Switch::new(&settings);
        Self { settings, classify: ByFault, backpressure: false, switch }
    }
}

impl Default for BreakerLayer {
    fn default() -> Self {
        Self::new(Trigger::default())
    }
}

impl<C> BreakerLayer<C> {
    /// Sets the name that rejections and events carry.
    #[must_use]
    pub fn name(self, name: impl Into<Name>) -> Self {
        self.set(|settings| settings.voice.set_name(name.into()))
    }

    /// Sets how long the circuit stays open: the first time, then whenever probes have failed.
    ///
    /// By default 5 s, doubling up to 30 s, of which a random half is taken off. It starts over
    /// once the circuit was closed.
    #[must_use]
    pub fn open_for(self, backoff: Backoff) -> Self {
        self.set(|settings| settings.terms.open_for = backoff)
    }

    /// Sets how many calls try whether the dependency is back, and how many must succeed; two of
    /// three by default.
    #[must_use]
    pub fn probes(self, probes: Probes) -> Self {
        self.set(|settings| settings.terms.probes = probes)
    }

    /// Sets how long a call must have been pending for its being dropped to count as a failure;
    /// 10 s by default.
    ///
    /// A call dropped earlier counts for nothing, unless its [deadline](crate::Deadline) had
    /// passed while it ran: then it was not given up, but timed out.
    #[must_use]
    pub fn slow_after(self, after: Duration) -> Self {
        self.set(|settings| settings.slow_after = after)
    }

    /// Sets after how much time without a call evidence is forgotten; 10 min by default.
    ///
    /// Windows of time age by themselves instead.
    #[must_use]
    pub fn memory(self, memory: Duration) -> Self {
        self.set(|settings| settings.terms.memory = nanos(memory))
    }

    /// Sets how long a probe may take; 60 s by default.
    ///
    /// One that takes longer goes on, but has failed as far as the circuit is concerned.
    #[must_use]
    pub fn probe_patience(self, patience: Duration) -> Self {
        self.set(|settings| settings.terms.patience = nanos(patience))
    }

    /// Sets the most that a throttled reply may extend the open time to; 60 s by default.
    #[must_use]
    pub fn max_retry_after(self, most: Duration) -> Self {
        self.set(|settings| settings.terms.max_retry_after = nanos(most))
    }

    /// Sets where the jitter of the open time comes from; the process's own source by default.
    #[must_use]
    pub fn random(self, random: Random) -> Self {
        self.set(|settings| settings.random = random)
    }

    /// Sets who listens to events; `tracing` by default.
    #[must_use]
    pub fn observe(self, observe: impl Observe + 'static) -> Self {
        self.set(|settings| settings.voice.set_observe(observe))
    }

    /// Sets who says what an outcome means; [`ByFault`] by default.
    ///
    /// The classifier is cloned for each call.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> BreakerLayer<D> {
        let Self { settings, backpressure, switch, classify: _ } = self;
        BreakerLayer { settings, classify, backpressure, switch }
    }

    /// Makes the service not ready while the circuit is open, instead of rejecting calls.
    ///
    /// For balancers, which pass over services that are not ready. A call is still rejected if the
    /// circuit opens after the service was found ready. In half-open, the instance that is ready
    /// holds one of the probes, until it is called, dropped, or the
    /// [patience](Self::probe_patience) is over. Of no effect on [keyed](Self::keyed) breakers:
    /// readiness knows no request, and so no key.
    #[must_use]
    pub fn backpressure(mut self) -> Self {
        self.backpressure = true;
        self
    }

    /// Makes the layer fit for services that are not `Clone`.
    ///
    /// What the inner service has reserved when the circuit opens then stays reserved, because no
    /// fresh clone can take its place. A service that was not polled because the circuit was open
    /// rejects the call even if the circuit is due by then.
    #[must_use]
    pub fn single(self) -> SingleLayer<C> {
        SingleLayer(self)
    }

    /// Has one circuit for each key of a request, such as a host, a tool or a model.
    ///
    /// ```
    /// use buttress::BreakerLayer;
    ///
    /// struct Call { tool: String }
    /// let layer = BreakerLayer::default().keyed(|call: &Call| call.tool.clone());
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn keyed<F, Req, K>(self, key: F) -> KeyedBreakerLayer<F, K, C>
    where
        F: Fn(&Req) -> K,
    {
        KeyedBreakerLayer::new(self, key)
    }

    /// The handle of the circuit, which is that of every service that the layer makes.
    ///
    /// Take it from the finished layer: setters make a new circuit.
    pub fn handle(&self) -> BreakerHandle {
        BreakerHandle::new(self.switch.clone())
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self.switch = Switch::new(&self.settings);
        self
    }

    fn service<S>(&self, inner: S, renew: Option<fn(&S) -> S>) -> Breaker<S, C>
    where
        C: Clone,
    {
        self.settings.note("");
        let instance = Instance::new(inner, renew);
        Breaker::new(instance, self.switch.clone(), self.classify.clone(), self.backpressure)
    }
}

impl<S: Clone, C: Clone> Layer<S> for BreakerLayer<C> {
    type Service = Breaker<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        self.service(inner, Some(S::clone))
    }
}

impl<C> fmt::Debug for BreakerLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerLayer")
            .field("settings", &self.settings)
            .field("backpressure", &self.backpressure)
            .field("circuit", &self.handle())
            .finish_non_exhaustive()
    }
}

/// A [`BreakerLayer`] for services that are not `Clone`.
#[derive(Clone, Debug)]
pub struct SingleLayer<C = ByFault>(BreakerLayer<C>);

impl<C> SingleLayer<C> {
    /// The handle of the circuit.
    pub fn handle(&self) -> BreakerHandle {
        self.0.handle()
    }
}

impl<S, C: Clone> Layer<S> for SingleLayer<C> {
    type Service = Breaker<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.service(inner, None)
    }
}
