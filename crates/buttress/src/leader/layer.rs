use std::{fmt, future::Future, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    Leader, LeaderHandle, campaign,
    office::{Office, Settings},
};
use crate::{
    Name, Observe,
    event::{Pattern, Voice},
    stack::note,
    store::{Journal, StoreError, WorkflowId},
};

/// The namespace of the leases of offices.
pub const NAMESPACE: &str = "buttress.leaders";

/// Lets calls in while this process leads. See the [module](super).
#[derive(Clone)]
pub struct LeaderLayer {
    settings: Settings,
    office: Arc<Office>,
}

impl LeaderLayer {
    /// Lets calls in while this process holds the office.
    ///
    /// The office is a lease in the store of the journal: `namespace/office`, in the namespace [`NAMESPACE`],
    /// so that applications that share a store do not share their offices. The lease lasts for
    /// the [ttl](Journal::ttl) of the journal after the last sign of life.
    pub fn new(journal: impl Into<Journal>, office: impl Into<Name>) -> Self {
        let (journal, office) = (journal.into(), office.into());
        let of = journal.workflow(office.as_str());
        let id = WorkflowId::new(NAMESPACE, format!("{}/{office}", of.namespace));
        let mut voice = Voice::new(Pattern::Leader);
        voice.set_name(office);
        let settings = Settings { journal, id, margin: None, poll: None, voice };
        Self { office: Office::new(settings.clone()), settings }
    }

    /// Sets for how much shorter this process relies on its lease than the store grants it: for clocks that
    /// do not run at the same rate, and for calls that are let in and not sent at once.
    ///
    /// A tenth of the lease's time by default; more than half of it counts as half.
    #[must_use]
    pub fn margin(self, margin: Duration) -> Self {
        self.set(|settings| settings.margin = Some(margin))
    }

    /// Sets how often a candidate looks whether the office is free; a tenth of the lease's time by default.
    #[must_use]
    pub fn poll(self, interval: Duration) -> Self {
        self.set(|settings| settings.poll = Some(interval))
    }

    /// Sets who listens to events; `tracing` by default.
    #[must_use]
    pub fn observe(self, observe: impl Observe + 'static) -> Self {
        self.set(|settings| settings.voice.set_observe(observe))
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        Self { office: Office::new(self.settings.clone()), ..self }
    }

    /// The handle of the office.
    pub fn handle(&self) -> LeaderHandle {
        LeaderHandle::new(self.office.clone())
    }

    /// The future that stands for the office and keeps it: spawn it.
    ///
    /// Without it nobody is ever let in. It runs until `shutdown` is ready, then gives the office up and
    /// its lease back; [`pending`](std::future::pending) never is. Dropped, it leads no more at once, but
    /// others wait until the lease has run out.
    ///
    /// # Errors
    /// That the office can not be had, ever: its record in the store was deleted or damaged, or its name is
    /// too long. A store that fails otherwise is asked again.
    pub fn campaign<F>(&self, shutdown: F) -> impl Future<Output = Result<(), StoreError>> + use<F>
    where
        F: Future<Output = ()>,
    {
        campaign::run(self.office.clone(), shutdown)
    }
}

impl<S> Layer<S> for LeaderLayer {
    type Service = Leader<S>;

    fn layer(&self, inner: S) -> Leader<S> {
        let Settings { id, voice, .. } = &self.settings;
        note(voice, || format!("`{id}`, lease of {:?}", self.settings.ttl()));
        Leader::new(inner, self.office.clone())
    }
}

impl fmt::Debug for LeaderLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaderLayer")
            .field("settings", &self.settings)
            .field("state", &self.handle())
            .finish()
    }
}
