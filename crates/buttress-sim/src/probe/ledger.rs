use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::{Mutex, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use buttress::Verdict;

/// How a call of the probe goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It answers.
    Answer {
        /// The time from the first poll to the answer.
        after: Duration,
    },
    /// It fails.
    Fail {
        /// What the error says of itself.
        verdict: Verdict,
        /// The time from the first poll to the error.
        after: Duration,
    },
    /// It never ends, unless [`ProbeHandle::end`](super::ProbeHandle::end) ends it.
    Hang,
    /// Its future panics when it is first polled.
    Panic,
}

impl Act {
    /// An answer at once.
    pub const fn answer() -> Self {
        Self::Answer { after: Duration::ZERO }
    }

    /// An error at once.
    pub const fn fail(verdict: Verdict) -> Self {
        Self::Fail { verdict, after: Duration::ZERO }
    }
}

/// How one poll for readiness goes, of an instance that is not ready yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Pending, until polled again; [`ProbeHandle::wake`](super::ProbeHandle::wake) wakes it.
    Pending,
    /// An error, which says this of itself.
    Fail(Verdict),
}

/// How long a call keeps its permit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// Until the call has ended.
    #[default]
    Answer,
    /// Until its future is dropped.
    Future,
    /// Until its reply is dropped, as a response with a body does; errors release it at once.
    Reply,
}

/// What is alive at the probe, and what has been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Instances alive: the service and its clones.
    pub instances: u64,
    /// Instances that are pending on readiness, or were given a permit and not polled since.
    pub waiting: u64,
    /// Instances that hold a permit without a call: ready, or given one and not polled since.
    pub reservations: u64,
    /// Calls whose future has neither ended nor been dropped.
    pub in_flight: u64,
    /// Futures alive, those that have ended included.
    pub futures: u64,
    /// Replies alive.
    pub replies: u64,
    /// Permits that nobody holds.
    pub free: u64,

    /// Clones made of instances, so far.
    pub clones: u64,
    /// Calls made, so far.
    pub calls: u64,
    /// Calls answered, so far.
    pub answered: u64,
    /// Calls failed, so far.
    pub failed: u64,
    /// Calls that panicked as planned, so far.
    pub panicked: u64,
    /// Futures dropped before their first poll, so far.
    pub dropped_unpolled: u64,
    /// Futures dropped between their first poll and their end, so far.
    pub dropped_running: u64,
    /// Polls of futures, so far.
    pub polls: u64,
    /// Polls for readiness, so far.
    pub readiness_polls: u64,
    /// Clones made of requests from [`ProbeHandle::request`](super::ProbeHandle::request), so far.
    pub copies: u64,
    /// The most calls in flight at one time.
    pub max_in_flight: u64,
    /// The most reservations at one time.
    pub max_reservations: u64,
}

/// The books of a probe: everything but the waiting and polling.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) hold: Hold,
    pub(super) blocked: bool,
    pub(super) readiness: VecDeque<Readiness>,
    pub(super) script: VecDeque<Act>,
    pub(super) otherwise: Act,
    /// Instances that wait for a permit, in the order in which they asked.
    queue: VecDeque<u64>,
    instances: BTreeMap<u64, State>,
    hanging: BTreeMap<u64, Hanging>,
    last_instance: u64,
    pub(super) counts: Counts,
}

/// The readiness of an instance.
#[derive(Debug)]
enum State {
    Idle,
    Waiting(Waker),
    /// Given a permit, and not polled since.
    Granted,
    Ready,
    Failed,
}

/// A call that hangs.
#[derive(Debug)]
enum Hanging {
    Waiting(Waker),
    Ended(Act),
}

/// What is left to do once the books are closed: both run code of others.
#[derive(Debug, Default)]
pub(super) struct After {
    wake: Vec<Waker>,
    discard: Vec<Waker>,
}

#[derive(Debug)]
pub(super) struct Shared(Mutex<Ledger>);

impl Shared {
    pub(super) const fn new(ledger: Ledger) -> Self {
        Self(Mutex::new(ledger))
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Ledger, &mut After) -> T) -> T {
        let mut after = After::default();
        // A panic that is planned, or that reports misuse, happens outside.
        let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut ledger, &mut after);
        drop(ledger);
        after.wake.into_iter().for_each(Waker::wake);
        drop(after.discard);
        done
    }
}

impl Ledger {
    pub(super) fn new(permits: u64) -> Self {
        Self {
            hold: Hold::default(),
            blocked: false,
            readiness: VecDeque::new(),
            script: VecDeque::new(),
            otherwise: Act::answer(),
            queue: VecDeque::new(),
            instances: BTreeMap::new(),
            hanging: BTreeMap::new(),
            last_instance: 0,
            counts: Counts { free: permits, ..Counts::default() },
        }
    }

    pub(super) fn add_instance(&mut self) -> u64 {
        self.last_instance += 1;
        self.instances.insert(self.last_instance, State::Idle);
        self.counts.instances += 1;
        self.last_instance
    }

    pub(super) fn remove_instance(&mut self, id: u64, after: &mut After) {
        self.leave_queue(id);
        match self.instances.remove(&id) {
            Some(State::Ready) => {
                self.counts.reservations -= 1;
                self.release(after);
            }
            Some(State::Granted) => {
                self.counts.reservations -= 1;
                self.counts.waiting -= 1;
                self.release(after);
            }
            Some(State::Waiting(waker)) => {
                self.counts.waiting -= 1;
                after.discard.push(waker);
                // Its place may have kept a free permit from others.
                self.grant(after);
            }
            Some(State::Idle | State::Failed) | None => {}
        }
        self.counts.instances -= 1;
    }

    /// Makes an instance ready, pending or failed; an error is what it says of itself.
    pub(super) fn poll_ready(
        &mut self,
        id: u64,
        waker: Waker,
        after: &mut After,
    ) -> Poll<Result<(), Verdict>> {
        self.counts.readiness_polls += 1;
        let (next, poll) = match self.instances.insert(id, State::Idle) {
            Some(State::Ready) => {
                after.discard.push(waker);
                (State::Ready, Poll::Ready(Ok(())))
            }
            Some(State::Granted) => {
                self.counts.waiting -= 1;
                after.discard.push(waker);
                (State::Ready, Poll::Ready(Ok(())))
            }
            before => {
                if let Some(State::Waiting(old)) = before {
                    self.counts.waiting -= 1;
                    after.discard.push(old);
                }
                self.decide(id, waker, after)
            }
        };
        self.instances.insert(id, next);
        poll
    }

    /// What becomes of an instance that holds nothing when it is polled.
    fn decide(
        &mut self,
        id: u64,
        waker: Waker,
        after: &mut After,
    ) -> (State, Poll<Result<(), Verdict>>) {
        let step = if self.blocked { Some(Readiness::Pending) } else { self.readiness.pop_front() };
        match step {
            Some(Readiness::Fail(verdict)) => {
                self.leave_queue(id);
                self.grant(after);
                after.discard.push(waker);
                return (State::Failed, Poll::Ready(Err(verdict)));
            }
            Some(Readiness::Pending) => {}
            None => {
                if !self.queue.contains(&id) {
                    self.queue.push_back(id);
                }
                if self.counts.free > 0 && self.queue.front() == Some(&id) {
                    self.queue.pop_front();
                    self.reserve();
                    after.discard.push(waker);
                    return (State::Ready, Poll::Ready(Ok(())));
                }
            }
        }
        self.counts.waiting += 1;
        (State::Waiting(waker), Poll::Pending)
    }

    fn leave_queue(&mut self, id: u64) {
        self.queue.retain(|waiting| *waiting != id);
    }

    fn reserve(&mut self) {
        self.counts.free -= 1;
        self.counts.reservations += 1;
        self.counts.max_reservations = self.counts.max_reservations.max(self.counts.reservations);
    }

    /// Takes a permit back.
    pub(super) fn release(&mut self, after: &mut After) {
        self.counts.free += 1;
        self.grant(after);
    }

    /// Gives free permits to those who wait for one.
    fn grant(&mut self, after: &mut After) {
        while self.counts.free > 0
            && !self.blocked
            && let Some(id) = self.queue.pop_front()
        {
            if let Some(state) = self.instances.get_mut(&id)
                && let State::Waiting(waker) = mem::replace(state, State::Granted)
            {
                after.wake.push(waker);
                self.reserve();
            }
        }
    }

    /// Opens or closes the gate to readiness.
    pub(super) fn block(&mut self, blocked: bool, after: &mut After) {
        self.blocked = blocked;
        if !blocked {
            self.grant(after);
            self.wake(after);
        }
    }

    /// Wakes whoever is pending on readiness.
    pub(super) fn wake(&self, after: &mut After) {
        after.wake.extend(self.waiting().cloned());
    }

    /// The wakers of the instances that are pending on readiness.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Waker> {
        self.instances.values().filter_map(|state| match state {
            State::Waiting(waker) => Some(waker),
            _ => None,
        })
    }

    /// Turns a reservation into a call: its number, how it goes, and how long its permit is held.
    /// The error is the misuse.
    pub(super) fn call(&mut self, id: u64) -> Result<(u64, Act, Hold), &'static str> {
        match self.instances.get_mut(&id) {
            Some(state @ State::Ready) => *state = State::Idle,
            Some(State::Waiting(_) | State::Granted) => {
                return Err("law 1: an instance was called while its readiness was pending");
            }
            Some(State::Failed) => {
                return Err("law 1: an instance was called after its readiness had failed; \
                            the error must be returned or count as a failed attempt");
            }
            Some(State::Idle) | None => {
                return Err("law 1: an instance was called that was not readied; \
                            ready it first, and note that a clone of a ready instance is not ready");
            }
        }
        let counts = &mut self.counts;
        counts.reservations -= 1;
        counts.calls += 1;
        counts.futures += 1;
        counts.in_flight += 1;
        counts.max_in_flight = counts.max_in_flight.max(counts.in_flight);
        let act = self.script.pop_front().unwrap_or(self.otherwise);
        Ok((self.counts.calls, act, self.hold))
    }

    /// What a hanging call is told to do by now; else it will wake the waker.
    pub(super) fn hang(&mut self, call: u64, waker: Waker, after: &mut After) -> Option<Act> {
        match self.hanging.remove(&call) {
            Some(Hanging::Ended(act)) => {
                after.discard.push(waker);
                return Some(act);
            }
            Some(Hanging::Waiting(old)) => after.discard.push(old),
            None => {}
        }
        self.hanging.insert(call, Hanging::Waiting(waker));
        None
    }

    /// Tells a hanging call how to go on.
    pub(super) fn end(&mut self, call: u64, act: Act, after: &mut After) {
        if let Some(Hanging::Waiting(waker)) = self.hanging.insert(call, Hanging::Ended(act)) {
            after.wake.push(waker);
        }
    }

    pub(super) fn forget_hanging(&mut self, call: u64, after: &mut After) {
        if let Some(Hanging::Waiting(waker)) = self.hanging.remove(&call) {
            after.discard.push(waker);
        }
    }
}
