use std::time::Duration;

use super::delay::Delay;

/// A view of a hedge layer's delay.
///
/// # Clone
/// Clones look at the same layer.
#[derive(Clone, Debug)]
pub struct HedgeHandle {
    delay: Delay,
}

impl HedgeHandle {
    pub(super) const fn new(delay: Delay) -> Self {
        Self { delay }
    }

    /// The delay before the second attempt; `None` while a second attempt does not pay, or too
    /// little is known to tell.
    pub fn delay(&self) -> Option<Duration> {
        self.delay.gap(1)
    }
}
