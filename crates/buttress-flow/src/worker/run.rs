use std::{
    fmt,
    future::{Future, poll_fn},
    num::NonZeroU32,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use buttress::{
    Backoff, Event, Fault, Observe, Random, Teller, Tracing,
    store::{Journal, Lease, Store, StoreError, Tenure, WorkflowId},
};
use serde::Serialize;
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep, timeout},
};

use super::{Task, slots::Slots, turn::Turn};

/// The namespace of the leases by which workers agree who cleans up.
pub const HOUSEKEEPING: &str = "buttress.workers";

/// Takes up workflows of a namespace and does them. See the [module](super).
#[derive(Clone, Debug)]
pub struct Worker {
    settings: Settings,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) journal: Journal,
    concurrency: NonZeroU32,
    poll: Duration,
    margin: Option<Duration>,
    pub(super) attempts: u32,
    pub(super) backoff: Backoff,
    pub(super) grace: Duration,
    prune: Option<Duration>,
    pub(super) random: Random,
    observe: Arc<dyn Observe>,
}

impl Settings {
    pub(super) fn margin(&self) -> Duration {
        self.margin.unwrap_or_else(|| self.journal.lease_time() / 10)
    }

    pub(super) fn tell(&self, workflow: &WorkflowId, event: Event) {
        let name = workflow.to_string();
        self.observe
            .event(Teller { pattern: "worker", name: &name, workflow: &workflow.workflow }, &event);
    }

    /// A name that no other lease was taken under, here or by a process before that had our name: whatever
    /// is late belongs to none but its own.
    fn owner(&self) -> Arc<str> {
        const DIGITS: f64 = (1_u64 << 48) as f64;
        let number = (Random::default().unit() * DIGITS) as u64;
        format!("{}.{number:012x}", self.journal.owner_name()).into()
    }
}

impl Worker {
    /// Does the workflows of the journal's namespace, all of which belong to its workers.
    ///
    /// The journal's [ttl](Journal::ttl) says for how long a workflow is held after the last sign of life.
    pub fn new(journal: impl Into<Journal>) -> Self {
        const FOUR: NonZeroU32 = NonZeroU32::new(4).expect("4 is not 0");
        let minute = Duration::from_secs(60);
        let settings = Settings {
            journal: journal.into(),
            concurrency: FOUR,
            poll: Duration::from_secs(1),
            margin: None,
            attempts: 10,
            backoff: Backoff::exponential(Duration::from_secs(1), 5 * minute),
            grace: Duration::from_secs(30),
            prune: Some(60 * minute),
            random: Random::default(),
            observe: Arc::new(Tracing),
        };
        Self { settings }
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self
    }

    /// Sets how many workflows it does at once; 4 by default.
    #[must_use]
    pub fn concurrency(self, workflows: NonZeroU32) -> Self {
        self.set(|settings| settings.concurrency = workflows)
    }

    /// Sets after how long it looks for work again, at the latest, while there is none; 1 s by default.
    ///
    /// It waits for half of that at least, and for how much more is drawn each time, so that workers which were
    /// started together do not ask the store together.
    #[must_use]
    pub fn poll(self, interval: Duration) -> Self {
        self.set(|settings| settings.poll = interval.max(Duration::from_millis(1)))
    }

    /// Sets for how much shorter than the store it relies on a lease: see [`Tenure`](buttress::store::Tenure).
    ///
    /// A tenth of the lease's time by default; more than half of it counts as half.
    #[must_use]
    pub fn margin(self, margin: Duration) -> Self {
        self.set(|settings| settings.margin = Some(margin))
    }

    /// Sets after how many attempts a workflow is given up; 10 by default.
    ///
    /// Attempts count that failed, panicked, lost their lease, or died with their process; not those that
    /// were cut short by a shutdown.
    #[must_use]
    pub fn attempts(self, most: u32) -> Self {
        self.set(|settings| settings.attempts = most.max(1))
    }

    /// Sets how long a workflow is left alone after a failure; by default 1 s, doubled up to 5 min, with full
    /// jitter.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.set(|settings| settings.backoff = backoff)
    }

    /// Sets how long handlers may go on after a shutdown; 30 s by default.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        self.set(|settings| settings.grace = grace)
    }

    /// Sets how often the store is [pruned](Store::prune) of the namespace's outlived workflows, by one of
    /// all its workers; every hour by default, `None` for never.
    #[must_use]
    pub fn housekeeping(self, interval: Option<Duration>) -> Self {
        self.set(|settings| settings.prune = interval)
    }

    /// Sets where the jitter of the backoff and of the looks for work comes from.
    #[must_use]
    pub fn random(self, random: Random) -> Self {
        self.set(|settings| settings.random = random)
    }

    /// Sets who listens to events; `tracing` by default.
    #[must_use]
    pub fn observe(self, observe: impl Observe + 'static) -> Self {
        self.set(|settings| settings.observe = Arc::new(observe))
    }

    /// Does workflows until `shutdown`, and returns when the last one has ended or was given back.
    ///
    /// All handlers are polled by the task that polls this, none is spawned: spawn one `run` per core if handlers
    /// compute, and have `spawn_blocking` do what blocks. While a handler blocks its thread no lease is renewed.
    pub async fn run<H, F, T, E, D>(&self, handler: H, shutdown: D)
    where
        H: Fn(Task) -> F,
        F: Future<Output = Result<T, E>>,
        T: Serialize,
        E: Fault + fmt::Display,
        D: Future<Output = ()>,
    {
        let settings = &self.settings;
        let stopping = watch::Sender::new(false);
        let stop = Stop(stopping.subscribe());
        // One looks for work at a time, however many could do it.
        let door = Mutex::new(());
        let (handler, door, stop) = (&handler, &door, &stop);
        let slot = |_| async move {
            while let Some((lease, asked)) = next(settings, door, stop).await {
                Turn::new(settings, lease).run(asked, handler, stop).await;
            }
        };
        let mut slots = Slots::new((0..settings.concurrency.get()).map(slot));
        let mut cleaning = pin!(clean(settings));
        let mut shutdown = pin!(shutdown);
        let (mut stopped, mut cleaned) = (false, false);
        poll_fn(|cx| {
            if !stopped && shutdown.as_mut().poll(cx).is_ready() {
                stopped = true;
                stopping.send_replace(true);
            }
            if !stopped && !cleaned {
                cleaned = cleaning.as_mut().poll(cx).is_ready();
            }
            let poll = slots.poll(cx);
            // Nothing but a shutdown ends a slot.
            if stopped { poll } else { Poll::Pending }
        })
        .await;
    }
}

/// Whether the worker is to end.
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    pub(super) async fn stopped(&self) {
        // The sender outlives all who ask.
        let _ = self.0.clone().wait_for(|stopped| *stopped).await;
    }

    fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits, unless the worker is to end.
    async fn pause(&self, pause: Duration) {
        let mut stopped = pin!(self.stopped());
        let mut pause = pin!(sleep(pause));
        poll_fn(|cx| match stopped.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => pause.as_mut().poll(cx),
        })
        .await;
    }
}

/// Looks for work until there is some, or none is wanted.
async fn next(settings: &Settings, door: &Mutex<()>, stop: &Stop) -> Option<(Lease, Instant)> {
    let _door = door.lock().await;
    let (store, ttl) = (settings.journal.store(), settings.journal.lease_time());
    let everything = settings.journal.workflow("");
    let patience = (ttl / 3).max(Duration::from_millis(1));
    let mut failures = 0;
    while !stop.is_stopped() {
        let owner = settings.owner();
        let asked = Instant::now();
        let mut pause = settings.poll;
        // Not dropped at the shutdown: a lease might be taken, and nobody would know.
        match timeout(patience, store.claim(&everything.namespace, &owner, ttl)).await {
            Ok(Ok(Some(lease))) => {
                let tenure = Tenure::granted(&lease, asked, settings.margin());
                let in_time = tenure.holds(Instant::now());
                if in_time && !stop.is_stopped() {
                    return Some((lease, asked));
                }
                if !in_time {
                    settings.tell(&lease.workflow, Event::Fenced { epoch: lease.epoch });
                }
                // If that fails, others wait until it has run out.
                let _ = timeout(patience, store.release(&lease)).await;
            }
            Ok(Ok(None)) => failures = 0,
            failed => {
                failures += 1;
                let verdict = match &failed {
                    Ok(Err(error)) => error.verdict(),
                    _ => buttress::Verdict::transient(),
                };
                settings.tell(&everything, Event::StoreFailed { attempt: failures, verdict });
                // A lease may have been taken without our knowing. Others, who get answers, come first.
                pause = pause.saturating_mul(1 << failures.min(16)).min(ttl / 3).max(pause);
            }
        }
        // Processes that were started together must not ask together for ever.
        stop.pause(pause.mul_f64(0.5 + 0.5 * settings.random.unit())).await;
    }
    None
}

/// Prunes the store every so often, if no other worker did.
async fn clean(settings: &Settings) {
    let Some(interval) = settings.prune else { return };
    let store = settings.journal.store();
    let namespace = settings.journal.workflow("").namespace;
    // A lease that nobody gives back: whoever has it is the one who cleans, until it has run out.
    let office = WorkflowId::new(HOUSEKEEPING, namespace.clone());
    let second = Duration::from_secs(1);
    loop {
        let pause = match store.acquire(&office, &settings.owner(), interval).await {
            Ok(_) => match store.prune(Some(&namespace)).await {
                Ok(_) => interval,
                Err(error) => trouble(settings, &office, &error, interval),
            },
            Err(StoreError::Held { retry_after, .. }) => retry_after,
            Err(error) => trouble(settings, &office, &error, interval),
        };
        sleep(pause.max(second)).await;
    }
}

fn trouble(
    settings: &Settings,
    office: &WorkflowId,
    error: &StoreError,
    pause: Duration,
) -> Duration {
    settings.tell(office, Event::StoreFailed { attempt: 1, verdict: error.verdict() });
    pause
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("journal", &self.journal)
            .field("concurrency", &self.concurrency)
            .field("poll", &self.poll)
            .field("margin", &self.margin())
            .field("attempts", &self.attempts)
            .field("backoff", &self.backoff)
            .field("grace", &self.grace)
            .field("housekeeping", &self.prune)
            .finish_non_exhaustive()
    }
}
