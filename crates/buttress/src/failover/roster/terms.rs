//! What does not change while a roster lives.

use crate::Backoff;

/// What does not change while a roster lives. Times are in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(in crate::failover) struct Terms {
    pub(in crate::failover) order: Order,
    /// So many failures in a row make a replica look ill.
    pub(in crate::failover) failures: u32,
    /// So large a share of failures does.
    pub(in crate::failover) rate: f64,
    /// If there were so many calls.
    pub(in crate::failover) fewest_calls: u64,
    /// The stretch of time that the share is taken of: the running one and the one before.
    pub(in crate::failover) stretch: u64,
    /// So many times slower than the median of the others does.
    pub(in crate::failover) slower: f64,
    /// If it is slower by so much.
    pub(in crate::failover) slower_by: u64,
    pub(in crate::failover) ejection: Backoff,
    /// The largest share that may be ejected at the same time.
    pub(in crate::failover) most_ejected: f64,
    /// When more than this share looks ill, all are used.
    pub(in crate::failover) panic_above: f64,
    pub(in crate::failover) slow_start: u64,
    /// The longest that a throttled reply is heeded.
    pub(in crate::failover) longest_rest: u64,
}

/// Who is called first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::failover) enum Order {
    /// All are, in turns.
    Active(Balance),
    /// The active one is.
    Passive { hold_down: u64, fail_back: bool },
}

/// How calls are spread over the replicas that are well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Balance {
    /// Draws two replicas at random and takes the one with less to do: the default.
    ///
    /// Nearly as even as the least load, and callers that know the load a little late, or each
    /// only their own, do not all run to the same replica. Michael Mitzenmacher, *The Power of
    /// Two Choices in Randomized Load Balancing* (2001).
    #[default]
    TwoChoices,
    /// Takes the replica with the least to do, one of them at random if there are several.
    LeastLoad,
}
