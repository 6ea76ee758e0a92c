//! Who writes.

use std::{fmt, sync::Arc, time::Duration};

use super::{Claim, Lease, Occupied, Place, StepId, Store, StoreError, WorkflowId, place::Places};
use crate::Random;

/// A store as seen by one writer of it.
///
/// It knows the namespace, under what name workflows are held, and which steps run in this process: by
/// that a step whose call was dropped is told from one that still runs. Layers and graphs that work on the
/// same workflows share one.
///
/// ```
/// use std::time::Duration;
/// use buttress::store::{Journal, MemoryStore};
///
/// let journal = Journal::new(MemoryStore::new()).namespace("billing").ttl(Duration::from_secs(10));
/// assert_eq!(journal.workflow("order-17").to_string(), "billing/order-17");
/// ```
///
/// # Defaults
/// Namespace `default`; an owner's name that is random, and so unique to the process; leases of 30 s.
///
/// # Clone
/// Clones are the same writer. The setters change the clone they are called on, which goes on to share the
/// store and the list of running steps.
#[derive(Clone)]
pub struct Journal {
    store: Arc<dyn Store>,
    places: Arc<Places>,
    namespace: Arc<str>,
    owner: Arc<str>,
    ttl: Duration,
    lease: Option<Arc<Lease>>,
}

impl Journal {
    /// A writer of a store.
    pub fn new(store: impl Store) -> Self {
        let random = Random::default();
        let owner = format!("{}-{:016x}{:016x}", std::process::id(), random.word(), random.word());
        Self {
            store: Arc::new(store),
            places: Arc::new(Places::new()),
            namespace: "default".into(),
            owner: owner.into(),
            ttl: Duration::from_secs(30),
            lease: None,
        }
    }

    /// Sets the namespace of the workflows.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<Arc<str>>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets the name under which workflows are held. It must be no other process's.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<Arc<str>>) -> Self {
        self.owner = owner.into();
        self
    }

    /// Sets how long a workflow is held after the last sign of life: when a process dies, others
    /// wait so long before they take its workflows over.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Writes under a lease that somebody else keeps alive, such as a worker.
    ///
    /// Every write is then fenced by its epoch, those of idempotent steps too. The namespace becomes
    /// that of the lease, and other workflows are refused.
    #[must_use]
    pub fn held(mut self, lease: Lease) -> Self {
        self.namespace = lease.workflow.namespace.clone();
        self.lease = Some(Arc::new(lease));
        self
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The lease that it writes under, if it was given one.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_deref()
    }

    /// How long workflows are held.
    pub const fn lease_time(&self) -> Duration {
        self.ttl
    }

    /// The name under which workflows are held.
    pub const fn owner_name(&self) -> &Arc<str> {
        &self.owner
    }

    /// A workflow of the namespace.
    pub fn workflow(&self, name: impl Into<Arc<str>>) -> WorkflowId {
        WorkflowId { namespace: self.namespace.clone(), workflow: name.into() }
    }

    /// By what right it writes a workflow: under its lease, or by taking one if `exclusive`.
    ///
    /// [`StoreError::Fenced`] if its lease is that of another workflow.
    pub fn claim(&self, workflow: &WorkflowId, exclusive: bool) -> Result<Claim, StoreError> {
        match &self.lease {
            Some(lease) if lease.workflow == *workflow => Ok(Claim::Held { epoch: lease.epoch }),
            Some(lease) => {
                Err(StoreError::Fenced { workflow: workflow.clone(), epoch: lease.epoch })
            }
            None if exclusive => Ok(Claim::Take { owner: self.owner.clone(), ttl: self.ttl }),
            None => Ok(Claim::Shared),
        }
    }

    /// Takes the place of the one who does this step in this process.
    ///
    /// While it is kept, others are told that the step is [occupied](Occupied). One who has it and
    /// still finds an intent in the store knows that nobody works on it here.
    pub fn enter(&self, workflow: &WorkflowId, step: &StepId) -> Result<Place, Occupied> {
        self.places.enter(workflow, step)
    }
}

impl<S: Store> From<S> for Journal {
    fn from(store: S) -> Self {
        Self::new(store)
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("store", &self.store)
            .field("namespace", &self.namespace)
            .field("owner", &self.owner)
            .field("ttl", &self.ttl)
            .field("lease", &self.lease)
            .field("running", &self.places.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn a_lease_is_for_its_own_workflow() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let journal = Journal::new(MemoryStore::new());
            let mine = journal.workflow("a");
            let lease = journal
                .store()
                .acquire(&mine, journal.owner_name(), Duration::from_secs(1))
                .await
                .expect("nobody holds it");
            let epoch = lease.epoch;
            let held = journal.clone().held(lease);
            assert_eq!(held.claim(&mine, false), Ok(Claim::Held { epoch }));
            assert!(matches!(
                held.claim(&journal.workflow("b"), true),
                Err(StoreError::Fenced { .. })
            ));
            assert!(matches!(journal.claim(&mine, true), Ok(Claim::Take { .. })));
            assert_eq!(journal.claim(&mine, false), Ok(Claim::Shared));
        });
    }
}
