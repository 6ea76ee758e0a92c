//! The wait in line for a permit.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::gate::{Gate, Permit};

/// A place in line. Dropped, it is given up, and what was granted meanwhile goes to the next.
pub(super) struct Wait {
    gate: Arc<Gate>,
    /// `None` once the wait is over.
    number: Option<u64>,
    /// When it began, where the limit adapts.
    joined: Option<Instant>,
    /// When patience ends, where it does.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    pub(super) fn new(gate: Arc<Gate>, number: u64) -> Self {
        let end = gate.settings.patience.and_then(|patience| Instant::now().checked_add(patience));
        let joined = gate.is_adaptive().then(Instant::now);
        let mut wait = Self { gate, number: Some(number), joined, timer: None };
        // Panics outside of a runtime: the place in line has an owner by now that gives it up.
        wait.timer = end.map(|end| Box::pin(sleep_until(end)));
        wait
    }

    /// Waits for the permit; `None` if that took too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Permit>> {
        let Some(number) = self.number else { return Poll::Ready(None) };
        if let Some(permit) = self.gate.fetch(number, cx.waker()) {
            self.number = None;
            return Poll::Ready(Some(self.mark(permit)));
        }
        match &mut self.timer {
            Some(timer) => ready!(timer.as_mut().poll(cx)),
            None => return Poll::Pending,
        }
        Poll::Ready(self.leave())
    }

    /// Leaves the line; with the permit, if one was granted before that.
    fn leave(&mut self) -> Option<Permit> {
        let permit = self.gate.leave(self.number.take()?)?;
        Some(self.mark(permit))
    }

    fn mark(&self, mut permit: Permit) -> Permit {
        if let Some(joined) = self.joined {
            permit.mark(joined.elapsed());
        }
        permit
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("number", &self.number)
            .field("until", &self.timer.as_ref().map(|timer| timer.deadline()))
            .finish()
    }
}
