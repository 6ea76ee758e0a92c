//! What a call holds while it runs.

use std::{fmt, sync::Arc, task::Waker};

use tokio::time::Instant;

use super::{circuit::Pass, switch::Switch, waiters::Seat};
use crate::{Deadline, Rejection, Verdict};

/// The permission for one call, and the duty to tell what came of it.
///
/// Dropped without having told, whether by a caller that gave up or by a panic, it reports the
/// call as abandoned. It may be moved to wherever the outcome is known, such as a response body.
pub(crate) struct Guard {
    /// Taken when the outcome is told.
    switch: Option<Arc<Switch>>,
    pass: Pass,
    /// When the call was first pending.
    started: Option<Instant>,
    /// The deadline around the call, as of then, if it had not passed.
    deadline: Option<Instant>,
}

impl Guard {
    #[inline]
    pub(super) const fn new(switch: Arc<Switch>, pass: Pass) -> Self {
        Self { switch: Some(switch), pass, started: None, deadline: None }
    }

    /// Takes note that the call is pending. Only the first time costs anything.
    pub(crate) fn pending(&mut self) {
        if self.started.is_none() {
            let now = Instant::now();
            self.started = Some(now);
            // A call that comes too late says nothing of the dependency.
            self.deadline = Deadline::current().filter(|end| *end > now);
        }
    }

    /// Tells what came of the call. Only the first time tells anything.
    #[inline]
    pub(crate) fn settle(&mut self, verdict: Verdict) {
        if let Some(switch) = self.switch.take() {
            switch.settle(self.pass, verdict, self.started);
        }
    }

    /// Whether nothing changed since the permission was given.
    pub(super) fn is_current(&self) -> bool {
        self.switch.as_ref().is_some_and(|switch| switch.is_current(self.pass))
    }

    /// Sets who is woken when the circuit changes.
    pub(super) fn watch(&self, seat: &mut Option<Seat>, waker: &Waker) {
        if seat.is_none() {
            *seat = self.switch.clone().map(Seat::new);
        }
        if let Some(seat) = seat {
            seat.register(waker);
        }
    }

    /// Asks again for permission, if it was lost since it was given.
    pub(super) fn renew(&mut self) -> Result<(), Rejection> {
        // What is lost needs not be given back, so the former pass is simply forgotten.
        if let Some(switch) = self.switch.take_if(|switch| !switch.still_stands(self.pass)) {
            *self = switch.admit()?;
        }
        Ok(())
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        if let Some(switch) = self.switch.take() {
            switch.abandon(self.pass, self.started, self.deadline);
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("pass", &self.pass).field("started", &self.started).finish()
    }
}

/// A place among the probes that is kept for a call to come.
pub(super) struct Lease {
    switch: Arc<Switch>,
    pass: Pass,
    /// When patience with it ends.
    until: Option<Instant>,
    begun: bool,
}

impl Lease {
    pub(super) const fn new(switch: Arc<Switch>, pass: Pass, until: Option<Instant>) -> Self {
        Self { switch, pass, until, begun: false }
    }

    /// Whether it may still be good.
    pub(super) fn is_current(&self) -> bool {
        self.switch.is_current(self.pass) && self.until.is_none_or(|until| Instant::now() < until)
    }

    /// Makes a call of it; `None` if it ran out.
    pub(super) fn begin(mut self) -> Option<Guard> {
        self.begun = self.switch.begin(self.pass);
        self.begun.then(|| Guard::new(self.switch.clone(), self.pass))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.begun {
            self.switch.release(self.pass);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.pass).finish()
    }
}
