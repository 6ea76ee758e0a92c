use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    Hedge, HedgeHandle,
    delay::{Delay, Learned, Percentile},
    schedule::OnFailure,
};
use crate::{
    Budget, ByClone, ByFault, Name, Observe, Quantile, Why,
    event::{Pattern, Voice},
    stack::note,
};

/// Starts further attempts before the first has ended. See the [module](super).
#[derive(Clone, Debug)]
pub struct HedgeLayer<C = ByFault, R = ByClone, T = ()> {
    pub(super) settings: Settings<C, R>,
    targets: T,
}

/// What the services of one layer have in common.
#[derive(Clone, Debug)]
pub(super) struct Settings<C, R> {
    pub(super) delay: Delay,
    pub(super) attempts: u32,
    pub(super) on_failure: OnFailure,
    pub(super) budget: Option<Budget>,
    pub(super) classify: C,
    pub(super) replay: R,
    pub(super) voice: Voice,
}

impl<C, R> Settings<C, R> {
    /// Why a request of which nothing was kept is sent once.
    pub(super) const fn why_alone(&self) -> Why {
        if self.attempts > 1 { Why::NotRepeatable } else { Why::Attempts }
    }
}

impl<C, R> Settings<C, R> {
    /// Adds itself to the outline of a stack.
    fn note(&self, others: usize) {
        note(&self.voice, || {
            let Self { delay, attempts, budget, .. } = self;
            let budget = if budget.is_some() { ", within a budget" } else { "" };
            let targets = match others {
                0 => String::new(),
                others => format!(", {} targets", others + 1),
            };
            format!("{attempts} attempts, {delay}{targets}{budget}")
        });
    }
}

impl HedgeLayer {
    const fn new(delay: Delay, attempts: u32) -> Self {
        let settings = Settings {
            delay,
            attempts,
            on_failure: OnFailure::Next,
            budget: None,
            classify: ByFault,
            replay: ByClone,
            voice: Voice::new(Pattern::Hedge),
        };
        Self { settings, targets: () }
    }

    /// Starts `attempts` at once: redundant execution. 0 means the same as 1.
    pub const fn immediate(attempts: u32) -> Self {
        Self::new(Delay::Every(Duration::ZERO), attempts)
    }

    /// Starts a further attempt whenever `delay` has passed since the last one; two attempts in
    /// all by default.
    pub const fn after(delay: Duration) -> Self {
        Self::new(Delay::Every(delay), 2)
    }

    /// Starts a further attempt after each of the gaps in turn.
    ///
    /// `[1 s, 0, 1 s]` is one attempt, after a second two more, after another second a fourth.
    pub fn gaps(gaps: impl IntoIterator<Item = Duration>) -> Self {
        let gaps: Arc<[Duration]> = gaps.into_iter().collect();
        let attempts = u32::try_from(gaps.len()).unwrap_or(u32::MAX).saturating_add(1);
        Self::new(Delay::Gaps(gaps), attempts)
    }

    /// Learns the delay that pays best, and whether any does; two attempts in all by default.
    ///
    /// Minimises the mean time to an answer plus the [`price`](Self::price) of the further
    /// attempt, by a survival curve of the last one to two thousand attempts in which the cancelled
    /// ones count for the time they were seen to run. Starts to hedge after 30 answers at the
    /// earliest, and stops when latencies have no tail worth it.
    pub fn learned() -> Self {
        Self::new(Delay::Learned(Arc::new(Learned::new(None))), 2)
    }

    /// Learns the delay that an answer takes longer than with probability `1 - quantile`,
    /// starting from `start`; two attempts in all by default.
    ///
    /// Tracked by whether the first attempt is still running after the delay, which hedging does
    /// not bias. For services with a slow mode, [`learned`](Self::learned) finds better delays:
    /// the 95th percentile of a service that is slow in one call of ten lies inside the slow mode.
    pub fn percentile(quantile: Quantile, start: Duration) -> Self {
        Self::new(Delay::Percentile(Arc::new(Percentile::new(quantile, start))), 2)
    }

    /// Sets what a [`learned`](Self::learned) delay weighs a further attempt against, in seconds
    /// of the caller's time; the mean duration of an attempt by default.
    ///
    /// Starts a new history; other delays have no price and stay as they are.
    #[must_use]
    pub fn price(mut self, price: Duration) -> Self {
        if self.settings.delay.learns() {
            self.settings.delay = Delay::Learned(Arc::new(Learned::new(Some(price))));
        }
        self
    }
}

impl<C, R, T> HedgeLayer<C, R, T> {
    /// Sets the number of attempts in all, the first included.
    ///
    /// The first attempt is always made, so 0 means the same as 1.
    #[must_use]
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.settings.attempts = attempts;
        self
    }

    /// Sets what a failed attempt does; the next one starts at once by default.
    #[must_use]
    pub const fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.settings.on_failure = on_failure;
        self
    }

    /// Makes further attempts cost tokens; without a budget by default.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.settings.budget = Some(budget);
        self
    }

    /// Sends further attempts to these services in turn, then to the first one again.
    ///
    /// Failures are correlated within a provider or region: another one helps more than another
    /// attempt. At most 63 are used. They are cloned once per call.
    #[must_use]
    pub fn targets<S>(self, targets: Vec<S>) -> HedgeLayer<C, R, Vec<S>> {
        HedgeLayer { settings: self.settings, targets }
    }

    /// Sets who says what an outcome means; the error itself by default.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> HedgeLayer<D, R, T> {
        let Settings { delay, attempts, on_failure, budget, classify: _, replay, voice } =
            self.settings;
        let settings = Settings { delay, attempts, on_failure, budget, classify, replay, voice };
        HedgeLayer { settings, targets: self.targets }
    }

    /// Sets which requests may be repeated and how they are copied; all, by `Clone`, by default.
    ///
    /// Only requests that may be repeated [freely](crate::Repeat::Freely) are hedged; the others
    /// are sent once.
    #[must_use]
    pub fn replay<Q>(self, replay: Q) -> HedgeLayer<C, Q, T> {
        let Settings { delay, attempts, on_failure, budget, classify, replay: _, voice } =
            self.settings;
        let settings = Settings { delay, attempts, on_failure, budget, classify, replay, voice };
        HedgeLayer { settings, targets: self.targets }
    }

    /// Sets the name that events carry.
    #[must_use]
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.settings.voice.set_name(name.into());
        self
    }

    /// Sets who listens to events; `tracing` by default.
    #[must_use]
    pub fn observe(mut self, observe: impl Observe + 'static) -> Self {
        self.settings.voice.set_observe(observe);
        self
    }

    /// A view of the delay that is used now.
    pub fn handle(&self) -> HedgeHandle {
        HedgeHandle::new(self.settings.delay.clone())
    }
}

impl<S, C: Clone, R: Clone> Layer<S> for HedgeLayer<C, R> {
    type Service = Hedge<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        self.settings.note(0);
        Hedge { inner, others: Vec::new(), settings: Arc::new(self.settings.clone()) }
    }
}

impl<S: Clone, C: Clone, R: Clone> Layer<S> for HedgeLayer<C, R, Vec<S>> {
    type Service = Hedge<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        self.settings.note(self.targets.len());
        let others = self.targets.iter().cloned().map(Some).collect();
        Hedge { inner, others, settings: Arc::new(self.settings.clone()) }
    }
}
