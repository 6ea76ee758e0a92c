//! One circuit for each key.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    num::NonZeroUsize,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    BreakerHandle, BreakerLayer, ResponseFuture, State,
    instance::Instance,
    switch::{Settings, Switch, nanos},
};
use crate::{ByFault, Classify, FromRejection};

/// A [`BreakerLayer`] with one circuit for each key. See the [module](super).
///
/// # Clone
/// Clones, and all services that they make, share the circuits.
pub struct KeyedBreakerLayer<F, K, C = ByFault> {
    key: F,
    classify: C,
    circuits: Arc<Circuits<K>>,
}

impl<F, K, C> KeyedBreakerLayer<F, K, C> {
    pub(super) fn new(layer: BreakerLayer<C>, key: F) -> Self {
        let limits = Limits { most: 1_024, forget_after: Duration::from_secs(600) };
        let circuits = Circuits::new(layer.settings, limits);
        Self { key, classify: layer.classify, circuits }
    }

    /// Sets how many circuits are kept; 1024 by default.
    ///
    /// Beyond it those longest without a call are forgotten, closed ones first.
    #[must_use]
    pub fn max_keys(self, most: NonZeroUsize) -> Self {
        let limits = Limits { most: most.get(), ..self.circuits.limits };
        self.with(limits)
    }

    /// Sets after how much time without a call a circuit is forgotten; 10 min by default.
    ///
    /// Circuits that are forced open or closed are kept.
    #[must_use]
    pub fn forget_after(self, idle: Duration) -> Self {
        let limits = Limits { forget_after: idle, ..self.circuits.limits };
        self.with(limits)
    }

    /// The handle of the circuits. Take it from the finished layer: setters make new ones.
    pub fn handle(&self) -> KeyedBreakerHandle<K> {
        KeyedBreakerHandle { circuits: self.circuits.clone() }
    }

    fn with(self, limits: Limits) -> Self {
        Self { circuits: Circuits::new(self.circuits.settings.clone(), limits), ..self }
    }
}

impl<F: Clone, K, C: Clone> Clone for KeyedBreakerLayer<F, K, C> {
    fn clone(&self) -> Self {
        let (key, classify) = (self.key.clone(), self.classify.clone());
        Self { key, classify, circuits: self.circuits.clone() }
    }
}

impl<F, K, C> fmt::Debug for KeyedBreakerLayer<F, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBreakerLayer")
            .field("circuits", &self.circuits)
            .finish_non_exhaustive()
    }
}

impl<S: Clone, F: Clone, K, C: Clone> Layer<S> for KeyedBreakerLayer<F, K, C> {
    type Service = KeyedBreaker<S, F, K, C>;

    fn layer(&self, inner: S) -> Self::Service {
        self.circuits.settings.note(", for each key");
        KeyedBreaker {
            instance: Instance::new(inner, Some(S::clone)),
            key: self.key.clone(),
            classify: self.classify.clone(),
            circuits: self.circuits.clone(),
        }
    }
}

/// The service of [`KeyedBreakerLayer`].
pub struct KeyedBreaker<S, F, K, C = ByFault> {
    instance: Instance<S>,
    key: F,
    classify: C,
    circuits: Arc<Circuits<K>>,
}

impl<S, F, K, C> KeyedBreaker<S, F, K, C> {
    /// The handle of the circuits.
    pub fn handle(&self) -> KeyedBreakerHandle<K> {
        KeyedBreakerHandle { circuits: self.circuits.clone() }
    }
}

impl<S: Clone, F: Clone, K, C: Clone> Clone for KeyedBreaker<S, F, K, C> {
    fn clone(&self) -> Self {
        Self {
            instance: self.instance.clone(),
            key: self.key.clone(),
            classify: self.classify.clone(),
            circuits: self.circuits.clone(),
        }
    }
}

impl<S: fmt::Debug, F, K, C> fmt::Debug for KeyedBreaker<S, F, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBreaker")
            .field("instance", &self.instance)
            .field("circuits", &self.circuits)
            .finish_non_exhaustive()
    }
}

impl<S, F, K, C, Req> Service<Req> for KeyedBreaker<S, F, K, C>
where
    S: Service<Req>,
    S::Error: FromRejection,
    F: Fn(&Req) -> K,
    K: Hash + Eq,
    C: Classify<Req, S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, C, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.instance.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let admitted = self.circuits.of((self.key)(&request)).admit();
        self.instance.call(admitted, &self.classify, request)
    }
}

/// Looks at the circuits of a keyed breaker, and commands them, from outside.
///
/// # Clone
/// Clones belong to the same circuits.
pub struct KeyedBreakerHandle<K> {
    circuits: Arc<Circuits<K>>,
}

impl<K> KeyedBreakerHandle<K> {
    /// How many circuits there are.
    pub fn len(&self) -> usize {
        self.circuits.read(|known| known.by_key.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Hash + Eq> KeyedBreakerHandle<K> {
    /// The handle of the circuit of this key, if there is one.
    ///
    /// A handle that is kept after its circuit was forgotten belongs to no calls any more.
    pub fn get(&self, key: &K) -> Option<BreakerHandle> {
        let switch = self.circuits.read(|known| known.by_key.get(key).map(|e| e.switch.clone()));
        switch.map(BreakerHandle::new)
    }

    /// The handle of the circuit of this key, which is made if there is none, as by a call.
    pub fn of(&self, key: K) -> BreakerHandle {
        BreakerHandle::new(self.circuits.of(key))
    }

    /// The keys that have a circuit, in no order.
    pub fn keys(&self) -> Vec<K>
    where
        K: Clone,
    {
        self.circuits.read(|known| known.by_key.keys().cloned().collect())
    }
}

impl<K> Clone for KeyedBreakerHandle<K> {
    fn clone(&self) -> Self {
        Self { circuits: self.circuits.clone() }
    }
}

impl<K> fmt::Debug for KeyedBreakerHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyedBreakerHandle").field(&self.circuits).finish()
    }
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    most: usize,
    forget_after: Duration,
}

/// The circuits by their keys.
struct Circuits<K> {
    settings: Settings,
    limits: Limits,
    /// Calls only read; a new key writes.
    known: RwLock<Known<K>>,
}

struct Known<K> {
    by_key: HashMap<K, Entry>,
    /// Time zero, and when idle circuits were last looked for.
    epoch: Option<Instant>,
    swept: u64,
}

struct Entry {
    switch: Arc<Switch>,
    /// When it was last called.
    used: AtomicU64,
}

impl Entry {
    /// What is forgotten last: commands, then circuits that protect something, then the latest.
    fn rank(&self) -> (bool, bool, u64) {
        let open = self.switch.state() != State::Closed;
        (self.switch.mode().is_forced(), open, self.used.load(Ordering::Relaxed))
    }
}

impl<K> Circuits<K> {
    fn new(settings: Settings, limits: Limits) -> Arc<Self> {
        let known = Known { by_key: HashMap::new(), epoch: None, swept: 0 };
        Arc::new(Self { settings, limits, known: RwLock::new(known) })
    }

    fn read<T>(&self, look: impl FnOnce(&Known<K>) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Hash + Eq> Circuits<K> {
    /// The circuit of a key.
    fn of(&self, key: K) -> Arc<Switch> {
        let now = Instant::now();
        let found = self.read(|known| {
            let entry = known.by_key.get(&key)?;
            entry.used.fetch_max(known.nanos(now), Ordering::Relaxed);
            Some(entry.switch.clone())
        });
        found.unwrap_or_else(|| self.insert(key, now))
    }

    #[cold]
    fn insert(&self, key: K, now: Instant) -> Arc<Switch> {
        let switch = Switch::new(&self.settings);
        let forgotten;
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = known.by_key.get(&key) {
                return entry.switch.clone();
            }
            known.epoch.get_or_insert(now);
            let used = known.nanos(now);
            forgotten = known.make_room(used, &self.limits);
            let entry = Entry { switch: switch.clone(), used: AtomicU64::new(used) };
            known.by_key.insert(key, entry);
        }
        // The keys are the user's: they are dropped outside of the lock.
        drop(forgotten);
        switch
    }
}

impl<K: Hash + Eq> Known<K> {
    /// Forgets the idle, and where that leaves no room an eighth of the rest, so that a stream of
    /// new keys looks at few circuits for each of them.
    fn make_room(&mut self, now: u64, limits: &Limits) -> Vec<(K, Entry)> {
        let idle = nanos(limits.forget_after);
        let full = self.by_key.len() >= limits.most;
        let due = now - self.swept.min(now) >= idle / 8;
        if !full && !due {
            return Vec::new();
        }
        self.swept = now;
        let mut forgotten: Vec<_> = self
            .by_key
            .extract_if(|_, entry| {
                let (forced, _, used) = entry.rank();
                // One that asks to be left alone for longer than it is idle is remembered.
                !forced
                    && now.saturating_sub(used) >= idle
                    && entry.switch.retry_after().is_none_or(|rest| rest.is_zero())
            })
            .collect();
        let left = self.by_key.len();
        if left >= limits.most {
            let surplus = (left - limits.most + 1).max(left / 8);
            let mut ranks: Vec<_> = self.by_key.values().map(Entry::rank).collect();
            let (_, last, _) = ranks.select_nth_unstable(surplus - 1);
            let last = *last;
            let mut remaining = surplus;
            forgotten.extend(self.by_key.extract_if(|_, entry| {
                let goes = remaining > 0 && entry.rank() <= last;
                remaining -= usize::from(goes);
                goes
            }));
        }
        forgotten
    }
}

impl<K> Known<K> {
    fn nanos(&self, now: Instant) -> u64 {
        self.epoch.map_or(0, |epoch| nanos(now.saturating_duration_since(epoch)))
    }
}

impl<K> fmt::Debug for Circuits<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuits")
            .field("settings", &self.settings)
            .field("limits", &self.limits)
            .field("known", &self.read(|known| known.by_key.len()))
            .finish()
    }
}
