//! Where a service instance stands before the limit.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{
    gate::{Entry, Gate},
    guard::Guard,
};
use crate::Rejection;

/// Waits for a permit, and keeps it for the call to come.
pub(super) struct Place {
    gate: Arc<Gate>,
    /// What became of asking; `None` if nothing was asked for since the last call.
    entry: Option<Entry>,
}

impl Place {
    pub(super) const fn new(gate: Arc<Gate>) -> Self {
        Self { gate, entry: None }
    }

    pub(super) const fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Waits for a permit; ready with `false` if there is to be none.
    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match &self.entry {
            Some(Entry::Admitted(_)) => {}
            None => match self.gate.take() {
                Some(permit) => self.entry = Some(Entry::Admitted(permit)),
                None => return self.poll_slowly(cx),
            },
            Some(Entry::InLine(_) | Entry::Refused) => return self.poll_slowly(cx),
        }
        Poll::Ready(true)
    }

    #[inline(never)]
    fn poll_slowly(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.entry.is_none() {
            self.entry = Some(self.gate.ask(cx.waker()));
        }
        if let Some(Entry::InLine(wait)) = &mut self.entry {
            let granted = ready!(wait.poll(cx));
            self.entry = Some(granted.map_or(Entry::Refused, Entry::Admitted));
        }
        Poll::Ready(matches!(self.entry, Some(Entry::Admitted(_))))
    }

    /// Makes a call of the permit, or a refusal.
    #[inline]
    pub(super) fn begin(&mut self) -> Result<Guard, Rejection> {
        match mem::take(&mut self.entry) {
            Some(Entry::Admitted(permit)) => {
                self.gate.admit();
                Ok(Guard::new(permit))
            }
            _ => Err(self.gate.refuse()),
        }
    }

    /// Gives up whatever it holds or waits for.
    pub(super) fn let_go(&mut self) {
        self.entry = None;
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(entry) => entry.fmt(f),
            None => f.write_str("Away"),
        }
    }
}
