use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use buttress::{Effect, Fault, Name, Rejection, Verdict};
use tokio::time::Instant;
use tower_service::Service;

use super::{
    Ended, OnOutcome, Outcome, Stats, ToolFuture, outcome,
    workers::{Turn, Workers},
};
use crate::{
    Capacity, FailKind, Faults,
    deck::{Dealt, Deck},
};

/// A question to a tool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ToolRequest {
    /// What is asked for.
    pub query: Arc<str>,
}

impl ToolRequest {
    /// Asks for something.
    pub fn new(query: impl Into<Arc<str>>) -> Self {
        Self { query: query.into() }
    }
}

impl From<&str> for ToolRequest {
    fn from(query: &str) -> Self {
        Self::new(query)
    }
}

/// The answer of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ToolReply {
    /// What was asked for.
    pub query: Arc<str>,
    /// The id of the instance that answered; every call has its own.
    pub instance: u64,
    /// Whether the answer is right. A caller could not tell: for tests and experiments.
    pub correct: bool,
}

impl ToolReply {
    /// The answer in words, which say a different thing if it is wrong.
    pub fn text(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for ToolReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { query, instance, .. } = self;
        if self.correct {
            write!(f, "Data for '{query}' successfully retrieved by instance {instance}.")
        } else {
            write!(f, "There is no data for '{query}', says instance {instance}.")
        }
    }
}

/// Why a tool gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// The call failed.
    #[error("{0}")]
    Failed(FailKind),
    /// The tool asks for fewer calls.
    #[error("too many calls{}", after(retry_after))]
    Throttled {
        /// How long to stay away, if it is said.
        retry_after: Option<Duration>,
    },
    /// The tool has crashed and is not back yet.
    #[error("the tool has crashed")]
    Crashed,
    /// The answer broke off in the middle.
    #[error("the answer broke off")]
    Dropped,
    /// A layer refused or ended the call.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

fn after(retry_after: &Option<Duration>) -> String {
    retry_after.map(|wait| format!(", retry after {wait:.1?}")).unwrap_or_default()
}

impl Fault for ToolError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Failed(kind) => kind.verdict(),
            Self::Throttled { retry_after } => {
                Verdict { retry_after: *retry_after, ..Verdict::throttled() }
            }
            // The call that crashed the tool may have been executed, and looks like the others.
            Self::Crashed => Verdict::transient(),
            // There was an answer, so the call was executed.
            Self::Dropped => Verdict::transient().with_effect(Effect::Applied),
            Self::Rejected(rejection) => rejection.verdict(),
        }
    }
}

/// The unreliable tool: a service whose calls end as a plan of [`Faults`] has it.
///
/// What becomes of a call is decided when it is made, by the seed and the number of the call: the
/// same seed gives the same faults in whatever order, and on however many workers, the futures
/// are polled.
///
/// ```
/// use buttress_sim::{Faults, Tool, ToolRequest};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let tool = Tool::new(Faults::unreliable(), 7).name("search");
/// let mut answered = 0;
/// for _ in 0..100 {
///     let request = ToolRequest::from("user profile");
///     if let Ok(reply) = tool.clone().oneshot(request).await {
///         assert!(reply.text().starts_with("Data for 'user profile'"));
///         answered += 1;
///     }
/// }
/// let stats = tool.stats();
/// assert_eq!((stats.launched, stats.answered, stats.in_flight()), (100, answered, 0));
/// assert_eq!(stats.failures(), 100 - answered);
/// # }
/// ```
///
/// Give two tools two seeds: with the same one they fail together.
///
/// # Clone
/// Clones share the numbers of calls, the seed, the statistics, crashes and workers. Setters called on a
/// clone make a new tool with calls counted from the start.
///
/// # Cancellation
/// A future dropped before it has ended counts as cancelled, with the time since its first poll.
/// Before its first poll no time runs and no timer exists. Where there is a [`Capacity`], a call has
/// its place in the queue from when it is made, and is worked on to its end.
///
/// # Errors
/// [`ToolError`], whose [`Verdict`] follows from what was planned.
///
/// # Telemetry
/// Each end of a call is an [`Outcome`]: told to [`on_outcome`](Self::on_outcome) and, at debug
/// level with target `buttress_sim`, to `tracing` as fields `pattern`, `name`, `call`,
/// `instance`, `fate`, `ended`, `seconds`.
#[derive(Clone)]
pub struct Tool {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Clone)]
struct Settings {
    faults: Faults,
    seed: u64,
    name: Name,
    capacity: Option<Capacity>,
    listener: Option<Arc<dyn OnOutcome>>,
}

struct State {
    deck: Deck,
    stats: Stats,
    workers: Option<Workers>,
    /// When the first call was made; unknown while nothing depends on it.
    start: Option<Instant>,
}

/// What is decided about a call when it is made, and who serves it when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) dealt: Dealt,
    pub(super) served: Option<Served>,
}

/// The turn of a call, and from when on its times are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    start: Instant,
    turn: Turn,
}

impl Served {
    /// When the call ends; `None` if that cannot be told, or never comes.
    pub(super) fn end(&self) -> Option<Instant> {
        self.start.checked_add(self.turn.to)
    }
}

impl Tool {
    /// A tool that does what the plan says, reproducibly for a seed.
    pub fn new(faults: Faults, seed: u64) -> Self {
        let name = Name::new("");
        Self::from_settings(Settings { faults, seed, name, capacity: None, listener: None })
    }

    fn from_settings(settings: Settings) -> Self {
        let deck = Deck::new(settings.faults.clone(), settings.seed);
        let workers = settings.capacity.as_ref().map(Workers::new);
        let state = State { deck, stats: Stats::default(), workers, start: None };
        Self { shared: Arc::new(Shared { settings, state: Mutex::new(state) }) }
    }

    /// Sets the name that outcomes carry; empty by default.
    #[must_use]
    pub fn name(self, name: impl Into<Name>) -> Self {
        Self::from_settings(Settings { name: name.into(), ..self.shared.settings.clone() })
    }

    /// Sets how much it can do at a time; without bounds by default.
    #[must_use]
    pub fn capacity(self, capacity: Capacity) -> Self {
        let capacity = Some(capacity);
        Self::from_settings(Settings { capacity, ..self.shared.settings.clone() })
    }

    /// Sets who listens to the ends of calls; nobody but `tracing` by default.
    #[must_use]
    pub fn on_outcome(self, listener: impl OnOutcome + 'static) -> Self {
        let listener: Option<Arc<dyn OnOutcome>> = Some(Arc::new(listener));
        Self::from_settings(Settings { listener, ..self.shared.settings.clone() })
    }

    /// What the tool has been through so far.
    pub fn stats(&self) -> Stats {
        let mut state = self.shared.lock();
        let mut stats = state.stats;
        if let (Some(start), Some(workers)) = (state.start, state.workers.as_mut()) {
            stats.queued = workers.queued(start.elapsed()) as u64;
        }
        stats
    }

    /// Brings the tool back after a crash; does nothing if it is well.
    pub fn restart(&self) {
        self.shared.lock().deck.restart();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deal(&self) -> Call {
        let mut state = self.lock();
        let State { deck, stats, workers, start } = &mut *state;
        stats.launch();
        if !deck.watches_the_clock() && workers.is_none() {
            return Call { dealt: deck.deal(Duration::ZERO), served: None };
        }
        let now = Instant::now();
        let start = *start.get_or_insert(now);
        let now = now.saturating_duration_since(start);
        let (Some(workers), Some(capacity)) = (workers, &self.settings.capacity) else {
            return Call { dealt: deck.deal(now), served: None };
        };
        let Some(from) = workers.next(now) else {
            stats.refuse();
            return Call { dealt: deck.refuse(now, capacity.refusal()), served: None };
        };
        // What a call meets is what there is when it is taken up.
        let dealt = deck.deal(from);
        let takes = dealt.fate.delay();
        if takes == Some(Duration::ZERO) {
            return Call { dealt, served: None };
        }
        let turn = workers.take(now, from, takes);
        stats.take(turn.work(), workers.queued(now));
        Call { dealt, served: Some(Served { start, turn }) }
    }

    pub(super) fn end(&self, call: Call, ended: Ended, ran: Duration) {
        let Dealt { number: call, instance, fate } = {
            let mut state = self.lock();
            state.stats.end(&call.dealt.fate, ended, ran);
            if let (Ended::Cancelled, Some(Served { start, turn })) = (ended, call.served) {
                state.stats.waste(turn.work_after(start.elapsed()));
            }
            call.dealt
        };
        let outcome = Outcome { tool: &self.settings.name, call, instance, fate, ended, ran };
        outcome::trace(&outcome);
        if let Some(listener) = &self.settings.listener {
            listener.outcome(&outcome);
        }
    }
}

impl Service<ToolRequest> for Tool {
    type Response = ToolReply;
    type Error = ToolError;
    type Future = ToolFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: ToolRequest) -> ToolFuture {
        let call = self.shared.deal();
        ToolFuture::new(self.shared.clone(), request.query, call)
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { faults, seed, name, capacity, .. } = &self.shared.settings;
        f.debug_struct("Tool")
            .field("name", name)
            .field("seed", seed)
            .field("faults", faults)
            .field("capacity", capacity)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
