use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{Tier, chain::Chain};

/// What is counted. Nothing of it while the primary answers.
#[derive(Debug)]
pub(super) struct Counts {
    fallen_back: AtomicU64,
    failed: AtomicU64,
    /// Of the tiers after the primary.
    answered: Vec<AtomicU64>,
}

impl Counts {
    pub(super) fn of(chain: &Chain) -> Arc<Self> {
        Arc::new(Self {
            fallen_back: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            answered: (1..chain.len()).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    pub(super) fn fell_back(&self) {
        self.fallen_back.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(super) fn answered(&self, place: usize) {
        if let Some(count) = place.checked_sub(1).and_then(|other| self.answered.get(other)) {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// Tells how often the primary was not enough, and who answered then.
///
/// What the primary answers is not counted: it would cost each call.
///
/// # Clone
/// Clones count the same. Get one from the finished layer: adding or naming a tier makes new
/// counts.
#[derive(Clone)]
pub struct FallbackHandle {
    chain: Chain,
    counts: Arc<Counts>,
}

impl FallbackHandle {
    pub(super) const fn new(chain: Chain, counts: Arc<Counts>) -> Self {
        Self { chain, counts }
    }

    /// The tiers in their order, the primary first.
    pub fn tiers(&self) -> impl Iterator<Item = &Tier> {
        self.chain.tiers()
    }

    /// How many calls went on past the primary.
    pub fn fallen_back(&self) -> u64 {
        self.counts.fallen_back.load(Relaxed)
    }

    /// How many calls each of the tiers after the primary has answered, in their order.
    pub fn answered(&self) -> impl Iterator<Item = (&Tier, u64)> {
        let counts = self.counts.answered.iter().map(|count| count.load(Relaxed));
        self.chain.tiers().skip(1).zip(counts)
    }

    /// How many calls went on past the primary and ended with a failure all the same.
    pub fn failed(&self) -> u64 {
        self.counts.failed.load(Relaxed)
    }
}

impl fmt::Debug for FallbackHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackHandle")
            .field("fallen_back", &self.fallen_back())
            .field("answered", &self.answered().map(|(_, count)| count).collect::<Vec<_>>())
            .field("failed", &self.failed())
            .finish()
    }
}
