//! What a call keeps where not all goes well.

use std::pin::Pin;

use tokio::time::Sleep;

use crate::{Why, Withdrawal};

/// What is needed only where not all goes well.
pub(super) struct Aside<Res, Err> {
    pub(super) patience: Option<Pin<Box<Sleep>>>,
    /// The most telling failure so far.
    pub(super) best: Option<Failure<Res, Err>>,
    /// Why the call goes to another replica, until it is told to which.
    pub(super) diverted: Option<Why>,
    /// Paid for the attempt to come, and not yet spent.
    pub(super) withdrawal: Option<Withdrawal>,
    /// What the running attempt cost, should it turn out that it was never sent.
    pub(super) cost: u32,
}

impl<Res, Err> Default for Aside<Res, Err> {
    fn default() -> Self {
        Self { patience: None, best: None, diverted: None, withdrawal: None, cost: 0 }
    }
}

pub(super) struct Failure<Res, Err> {
    pub(super) outcome: Result<Res, Err>,
    pub(super) rank: Rank,
}

/// How much an outcome tells. The later of equals is kept, but the first error of readiness.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    NotReady,
    Refused,
    Real,
}
