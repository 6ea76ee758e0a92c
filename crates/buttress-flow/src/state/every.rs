use std::time::Duration;

/// How often a state is saved: every so many steps, every so often, or whatever comes first.
///
/// ```
/// use std::time::Duration;
/// use buttress_flow::state::Every;
///
/// let every = Every::steps(10).or_interval(Duration::from_secs(60));
/// # let _ = every;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every {
    steps: Option<u32>,
    interval: Option<Duration>,
}

impl Every {
    /// After so many steps; after each for 0 and 1.
    pub const fn steps(steps: u32) -> Self {
        Self { steps: Some(steps), interval: None }
    }

    /// At the first step after so much time.
    pub const fn interval(interval: Duration) -> Self {
        Self { steps: None, interval: Some(interval) }
    }

    /// After so many steps, too.
    #[must_use]
    pub const fn or_steps(mut self, steps: u32) -> Self {
        self.steps = Some(steps);
        self
    }

    /// At the first step after so much time, too.
    #[must_use]
    pub const fn or_interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Whether a save is due, so many steps and so long after the last was.
    pub(super) fn is_due(self, steps: u32, elapsed: Duration) -> bool {
        self.steps.is_some_and(|most| steps >= most)
            || self.interval.is_some_and(|most| elapsed >= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_comes_first_makes_it_due() {
        let second = Duration::from_secs(1);
        let both = Every::steps(3).or_interval(10 * second);
        assert_eq!(both, Every::interval(10 * second).or_steps(3));
        for (every, steps, elapsed, due) in [
            (Every::steps(3), 2, 99 * second, false),
            (Every::steps(3), 3, Duration::ZERO, true),
            (Every::steps(0), 1, Duration::ZERO, true),
            (Every::interval(second), 99, second / 2, false),
            (Every::interval(second), 1, second, true),
            (both, 2, 9 * second, false),
            (both, 3, Duration::ZERO, true),
            (both, 1, 10 * second, true),
        ] {
            assert_eq!(every.is_due(steps, elapsed), due, "{every:?} {steps} {elapsed:?}");
        }
    }
}
