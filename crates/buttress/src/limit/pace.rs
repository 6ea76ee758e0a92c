//! How fast calls get through; looked at only when one is refused.

use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
/// How far it looks back, at least; at most twice as far.
const WINDOW: u64 = 10 * SECOND;
/// Below the resolution of timers nobody can wait.
const SHORTEST: u64 = SECOND / 1_000;
/// Further than this nothing is foreseen.
const LONGEST: u64 = 60 * SECOND;

/// Estimates when a call that is refused would have had its turn.
///
/// Nothing is known at first. It is then taken that a call lasts a second, until as many calls as
/// may run at once have shown how long they do.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Where it counts from, and where it will count from next.
    from: Option<Mark>,
    next: Option<Mark>,
}

/// How many calls had been let through by a time.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: u64,
    admitted: u64,
}

impl Pace {
    /// How long a call would wait behind so many others, by the pace at which calls are let
    /// through while others are refused.
    pub(super) fn wait(&mut self, now: u64, admitted: u64, ahead: u32, limit: u32) -> Duration {
        let here = Mark { at: now, admitted };
        let age = |mark: Option<Mark>| mark.map_or(u64::MAX, |mark| now.saturating_sub(mark.at));
        if age(self.next) >= 2 * WINDOW {
            // Nobody was refused for long: what was seen then says nothing.
            (self.from, self.next) = (Some(here), Some(here));
        } else if age(self.next) >= WINDOW {
            (self.from, self.next) = (self.next, Some(here));
        }
        let from = self.from.unwrap_or(here);
        let time = now.saturating_sub(from.at) + SECOND;
        let calls = admitted.saturating_sub(from.admitted) + u64::from(limit);
        let nanos = u128::from(time) * u128::from(ahead + 1) / u128::from(calls.max(1));
        let nanos = u64::try_from(nanos).unwrap_or(LONGEST);
        Duration::from_nanos(nanos.clamp(SHORTEST, LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MILLI: u64 = 1_000_000;

    fn seconds(wait: Duration) -> f64 {
        wait.as_secs_f64()
    }

    #[test]
    fn a_call_is_taken_to_last_a_second_at_first() {
        assert_eq!(seconds(Pace::default().wait(5, 1_000, 9, 10)), 1.0);
        assert_eq!(seconds(Pace::default().wait(5, 1_000, 0, 10)), 0.1);
    }

    #[test]
    fn learns_how_long_calls_last() {
        let mut pace = Pace::default();
        // Ten at a time, each for 200 ms: 50 a second.
        let mut wait = Duration::ZERO;
        for tenth in 0..=1_000 {
            wait = pace.wait(tenth * 100 * MILLI, tenth * 5, 4, 10);
        }
        assert!((seconds(wait) - 0.1).abs() < 0.02, "{wait:?}");
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut pace = Pace::default();
        for second in 0..30 {
            pace.wait(second * SECOND, second * 1_000, 9, 10);
        }
        // After an idle hour, as at first.
        assert_eq!(seconds(pace.wait(3_600 * SECOND, 29_000, 9, 10)), 1.0);
    }

    #[test]
    fn what_hangs_is_not_expected_soon_nor_beyond_a_minute() {
        let mut pace = Pace::default();
        pace.wait(0, 10, 9, 10);
        assert_eq!(seconds(pace.wait(9 * SECOND, 10, 9, 10)), 10.0);
        assert_eq!(seconds(pace.wait(9 * SECOND, 10, 900, 10)), 60.0);
    }

    proptest! {
        #[test]
        fn is_always_a_time_that_one_can_wait(
            looks in prop::collection::vec((0..100 * SECOND, 0..1_000_u64, any::<u16>(), 1..5_000_u32), 1..20),
        ) {
            let mut pace = Pace::default();
            let (mut now, mut admitted) = (0, 0);
            for (later, more, ahead, limit) in looks {
                (now, admitted) = (now + later, admitted + more);
                let wait = pace.wait(now, admitted, u32::from(ahead), limit);
                prop_assert!(wait >= Duration::from_millis(1) && wait <= Duration::from_secs(60));
            }
        }
    }
}
