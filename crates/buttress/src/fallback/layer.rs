use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    Fallback, FallbackHandle, Unmarked,
    chain::{Chain, Kinds, Needs},
    conclude::{AllCauses, Answered, LastError, Open},
    handle::Counts,
    service::Instance,
    tiers::{ByFn, ByService, ByValue, ByValueWith, Primary, Then},
};
use crate::{
    Budget, ByClone, ByFault, Kind, Name, Observe,
    event::{Pattern, Voice},
    stack::note,
};

/// Tries one tier after another until one gives an acceptable answer. See the [module](super).
///
/// `T` is the chain of tiers, `M` what is told when all of them have failed.
pub struct FallbackLayer<T, C = ByFault, R = ByClone, M = AllCauses, K = Unmarked> {
    pub(super) tiers: T,
    pub(super) settings: Settings<C, R, K>,
    conclude: PhantomData<fn() -> M>,
}

/// All but the tiers themselves.
#[derive(Clone)]
pub(super) struct Settings<C, R, K> {
    pub(super) chain: Chain,
    pub(super) patience: Duration,
    pub(super) budget: Option<Budget>,
    pub(super) classify: C,
    pub(super) replay: R,
    pub(super) mark: K,
    pub(super) counts: Arc<Counts>,
    pub(super) voice: Voice,
}

impl FallbackLayer<Primary> {
    fn new() -> Self {
        let chain = Chain::new();
        let settings = Settings {
            patience: Duration::from_secs(1),
            budget: None,
            classify: ByFault,
            replay: ByClone,
            mark: Unmarked,
            counts: Counts::of(&chain),
            voice: Voice::new(Pattern::Fallback),
            chain,
        };
        Self { tiers: Primary, settings, conclude: PhantomData }
    }

    /// Falls back to a service.
    ///
    /// It takes the request of the primary and gives the same response and error: a service with
    /// an error of its own is brought into line by `.map_err(..)`. It is cloned when it is needed.
    pub fn to<S>(service: S) -> FallbackLayer<Then<Primary, ByService<S>>> {
        Self::new().then(service)
    }

    /// Falls back to a function of the request that gives a response or an error.
    pub fn to_fn<F>(function: F) -> FallbackLayer<Then<Primary, ByFn<F>>> {
        Self::new().then_fn(function)
    }

    /// Falls back to copies of a response.
    pub fn to_value<V>(
        value: V,
    ) -> FallbackLayer<Then<Primary, ByValue<V>>, ByFault, ByClone, Answered> {
        Self::new().then_value(value)
    }

    /// Falls back to a response that is made from the [`Verdict`](crate::Verdict) on the failure.
    pub fn to_value_with<F>(
        value: F,
    ) -> FallbackLayer<Then<Primary, ByValueWith<F>>, ByFault, ByClone, Answered> {
        Self::new().then_value_with(value)
    }
}

impl<T, C, R, M, K> FallbackLayer<T, C, R, M, K> {
    /// Adds a tier to the chain.
    fn push<X, N>(self, needs: Needs, tier: X) -> FallbackLayer<Then<T, X>, C, R, N, K> {
        let Self { tiers, mut settings, .. } = self;
        settings.chain.push(needs);
        settings.counts = Counts::of(&settings.chain);
        let tiers = Then { earlier: tiers, tier };
        FallbackLayer { tiers, settings, conclude: PhantomData }
    }
}

impl<T, C, R, M: Open, K> FallbackLayer<T, C, R, M, K> {
    /// Then tries a service.
    #[must_use]
    pub fn then<S>(self, service: S) -> FallbackLayer<Then<T, ByService<S>>, C, R, M, K> {
        self.push(Needs::Sending, ByService(service))
    }

    /// Then tries a function of the request that gives a response or an error.
    ///
    /// It is called inside of `poll`, so it should be quick; for one that waits use
    /// [`then`](Self::then) with a [`service_fn`](tower::service_fn).
    #[must_use]
    pub fn then_fn<F>(self, function: F) -> FallbackLayer<Then<T, ByFn<F>>, C, R, M, K> {
        self.push(Needs::Looking, ByFn(function))
    }

    /// Then gives copies of a response: the end of the chain.
    ///
    /// It is taken as it is: no classifier is asked.
    #[must_use]
    pub fn then_value<V>(self, value: V) -> FallbackLayer<Then<T, ByValue<V>>, C, R, Answered, K> {
        self.push(Needs::Nothing, ByValue(value))
    }

    /// Then gives a response that is made from the [`Verdict`](crate::Verdict) on the failure
    /// before: the end of the chain.
    ///
    /// It is taken as it is: no classifier is asked.
    #[must_use]
    pub fn then_value_with<F>(
        self,
        value: F,
    ) -> FallbackLayer<Then<T, ByValueWith<F>>, C, R, Answered, K> {
        self.push(Needs::Nothing, ByValueWith(value))
    }
}

impl<T, C, R, K> FallbackLayer<T, C, R, AllCauses, K> {
    /// Returns the most telling error when every tier has failed, instead of all of them.
    ///
    /// That is the last failure of a service; a layer's refusal only if there was none, an
    /// error of readiness only if there was nothing else. The error can then be of any type.
    #[must_use]
    pub fn last_error(self) -> FallbackLayer<T, C, R, LastError, K> {
        let Self { tiers, settings, .. } = self;
        FallbackLayer { tiers, settings, conclude: PhantomData }
    }
}

impl<T, C, R, M, K> FallbackLayer<T, C, R, M, K> {
    /// Names the tier that was added last; `tier 2`, `tier 3`, .. by default.
    #[must_use]
    pub fn named(mut self, name: impl Into<Name>) -> Self {
        self.settings.chain.name_last(name.into());
        self.settings.counts = Counts::of(&self.settings.chain);
        self
    }

    /// Names the primary, the service below the layer; `primary` by default.
    #[must_use]
    pub fn primary(mut self, name: impl Into<Name>) -> Self {
        self.settings.chain.name_primary(name.into());
        self.settings.counts = Counts::of(&self.settings.chain);
        self
    }

    /// Sets which kinds of outcome lead to the next tier; all but
    /// [`Success`](Kind::Success) and [`Permanent`](Kind::Permanent) by default.
    ///
    /// An acceptable answer is always returned. An outcome of another kind is too, as it is.
    #[must_use]
    pub fn on(mut self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        self.settings.chain.set_on(Kinds::of(kinds));
        self
    }

    /// Makes [permanent](Kind::Permanent) failures lead to the next tier too.
    #[must_use]
    pub fn on_permanent(mut self) -> Self {
        let kinds = self.settings.chain.on().and(Kind::Permanent);
        self.settings.chain.set_on(kinds);
        self
    }

    /// Sets how long a tier may take to become ready while there is another one to try; 1 s by
    /// default.
    ///
    /// Never longer than a surrounding [`Deadline`](crate::Deadline) allows. The last tier is
    /// waited for as long as the caller does.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// Makes sending the request to a further service cost tokens; without a budget by default.
    ///
    /// Functions and values cost nothing.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.settings.budget = Some(budget);
        self
    }

    /// Sets who says what an outcome means; the error itself by default.
    ///
    /// Judges what services and functions give, answers included.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> FallbackLayer<T, D, R, M, K> {
        self.map(|classify_, replay, mark| {
            let _: C = classify_;
            (classify, replay, mark)
        })
    }

    /// Sets which requests may be sent to another tier and how they are copied; all, by `Clone`,
    /// by default.
    #[must_use]
    pub fn replay<Q>(self, replay: Q) -> FallbackLayer<T, C, Q, M, K> {
        self.map(|classify, _, mark| (classify, replay, mark))
    }

    /// Sets what writes into a response which tier gave it: a closure of `&mut Response` and
    /// `&`[`Tier`](super::Tier). Nothing does by default.
    ///
    /// Responses of the primary are marked too. For HTTP there is `buttress::http::MarkTier`.
    #[must_use]
    pub fn mark<L>(self, mark: L) -> FallbackLayer<T, C, R, M, L> {
        self.map(|classify, replay, _| (classify, replay, mark))
    }

    /// Sets the name that events and [`AllFailed`](crate::Rejection::AllFailed) carry.
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

    /// Tells how often the primary was not enough, and who answered then.
    pub fn handle(&self) -> FallbackHandle {
        FallbackHandle::new(self.settings.chain.clone(), self.settings.counts.clone())
    }

    /// Makes the layer fit for services that are not `Clone`.
    ///
    /// The readiness of the primary is then the caller's: one that is not ready, or fails to
    /// become so, leads to no other tier.
    #[must_use]
    pub fn single(self) -> SingleLayer<T, C, R, M, K> {
        SingleLayer(self)
    }

    fn map<D, Q, L>(
        self,
        change: impl FnOnce(C, R, K) -> (D, Q, L),
    ) -> FallbackLayer<T, D, Q, M, L> {
        let Settings { chain, patience, budget, classify, replay, mark, counts, voice } =
            self.settings;
        let (classify, replay, mark) = change(classify, replay, mark);
        let settings = Settings { chain, patience, budget, classify, replay, mark, counts, voice };
        FallbackLayer { tiers: self.tiers, settings, conclude: PhantomData }
    }
}

impl<T: Clone, C: Clone, R: Clone, M, K: Clone> Clone for FallbackLayer<T, C, R, M, K> {
    fn clone(&self) -> Self {
        let (tiers, settings) = (self.tiers.clone(), self.settings.clone());
        Self { tiers, settings, conclude: PhantomData }
    }
}

impl<T, C, R, M, K> fmt::Debug for FallbackLayer<T, C, R, M, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.settings.chain.tiers().map(|tier| tier.name().as_str());
        f.debug_struct("FallbackLayer")
            .field("name", &self.settings.voice)
            .field("tiers", &names.collect::<Vec<_>>())
            .field("patience", &self.settings.patience)
            .field("budget", &self.settings.budget)
            .finish_non_exhaustive()
    }
}

impl<T, C, R, M, K> FallbackLayer<T, C, R, M, K> {
    /// Adds itself to the outline of a stack.
    fn note(&self) {
        note(&self.settings.voice, || {
            let names = self.settings.chain.tiers().map(|tier| tier.name().as_str());
            names.collect::<Vec<_>>().join(", then ")
        });
    }
}

impl<S: Clone, T: Clone, C: Clone, R: Clone, M, K: Clone> Layer<S>
    for FallbackLayer<T, C, R, M, K>
{
    type Service = Fallback<S, T, C, R, M, K>;

    fn layer(&self, inner: S) -> Self::Service {
        self.note();
        Fallback::new(Instance::new(inner, Some(S::clone)), Arc::new(self.clone()))
    }
}

/// A [`FallbackLayer`] for services that are not `Clone`.
pub struct SingleLayer<T, C = ByFault, R = ByClone, M = AllCauses, K = Unmarked>(
    FallbackLayer<T, C, R, M, K>,
);

impl<T: Clone, C: Clone, R: Clone, M, K: Clone> Clone for SingleLayer<T, C, R, M, K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T, C, R, M, K> fmt::Debug for SingleLayer<T, C, R, M, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SingleLayer").field(&self.0).finish()
    }
}

impl<S, T: Clone, C: Clone, R: Clone, M, K: Clone> Layer<S> for SingleLayer<T, C, R, M, K> {
    type Service = Fallback<S, T, C, R, M, K>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.note();
        Fallback::new(Instance::new(inner, None), Arc::new(self.0.clone()))
    }
}
