use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    Degrade, DegradeHandle, Thresholds,
    gauge::{Gauge, Settings},
    tally::{Seat, Seats},
};
use crate::{ByClone, ByFault, Name, Observe, Ratio, stack::note};

/// Calls required and optional services at once, and answers with what they give. See the
/// [module](super).
#[derive(Clone)]
pub struct DegradeLayer<S, C = ByFault, R = ByClone> {
    members: Vec<(Seat, S)>,
    inner_name: Name,
    terms: Terms,
    classify: C,
    replay: R,
    settings: Settings,
    gauge: Arc<Gauge>,
}

#[derive(Clone, Copy, Debug)]
struct Terms {
    /// `None` if no required member may fail.
    tolerance: Option<Ratio>,
    thresholds: Thresholds,
    patience: Option<Duration>,
}

/// What the services of one layer have in common.
#[derive(Debug)]
pub(super) struct Plan<C, R> {
    pub(super) seats: Seats,
    pub(super) patience: Option<Duration>,
    pub(super) classify: C,
    pub(super) replay: R,
    pub(super) gauge: Arc<Gauge>,
}

impl<S> DegradeLayer<S> {
    /// Without members.
    pub fn new() -> Self {
        let tolerance = Some(Ratio::percent(30));
        let settings = Settings::default();
        Self {
            members: Vec::new(),
            inner_name: Name::new("inner"),
            terms: Terms { tolerance, thresholds: Thresholds::default(), patience: None },
            classify: ByFault,
            replay: ByClone,
            gauge: Gauge::new(&settings),
            settings,
        }
    }
}

impl<S> Default for DegradeLayer<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, C, R> DegradeLayer<S, C, R> {
    /// Adds a member that is required: of these, only a few may fail.
    #[must_use]
    pub fn required(self, name: impl Into<Name>, service: S) -> Self {
        self.member(Seat { name: name.into(), required: true }, service)
    }

    /// Adds a member that is optional: all of these may fail.
    #[must_use]
    pub fn optional(self, name: impl Into<Name>, service: S) -> Self {
        self.member(Seat { name: name.into(), required: false }, service)
    }

    fn member(mut self, seat: Seat, service: S) -> Self {
        self.members.push((seat, service));
        self
    }

    /// Sets the name of the member that the inner service becomes; `inner` by default.
    #[must_use]
    pub fn inner_name(mut self, name: impl Into<Name>) -> Self {
        self.inner_name = name.into();
        self
    }

    /// Sets the share of the required members that may fail; 30 % by default.
    #[must_use]
    pub const fn tolerate(mut self, share: Ratio) -> Self {
        self.terms.tolerance = Some(share);
        self
    }

    /// Lets none of the required members fail.
    #[must_use]
    pub const fn require_all(mut self) -> Self {
        self.terms.tolerance = None;
        self
    }

    /// Sets below which shares of successful members a call is degraded and minimal; 80 % and 50 %
    /// by default.
    #[must_use]
    pub const fn thresholds(mut self, thresholds: Thresholds) -> Self {
        self.terms.thresholds = thresholds;
        self
    }

    /// Sets how long members are waited for, from the first poll of the call; without a bound by
    /// default.
    ///
    /// Those that still run are then dropped, and have failed; with a patience of zero those that
    /// do not answer at once. The members see it as their [deadline](crate::Deadline). For a bound
    /// of its own, put a [`TimeoutLayer`](crate::TimeoutLayer) around a member.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.terms.patience = Some(patience);
        self
    }

    /// Sets how many better calls in a row lower the level across calls; 3 by default.
    #[must_use]
    pub fn recover_after(self, calls: NonZeroU32) -> Self {
        self.set(|settings| settings.calls = calls)
    }

    /// Sets for how long calls must have been better as well, since the last that was not; no time
    /// by default.
    ///
    /// The level falls when a call ends, never by itself.
    #[must_use]
    pub fn recover_for(self, time: Duration) -> Self {
        self.set(|settings| settings.time = time)
    }

    /// Sets who says what a member's outcome means; [`ByFault`] by default.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> DegradeLayer<S, D, R> {
        let Self { members, inner_name, terms, classify: _, replay, settings, gauge } = self;
        DegradeLayer { members, inner_name, terms, classify, replay, settings, gauge }
    }

    /// Sets how requests are copied for the members; by `Clone` by default.
    ///
    /// Each member is sent the request once, so only [copies](crate::Replay::copy) are asked for,
    /// not whether it may be repeated. Members get copies in their order, the last of them the
    /// request itself. If a copy is refused, the member whose turn it is gets the request itself,
    /// and those after it have failed.
    #[must_use]
    pub fn replay<Q>(self, replay: Q) -> DegradeLayer<S, C, Q> {
        let Self { members, inner_name, terms, classify, replay: _, settings, gauge } = self;
        DegradeLayer { members, inner_name, terms, classify, replay, settings, gauge }
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

    /// The handle of the level across calls, which is that of every service that the layer makes.
    ///
    /// Take it from the finished layer: setters make a new level.
    pub fn handle(&self) -> DegradeHandle {
        DegradeHandle::new(self.gauge.clone())
    }

    /// Makes the service of these members alone, without an inner one.
    ///
    /// Without any members it answers at once, with nothing and at full level.
    pub fn into_service(self) -> Degrade<S, C, R> {
        let Self { members, inner_name: _, terms, classify, replay, settings: _, gauge } = self;
        let (seats, services) = members.into_iter().unzip();
        Degrade::new(services, terms.plan(seats, classify, replay, gauge))
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self.gauge = Gauge::new(&self.settings);
        self
    }
}

impl Terms {
    fn plan<C, R>(
        self,
        seats: Vec<Seat>,
        classify: C,
        replay: R,
        gauge: Arc<Gauge>,
    ) -> Arc<Plan<C, R>> {
        let Self { tolerance, thresholds, patience } = self;
        let seats = Seats::new(seats, tolerance, thresholds);
        Arc::new(Plan { seats, patience, classify, replay, gauge })
    }
}

impl<S: Clone, C: Clone, R: Clone> Layer<S> for DegradeLayer<S, C, R> {
    type Service = Degrade<S, C, R>;

    fn layer(&self, inner: S) -> Degrade<S, C, R> {
        let seat = Seat { name: self.inner_name.clone(), required: true };
        let mut layer = self.clone();
        layer.members.insert(0, (seat, inner));
        note(&self.settings.voice, || {
            let required = layer.members.iter().filter(|(seat, _)| seat.required).count();
            format!("{required} required members, {} optional", layer.members.len() - required)
        });
        layer.into_service()
    }
}

impl<S, C, R> fmt::Debug for DegradeLayer<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seats: Vec<&Seat> = self.members.iter().map(|(seat, _)| seat).collect();
        f.debug_struct("DegradeLayer")
            .field("members", &seats)
            .field("terms", &self.terms)
            .field("level", &self.handle())
            .finish_non_exhaustive()
    }
}
