//! How much a tool can do at a time.

use std::num::NonZero;

use crate::{FailKind, Fate, Takes};

/// The workers of a tool, and the queue before them.
///
/// A call is taken up by the first worker that is free, in the order in which calls were made, and
/// keeps it for as long as it takes. The others wait, and their time counts from there.
///
/// The tool does not notice that a caller has gone: its call keeps its place in the queue, and then
/// its worker, to the end. That is how real servers mostly are, and why an overload may outlast its
/// cause: they are busy with what nobody waits for.
///
/// ```
/// use std::{num::NonZero, time::Duration};
/// use buttress_sim::{Capacity, Faults, Tool, ToolError, ToolRequest};
/// use tower::{Service, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let second = Duration::from_secs(1);
/// let one = Capacity::workers(NonZero::<u32>::MIN).queue(1);
/// let mut tool = Tool::new(Faults::none().fast_takes(second), 7).capacity(one);
///
/// let start = tokio::time::Instant::now();
/// let [first, second, third] = [(); 3].map(|()| tool.call(ToolRequest::from("user profile")));
/// assert!(matches!(third.await, Err(ToolError::Failed(_))));
/// assert_eq!(tool.stats().queued, 1);
/// drop(first); // The worker goes on with it.
/// assert!(second.await.is_ok());
/// assert_eq!(start.elapsed().as_secs(), 2);
/// assert_eq!(tool.stats().wasted.as_secs(), 1);
/// # }
/// ```
///
/// A call whose fate takes no time, such as a connection that is refused, needs no worker. One that
/// hangs keeps its worker for ever.
///
/// # Defaults
/// The queue has no end. A call that finds a queue full fails at once as
/// [`FailKind::Unavailable`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    workers: NonZero<u32>,
    queue: usize,
    when_full: Fate<Takes>,
}

impl Capacity {
    /// So many calls at a time.
    pub const fn workers(workers: NonZero<u32>) -> Self {
        let when_full = Fate::Fail { kind: FailKind::Unavailable, after: Takes::NOTHING };
        Self { workers, queue: usize::MAX, when_full }
    }

    /// Sets how many calls may wait, 0 for none; without end by default.
    #[must_use]
    pub const fn queue(mut self, most: usize) -> Self {
        self.queue = most;
        self
    }

    /// Sets what becomes of calls that find the queue full; they fail at once by default.
    #[must_use]
    pub const fn when_full(mut self, fate: Fate<Takes>) -> Self {
        self.when_full = fate;
        self
    }

    pub(crate) const fn refusal(&self) -> Fate<Takes> {
        self.when_full
    }

    pub(crate) const fn places(&self) -> (usize, usize) {
        (self.workers.get() as usize, self.queue)
    }
}
