use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    Limit, LimitHandle,
    aimd::Terms,
    gate::{Gate, Settings, nanos},
    permits::MOST,
    sign::Slow,
};
use crate::{
    ByFault, Classify, Name, Observe, Verdict,
    event::{Pattern, Voice},
    stack::note,
};

/// Lets only so many calls run at once. See the [module](super).
///
/// `M` says how many: [`Fixed`] or [`Adaptive`].
#[derive(Clone)]
pub struct LimitLayer<M = Fixed> {
    settings: Settings,
    mode: M,
    gate: Arc<Gate>,
}

/// The mode of a limit that stays as it was set.
///
/// Nobody judges the outcomes of its calls, so the service's error need not be a
/// [`Fault`](crate::Fault).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed;

impl<Req, Res, Err> Classify<Req, Res, Err> for Fixed {
    type Call = ();

    #[inline]
    fn begin(&self, _: &Req) {}

    #[inline]
    fn verdict(&self, (): &(), _: Result<&Res, &Err>) -> Verdict {
        Verdict::success()
    }
}

/// The mode of a limit that finds itself by the outcomes of calls, as `C` judges them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adaptive<C = ByFault> {
    classify: C,
}

const fn settings(start: u32, terms: Option<Terms>) -> Settings {
    Settings {
        start,
        terms,
        queue: None,
        patience: None,
        slow: Slow { answers: None, losses: Duration::from_secs(10) },
        voice: Voice::new(Pattern::Limit),
    }
}

impl LimitLayer {
    /// Lets `limit` calls run at once, at most 2 097 151.
    pub fn fixed(limit: NonZeroU32) -> Self {
        let settings = settings(limit.get().min(MOST), None);
        Self { gate: Gate::new(&settings), settings, mode: Fixed }
    }

    /// Finds out how many calls may run at once.
    pub fn adaptive() -> LimitLayer<Adaptive> {
        let terms = Terms { min: 1, max: 1_000, period: nanos(Duration::from_secs(1)) };
        let settings = settings(20, Some(terms));
        LimitLayer { gate: Gate::new(&settings), settings, mode: Adaptive { classify: ByFault } }
    }
}

impl<M> LimitLayer<M> {
    /// Sets how many calls may wait; by default as many as may run.
    ///
    /// With 0 a call that finds no room is refused at once.
    #[must_use]
    pub fn queue(self, most: u32) -> Self {
        self.set(|settings| settings.queue = Some(most))
    }

    /// Sets how long a call may wait, from when it joined the queue, before it is refused; by
    /// default for as long as its caller does.
    #[must_use]
    pub fn wait_at_most(self, patience: Duration) -> Self {
        self.set(|settings| settings.patience = Some(patience))
    }

    /// Sets the name that rejections and events carry.
    #[must_use]
    pub fn name(self, name: impl Into<Name>) -> Self {
        self.set(|settings| settings.voice.set_name(name.into()))
    }

    /// Sets who listens to events; `tracing` by default.
    #[must_use]
    pub fn observe(self, observe: impl Observe + 'static) -> Self {
        self.set(|settings| settings.voice.set_observe(observe))
    }

    /// The handle of the limit, which is that of every service that the layer makes.
    ///
    /// Take it from the finished layer: setters make a new limit.
    pub fn handle(&self) -> LimitHandle {
        LimitHandle::new(self.gate.clone())
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self.gate = Gate::new(&self.settings);
        self
    }
}

impl<C> LimitLayer<Adaptive<C>> {
    /// Sets where the limit starts; 20 by default.
    ///
    /// What is outside of [`min`](Self::min) and [`max`](Self::max) moves these too.
    #[must_use]
    pub fn start(self, start: NonZeroU32) -> Self {
        self.bound(|settings, terms| {
            settings.start = start.get().min(MOST);
            terms.min = terms.min.min(settings.start);
            terms.max = terms.max.max(settings.start);
        })
    }

    /// Sets what the limit never falls below; 1 by default.
    ///
    /// A start and a [`max`](Self::max) below it are raised to it.
    #[must_use]
    pub fn min(self, min: NonZeroU32) -> Self {
        self.bound(|settings, terms| {
            terms.min = min.get().min(MOST);
            terms.max = terms.max.max(terms.min);
            settings.start = settings.start.max(terms.min);
        })
    }

    /// Sets what the limit never grows above; 1 000 by default.
    ///
    /// A start and a [`min`](Self::min) above it are lowered to it.
    #[must_use]
    pub fn max(self, max: NonZeroU32) -> Self {
        self.bound(|settings, terms| {
            terms.max = max.get().min(MOST);
            terms.min = terms.min.min(terms.max);
            settings.start = settings.start.min(terms.max);
        })
    }

    /// Sets how long the limit stays after it shrank before it may shrink again; 1 s by default.
    ///
    /// Only calls that began after it shrank can make it do so, so that with slow calls it takes
    /// longer by itself. Where calls are much quicker, the time that each may take is a better
    /// period: a server that can do little at once is then not flooded for a whole second.
    #[must_use]
    pub fn period(self, period: Duration) -> Self {
        self.bound(|_, terms| terms.period = nanos(period))
    }

    /// Sets how long a call may take before that is taken for overload, whether it is then
    /// answered, fails in a way that may pass, or is given up.
    ///
    /// By default an answer never comes too late; a failure, or being given up, is a sign of
    /// overload after 10 s.
    #[must_use]
    pub fn slow_after(self, after: Duration) -> Self {
        self.set(|settings| settings.slow = Slow { answers: Some(after), losses: after })
    }

    /// Sets who says what an outcome means; [`ByFault`] by default.
    ///
    /// The classifier is cloned for each call.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> LimitLayer<Adaptive<D>> {
        let Self { settings, gate, mode: _ } = self;
        LimitLayer { settings, mode: Adaptive { classify }, gate }
    }

    fn bound(self, bound: impl FnOnce(&mut Settings, &mut Terms)) -> Self {
        self.set(|settings| {
            if let Some(mut terms) = settings.terms {
                bound(settings, &mut terms);
                settings.terms = Some(terms);
            }
        })
    }
}

impl<M> LimitLayer<M> {
    /// Adds itself to the outline of a stack.
    fn note(&self) {
        let Settings { start, terms, queue, voice, .. } = &self.settings;
        note(voice, || {
            let most = match terms {
                None => format!("{start} at once"),
                Some(Terms { min, max, .. }) => {
                    format!("{start} at once to begin with, adapts from {min} to {max}")
                }
            };
            match queue {
                None => format!("{most}, as many in line"),
                Some(queue) => format!("{most}, {queue} in line"),
            }
        });
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.note();
        Limit::new(inner, self.gate.clone(), Fixed)
    }
}

impl<S, C: Clone> Layer<S> for LimitLayer<Adaptive<C>> {
    type Service = Limit<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        self.note();
        Limit::new(inner, self.gate.clone(), self.mode.classify.clone())
    }
}

impl<M> fmt::Debug for LimitLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitLayer")
            .field("settings", &self.settings)
            .field("state", &self.handle())
            .finish_non_exhaustive()
    }
}
