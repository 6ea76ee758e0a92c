//! A service instance's place in the queue before an open circuit, in the mode of backpressure.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    guard::{Guard, Lease},
    switch::Switch,
};

/// Waits until a call may pass. Everything is made only once the circuit is found open.
pub(super) struct Place {
    switch: Arc<Switch>,
    lease: Option<Lease>,
    timer: Option<Pin<Box<Sleep>>>,
    ticket: Option<u64>,
}

impl Place {
    pub(super) const fn new(switch: Arc<Switch>) -> Self {
        Self { switch, lease: None, timer: None, ticket: None }
    }

    /// Waits until a call may pass, and keeps a place for it where places are few.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.lease.as_ref().is_some_and(Lease::is_current) {
            return Poll::Ready(());
        }
        self.lease = None;
        loop {
            if let Some(ticket) = self.ticket {
                self.switch.waiters().register(ticket, cx.waker());
            }
            let until = match self.switch.lease() {
                Ok(lease) => {
                    self.lease = lease;
                    self.leave();
                    return Poll::Ready(());
                }
                Err(until) => until,
            };
            if self.ticket.is_none() {
                // The circuit is asked again once the waker is in place, lest a change in between
                // go unheard.
                self.ticket = Some(self.switch.waiters().ticket());
                continue;
            }
            match until {
                Some(until) if self.timer(until).as_mut().poll(cx).is_ready() => {}
                _ => return Poll::Pending,
            }
        }
    }

    /// Makes a call of what is kept, if anything is.
    pub(super) fn begin(&mut self) -> Option<Guard> {
        self.lease.take()?.begin()
    }

    fn timer(&mut self, until: Instant) -> &mut Pin<Box<Sleep>> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer
    }

    fn leave(&mut self) {
        self.timer = None;
        if let Some(ticket) = self.ticket.take() {
            self.switch.waiters().remove(ticket);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("lease", &self.lease)
            .field("waiting", &self.ticket.is_some())
            .finish()
    }
}
