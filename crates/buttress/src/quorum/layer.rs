use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    AnyAnswer, ByEquality, ByKey, ByPair, Marked, Otherwise, Quorum, Tolerance, Within,
    service::{Members, Settings},
    tally::Electorate,
};
use crate::{
    ByClone, ByFault, Name, Observe,
    event::{Pattern, Voice},
    stack::note,
};

/// Asks several, and returns what enough of them agree on. See the [module](super).
#[derive(Clone, Debug)]
pub struct QuorumLayer<A = ByEquality, C = ByFault, R = ByClone, T = u32> {
    agree: A,
    classify: C,
    replay: R,
    /// How many replicas there are of the service, or which others beside it.
    others: T,
    rules: Rules,
}

/// What has nothing to do with the types of a vote.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    needed: Option<u32>,
    weights: Vec<NonZeroU32>,
    names: Vec<Name>,
    pub(super) launch: Launch,
    pub(super) voice: Voice,
}

/// When the members are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Launch {
    /// All at once.
    Eager,
    /// As many as are needed, and another one when it turns out that they are not enough, or have
    /// not decided after a time.
    Lazy(Option<Duration>),
}

impl Rules {
    /// The name of a member.
    pub(super) fn member(&self, place: usize) -> Name {
        let given = self.names.get(place);
        given.cloned().unwrap_or_else(|| format!("replica {}", place + 1).into())
    }
}

impl QuorumLayer {
    /// Asks one service so many times; 0 means the same as 1.
    pub const fn of(replicas: u32) -> Self {
        Self::over(replicas)
    }
}

impl<S> QuorumLayer<ByEquality, ByFault, ByClone, Vec<S>> {
    /// Asks the service and these others, which have the same type: where they differ,
    /// [box](tower::util::BoxCloneService) them.
    ///
    /// Independent services are worth more than many: what one model gets wrong, its replicas
    /// get wrong with it.
    pub const fn with(others: Vec<S>) -> Self {
        Self::over(others)
    }
}

impl<T> QuorumLayer<ByEquality, ByFault, ByClone, T> {
    const fn over(others: T) -> Self {
        let rules = Rules {
            needed: None,
            weights: Vec::new(),
            names: Vec::new(),
            launch: Launch::Eager,
            voice: Voice::new(Pattern::Quorum),
        };
        Self { agree: ByEquality, classify: ByFault, replay: ByClone, others, rules }
    }
}

impl<A, C, R, T> QuorumLayer<A, C, R, T> {
    /// Sets the weight that must agree; a strict majority of all by default.
    ///
    /// Less than 1 means 1, and more than there is means all.
    #[must_use]
    pub const fn needed(mut self, needed: u32) -> Self {
        self.rules.needed = Some(needed);
        self
    }

    /// Sets what the votes of the first members, and so on, weigh; 1 by default.
    #[must_use]
    pub fn weights(mut self, weights: impl IntoIterator<Item = NonZeroU32>) -> Self {
        self.rules.weights = weights.into_iter().collect();
        self
    }

    /// Sets what the first members, and so on, are called in causes; `replica 1` and so on by
    /// default.
    #[must_use]
    pub fn names<N: Into<Name>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.rules.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Asks no more members than are needed; all at once by default.
    ///
    /// Another one is asked when one fails or dissents, and when the vote is still open a
    /// `delay` after the last was asked, if there is one. Cheaper, and slower where one hangs.
    #[must_use]
    pub fn lazy(mut self, delay: impl Into<Option<Duration>>) -> Self {
        self.rules.launch = Launch::Lazy(delay.into());
        self
    }

    /// Returns the first answer, whatever it says: one is needed, and any will do. So will a
    /// permanent failure.
    ///
    /// Guards against failures, and not against wrong answers: as redundant execution by a
    /// [hedge](crate::HedgeLayer::immediate) does, but over members that may not become ready.
    #[must_use]
    pub fn first_success(self) -> QuorumLayer<AnyAnswer, C, R, T> {
        self.agree(AnyAnswer).needed(1)
    }

    /// Takes answers for the same whose keys are equal: normalised text, a field, a hash.
    ///
    /// The answer that decides is returned; earlier ones are dropped once their key is taken.
    #[must_use]
    pub fn agree_by<F>(self, key: F) -> QuorumLayer<ByKey<F>, C, R, T> {
        self.agree(ByKey(key))
    }

    /// Takes answers for the same that a closure finds so; by equality, by default.
    ///
    /// An answer joins the first group whose first answer it agrees with. The closure should not
    /// depend on their order. One answer of each group is kept while the vote is open.
    #[must_use]
    pub fn agree_with<F>(self, same: F) -> QuorumLayer<ByPair<F>, C, R, T> {
        self.agree(ByPair(same))
    }

    /// Takes answers for the same whose numbers all lie in an interval as wide as `tolerance`.
    ///
    /// The answer with the median number of those who agree is returned, of two in the middle
    /// the lower. NaN agrees with nothing. All answers are kept while the vote is open.
    #[must_use]
    pub fn within<F>(self, tolerance: Tolerance, number: F) -> QuorumLayer<Within<F>, C, R, T> {
        self.agree(Within { tolerance, number })
    }

    /// Sets who says which answers [agree](super::Agree), as the other setters do.
    ///
    /// Set before [`mark`](Self::mark) and [`otherwise`](Self::otherwise), which it replaces.
    #[must_use]
    pub fn agree<B>(self, agree: B) -> QuorumLayer<B, C, R, T> {
        self.change(|_| agree)
    }

    /// Shows each answer that is returned to a closure, together with the votes: to attach them.
    #[must_use]
    pub fn mark<F>(self, mark: F) -> QuorumLayer<Marked<A, F>, C, R, T> {
        self.change(|agree| Marked { agree, mark })
    }

    /// Lets a closure choose an answer where there is no agreement; without, or where it gives
    /// `None`, the call is refused.
    ///
    /// Only where answers are [kept](super::Keep). Those are all that came before agreement had
    /// become impossible: who runs then is not waited for.
    /// [`Disagreement::plurality`](super::Disagreement::plurality) is one such closure.
    #[must_use]
    pub fn otherwise<F>(self, choose: F) -> QuorumLayer<Otherwise<A, F>, C, R, T> {
        self.change(|agree| Otherwise { agree, choose })
    }

    fn change<B>(self, change: impl FnOnce(A) -> B) -> QuorumLayer<B, C, R, T> {
        let Self { agree, classify, replay, others, rules } = self;
        QuorumLayer { agree: change(agree), classify, replay, others, rules }
    }

    /// Sets who says what an outcome means; the error itself by default.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> QuorumLayer<A, D, R, T> {
        let Self { agree, classify: _, replay, others, rules } = self;
        QuorumLayer { agree, classify, replay, others, rules }
    }

    /// Sets which requests may be sent to several and how they are copied; all, by `Clone`, by
    /// default.
    ///
    /// A request that may not be repeated [freely](crate::Repeat::Freely) is sent to the first
    /// member whose vote is enough by itself. If there is none the call is refused.
    #[must_use]
    pub fn replay<Q>(self, replay: Q) -> QuorumLayer<A, C, Q, T> {
        let Self { agree, classify, replay: _, others, rules } = self;
        QuorumLayer { agree, classify, replay, others, rules }
    }

    /// Sets the name that events and refusals carry.
    #[must_use]
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.rules.voice.set_name(name.into());
        self
    }

    /// Sets who listens to events; `tracing` by default.
    #[must_use]
    pub fn observe(mut self, observe: impl Observe + 'static) -> Self {
        self.rules.voice.set_observe(observe);
        self
    }
}

impl<A: Clone, C: Clone, R: Clone, T> QuorumLayer<A, C, R, T> {
    fn build<S>(&self, members: Members<S>) -> Quorum<S, A, C, R> {
        let rules = self.rules.clone();
        let settings = Settings {
            agree: self.agree.clone(),
            classify: self.classify.clone(),
            replay: self.replay.clone(),
            electorate: Electorate::new(members.count(), &rules.weights, rules.needed),
            rules,
        };
        note(&settings.rules.voice, || {
            let launch = match settings.rules.launch {
                Launch::Eager => String::new(),
                Launch::Lazy(None) => ", asked as needed".to_owned(),
                Launch::Lazy(Some(delay)) => format!(", asked as needed and after {delay:?}"),
            };
            format!("{}{launch}", settings.electorate)
        });
        Quorum { members, settings: Arc::new(settings) }
    }
}

impl<S, A: Clone, C: Clone, R: Clone> Layer<S> for QuorumLayer<A, C, R> {
    type Service = Quorum<S, A, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        self.build(Members::Same { inner, count: self.others as usize })
    }
}

impl<S: Clone, A: Clone, C: Clone, R: Clone> Layer<S> for QuorumLayer<A, C, R, Vec<S>> {
    type Service = Quorum<S, A, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        let members = std::iter::once(inner).chain(self.others.iter().cloned());
        self.build(Members::Different(members.collect()))
    }
}
