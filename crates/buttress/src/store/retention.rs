//! How much is kept.

use std::{num::NonZeroU64, time::Duration};

/// How much is kept.
///
/// Versions are dropped as new ones are written; workflows when the store is [pruned](super::Store::prune). The newest
/// record of every step stays as long as its workflow, so what was done is never done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many of the newest versions of a workflow are kept; 32 by default.
    pub versions: NonZeroU64,
    /// Whether failures are kept beyond that; they are by default.
    pub failures: bool,
    /// How long ended and deleted workflows are kept; 30 days by default, `None` for ever.
    pub ended: Option<Duration>,
    /// How long workflows are kept that were neither ended nor written to, and have no step in doubt;
    /// 90 days by default, `None` for ever.
    pub open: Option<Duration>,
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

impl Default for Retention {
    fn default() -> Self {
        const VERSIONS: NonZeroU64 = NonZeroU64::new(32).expect("32 is not 0");
        Self { versions: VERSIONS, failures: true, ended: Some(30 * DAY), open: Some(90 * DAY) }
    }
}
