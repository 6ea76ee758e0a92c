use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{Checkpoint, DetachLayer, Effects, Forget, InDoubt, Json, Remember, Unasked};
use crate::{
    ByFault, Name, Observe,
    event::{Pattern, Voice},
    stack::note_effect,
    store::Journal,
};

/// Does each step once. See the [module](super).
#[derive(Clone)]
pub struct CheckpointLayer<K = Json, C = ByFault, N = Forget, P = Unasked> {
    pub(super) journal: Journal,
    pub(super) effects: Effects,
    pub(super) schema: u32,
    /// Whether one waits for a step that is being done, here or elsewhere.
    pub(super) wait: bool,
    pub(super) codec: K,
    pub(super) classify: C,
    pub(super) memo: N,
    pub(super) probe: P,
    pub(super) voice: Voice,
}

impl CheckpointLayer {
    /// Keeps the outcomes of steps in a store; `effects` says what they do to the world.
    ///
    /// Layers that work on the same workflows share one [`Journal`]. A store alone becomes one.
    pub fn new(journal: impl Into<Journal>, effects: Effects) -> Self {
        Self {
            journal: journal.into(),
            effects,
            schema: 1,
            wait: false,
            codec: Json,
            classify: ByFault,
            memo: Forget,
            probe: Unasked,
            voice: Voice::new(Pattern::Checkpoint),
        }
    }
}

impl<K, C, N, P> CheckpointLayer<K, C, N, P> {
    /// Sets how responses are put into bytes; [`Json`] by default.
    #[must_use]
    pub fn codec<L>(self, codec: L) -> CheckpointLayer<L, C, N, P> {
        let Self { journal, effects, schema, wait, codec: _, classify, memo, probe, voice } = self;
        CheckpointLayer { journal, effects, schema, wait, codec, classify, memo, probe, voice }
    }

    /// Sets the version of the response's type; 1 by default.
    ///
    /// Count it up when the type changes so that old bytes would be misread. What was recorded under
    /// another is [unreadable](super::Halt::Unreadable), never a default and never done again.
    #[must_use]
    pub const fn schema(mut self, version: u32) -> Self {
        self.schema = version;
        self
    }

    /// Sets who says what an outcome means; the error itself by default.
    ///
    /// Only successes are recorded. A response that is judged a failure is returned and not recorded.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> CheckpointLayer<K, D, N, P> {
        let Self { journal, effects, schema, wait, codec, classify: _, memo, probe, voice } = self;
        CheckpointLayer { journal, effects, schema, wait, codec, classify, memo, probe, voice }
    }

    /// Waits for a step that is being done, and answers with its outcome. By default such a call is refused.
    ///
    /// Of a workflow that another process holds it is asked again and again; this ends where the
    /// [deadline](crate::Deadline) around the call would pass first.
    ///
    /// A step that calls itself is refused: [`Halt::Within`](super::Halt::Within). If it does so in another task,
    /// and waits for that, nobody can tell, and it waits for as long as a timeout around it allows.
    #[must_use]
    pub const fn wait_in_flight(mut self) -> Self {
        self.wait = true;
        self
    }

    /// Records failures that are [permanent](crate::Kind::Permanent), so that the step is not done again.
    ///
    /// An error is recorded by its text and replayed as [`Halt::Failed`](super::Halt::Failed); a
    /// response that is judged a failure for good is recorded and replayed as it is.
    #[must_use]
    pub fn record_failures(self) -> CheckpointLayer<K, C, Remember, P> {
        let Self { journal, effects, schema, wait, codec, classify, memo: _, probe, voice } = self;
        let memo = Remember;
        CheckpointLayer { journal, effects, schema, wait, codec, classify, memo, probe, voice }
    }

    /// Asks the world what became of a side effect in doubt, before the declared rule is applied.
    ///
    /// [`Landing::Landed`](super::Landing) is recorded and returned, after `Absent` the step is done
    /// now, and with `Unknown` the rule holds. If asking fails, so does the call, and the doubt stays.
    ///
    /// ```
    /// use buttress::{CheckpointLayer, checkpoint::{Effects, InDoubt, Landing, Step}, store::MemoryStore};
    /// use tower::{BoxError, ServiceBuilder, service_fn};
    /// # fn check<S: tower::Service<Step<u32>>>(_: S) {}
    ///
    /// let layer = CheckpointLayer::new(MemoryStore::new(), Effects::SideEffect(InDoubt::Fail))
    ///     .probe(|step: &Step<u32>, _key| {
    ///         let cents = step.request;
    ///         async move { Ok::<_, BoxError>(if cents == 0 { Landing::Absent } else { Landing::Unknown }) }
    ///     });
    /// let pay = service_fn(async |step: Step<u32>| Ok::<u32, BoxError>(step.request));
    /// # check(ServiceBuilder::new().layer(layer).service(pay));
    /// ```
    #[must_use]
    pub fn probe<Q>(self, probe: Q) -> CheckpointLayer<K, C, N, Q> {
        let Self { journal, effects, schema, wait, codec, classify, memo, probe: _, voice } = self;
        CheckpointLayer { journal, effects, schema, wait, codec, classify, memo, probe, voice }
    }

    /// Lets a step that was begun go on when the call is dropped: it is called and recorded in a task of
    /// its own, and the next who asks is answered from the store.
    ///
    /// By default a call that is dropped ends there, and a side effect is then in doubt. What is inside must be `Send` and
    /// `'static`, and each call is boxed. The task ends with the runtime, if that ends first.
    #[must_use]
    pub fn detach_on_drop(self) -> DetachLayer<K, C, N, P> {
        DetachLayer(self)
    }

    /// Sets the name that events and refusals carry.
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

impl<S, K, C, N, P> Layer<S> for CheckpointLayer<K, C, N, P>
where
    K: Clone,
    C: Clone,
    N: Clone,
    P: Clone,
{
    type Service = Checkpoint<S, K, C, N, P>;

    fn layer(&self, inner: S) -> Self::Service {
        self.note(false);
        Checkpoint { inner, layer: Arc::new(self.clone()) }
    }
}

impl<K, C, N, P> CheckpointLayer<K, C, N, P> {
    pub(super) fn note(&self, detached: bool) {
        note_effect(&self.voice, (self.effects.intend(), detached), || {
            let effects = match self.effects {
                Effects::ReadOnly => "reads",
                Effects::Idempotent => "idempotent",
                Effects::SideEffect(InDoubt::Retry) => "a side effect, in doubt done again",
                Effects::SideEffect(InDoubt::Fail) => "a side effect, in doubt left alone",
            };
            let detached = if detached { ", goes on when dropped" } else { "" };
            format!("{effects}{detached}")
        });
    }
}

impl<K: fmt::Debug, C, N, P> fmt::Debug for CheckpointLayer<K, C, N, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointLayer")
            .field("journal", &self.journal)
            .field("effects", &self.effects)
            .field("schema", &self.schema)
            .field("wait_in_flight", &self.wait)
            .field("codec", &self.codec)
            .field("name", &self.voice)
            .finish_non_exhaustive()
    }
}
