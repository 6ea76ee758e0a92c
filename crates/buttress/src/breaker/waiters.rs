//! Those who wait for a closed door, and how they are told to try it again.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
    task::Waker,
};

use super::switch::Switch;

/// The wakers of the service instances that wait, at most one for each.
#[derive(Default)]
pub(super) struct Waiters(Mutex<List>);

#[derive(Default)]
struct List {
    wakers: BTreeMap<u64, Waker>,
    tickets: u64,
}

impl Waiters {
    /// The number under which one instance waits.
    pub(super) fn ticket(&self) -> u64 {
        self.with(|list| {
            list.tickets += 1;
            list.tickets
        })
    }

    /// Sets who is woken for a ticket. Look at the circuit after this, not before.
    pub(super) fn register(&self, ticket: u64, waker: &Waker) {
        // What is replaced is dropped outside of the lock: it is the runtime's code.
        let _replaced = self.with(|list| list.wakers.insert(ticket, waker.clone()));
    }

    pub(super) fn remove(&self, ticket: u64) {
        let _removed = self.with(|list| list.wakers.remove(&ticket));
    }

    pub(super) fn wake_all(&self) {
        let wakers = self.with(|list| mem::take(&mut list.wakers));
        for waker in wakers.into_values() {
            waker.wake();
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut List) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One who waits for something else, and wants to know if the door closes meanwhile.
pub(super) struct Seat {
    switch: Arc<Switch>,
    ticket: u64,
}

impl Seat {
    pub(super) fn new(switch: Arc<Switch>) -> Self {
        let ticket = switch.waiters().ticket();
        Self { switch, ticket }
    }

    /// Sets who is woken. Look at the circuit after this, not before.
    pub(super) fn register(&self, waker: &Waker) {
        self.switch.waiters().register(self.ticket, waker);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.switch.waiters().remove(self.ticket);
    }
}

impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|list| write!(f, "{} waiting", list.wakers.len()))
    }
}
