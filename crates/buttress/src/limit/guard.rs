//! What a call holds while it runs.

use tokio::time::Instant;

use super::gate::Permit;
use crate::{Deadline, Verdict};

/// The permit for one call, and the duty to tell what came of it.
///
/// Dropped without having told, whether by a caller that gave up or by a panic, it gives the
/// permit back all the same. It may be moved to wherever the outcome is known, such as a response
/// body.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Taken when the outcome is told.
    permit: Option<Permit>,
    /// When the call was first pending, where the limit adapts.
    started: Option<Instant>,
    /// The deadline around the call, as of then.
    deadline: Option<Instant>,
}

impl Guard {
    #[inline]
    pub(super) const fn new(permit: Permit) -> Self {
        Self { permit: Some(permit), started: None, deadline: None }
    }

    /// Takes note that the call is pending. Only the first time costs anything.
    #[inline]
    pub(crate) fn pending(&mut self) {
        let adaptive = self.permit.as_ref().is_some_and(|permit| permit.gate().is_adaptive());
        if adaptive && self.started.is_none() {
            self.started = Some(Instant::now());
            self.deadline = Deadline::current();
        }
    }

    /// Tells what came of the call, and gives the permit back; `lapsed` if a time limit inside
    /// ended just then. Only the first time tells anything.
    #[inline]
    pub(crate) fn settle(&mut self, verdict: Verdict, lapsed: bool) {
        if let Some(permit) = self.permit.take() {
            permit.settle(verdict, lapsed, self.started);
        }
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            permit.abandon(self.started, self.deadline);
        }
    }
}
