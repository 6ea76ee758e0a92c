//! The level across calls: rises at once, falls when enough calls in a row were better.

use std::num::NonZeroU32;

use super::level::Level;

/// What it takes for the level to fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recovery {
    /// So many better calls in a row,
    pub(super) calls: NonZeroU32,
    /// and so many nanoseconds since the last that was not better.
    pub(super) time: u64,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Standing {
    recovery: Recovery,
    level: Level,
    /// How many calls in a row were better.
    row: u32,
    /// The worst of them.
    worst: Level,
    /// When the last call ended that was not better.
    since: u64,
    forced: Option<Level>,
}

/// What a call does to the level.
enum Step {
    Stay,
    /// It gets worse.
    Rise,
    /// The row of better calls starts anew.
    Anew,
    /// The row of better calls grows.
    Grow,
}

impl Standing {
    pub(super) const fn new(recovery: Recovery) -> Self {
        let level = Level::Full;
        Self { recovery, level, row: 0, worst: level, since: 0, forced: None }
    }

    /// The level that holds: the one it was forced to, or else that of the calls.
    pub(super) fn level(&self) -> Level {
        self.forced.unwrap_or(self.level)
    }

    pub(super) const fn is_forced(&self) -> bool {
        self.forced.is_some()
    }

    /// Whether a call at full level would change nothing.
    pub(super) const fn is_calm(&self) -> bool {
        matches!(self.level, Level::Full)
    }

    /// Takes note of the level of a call that ended `now`.
    pub(super) fn observe(&mut self, now: u64, observed: Level) {
        use Level::{Degraded, Full, Minimal};
        let step = match (self.level, observed) {
            (Full, Full) => Step::Stay,
            (Full, Degraded) => Step::Rise,
            (Full, Minimal) => Step::Rise,
            (Degraded, Full) => Step::Grow,
            (Degraded, Degraded) => Step::Anew,
            (Degraded, Minimal) => Step::Rise,
            (Minimal, Full) => Step::Grow,
            (Minimal, Degraded) => Step::Grow,
            (Minimal, Minimal) => Step::Anew,
        };
        match step {
            Step::Stay => {}
            Step::Rise | Step::Anew => self.settle(now, observed),
            Step::Grow => {
                self.worst = if self.row == 0 { observed } else { self.worst.max(observed) };
                self.row = self.row.saturating_add(1);
                let long = now.saturating_sub(self.since) >= self.recovery.time;
                if self.row >= self.recovery.calls.get() && long {
                    self.settle(now, self.worst);
                }
            }
        }
    }

    fn settle(&mut self, now: u64, level: Level) {
        (self.level, self.row, self.since) = (level, 0, now);
    }

    /// Holds the level, or lets it go; calls are taken note of all the same.
    pub(super) const fn force(&mut self, level: Option<Level>) {
        self.forced = level;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The level after a list of calls: told by going over all of them each time.
    ///
    /// From where the level was last set, the calls since the last one that was not better are the
    /// row; if it is long enough, in calls and in time, the level is set to the worst in it.
    fn reference(recovery: Recovery, calls: &[(u64, Level)]) -> Level {
        let (mut level, mut set) = (Level::Full, 0);
        for end in 1..=calls.len() {
            let (now, observed) = calls[end - 1];
            if observed > level {
                (level, set) = (observed, end);
                continue;
            }
            let better = calls[set..end].iter().rev().take_while(|(_, call)| *call < level);
            let row: Vec<Level> = better.map(|(_, call)| *call).collect();
            // What came before the row: the last call that was not better, or that set the level.
            let before = end - row.len();
            let since = if before == 0 { 0 } else { calls[before - 1].0 };
            let Some(worst) = row.iter().max() else { continue };
            if row.len() >= recovery.calls.get() as usize && now - since >= recovery.time {
                (level, set) = (*worst, end);
            }
        }
        level
    }

    fn recovery(calls: u32, time: u64) -> Recovery {
        Recovery { calls: NonZeroU32::new(calls).unwrap(), time }
    }

    fn after(recovery: Recovery, calls: &str) -> Vec<Level> {
        let mut standing = Standing::new(recovery);
        let level = |letter| match letter {
            'F' => Level::Full,
            'D' => Level::Degraded,
            _ => Level::Minimal,
        };
        let step = |(now, letter): (usize, char)| {
            standing.observe(now as u64, level(letter));
            standing.level()
        };
        calls.chars().enumerate().map(step).collect()
    }

    fn letters(levels: &[Level]) -> String {
        levels.iter().map(|level| level.as_str()[..1].to_uppercase()).collect()
    }

    #[test]
    fn rises_at_once_and_falls_after_a_row_of_better_calls_to_the_worst_of_them() {
        let table = [
            ("FFDFFFF", "FFDDDFF"),
            // One that is not better starts the row anew.
            ("DFFDFFF", "DDDDDDF"),
            ("MFFMFFF", "MMMMMMF"),
            // From minimal to the worst of the row, and on from there.
            ("MDFFFFF", "MMMDDDF"),
            ("MDDDFFF", "MMMDDDF"),
            ("MFFFFFF", "MMMFFFF"),
            ("DDMDDDM", "DDMMMDM"),
        ];
        for (calls, levels) in table {
            assert_eq!(letters(&after(recovery(3, 0), calls)), levels, "{calls}");
        }
        assert_eq!(letters(&after(recovery(1, 0), "MFDMDF")), "MFDMDF");
    }

    #[test]
    fn falls_no_sooner_than_the_time_allows() {
        // A call each nanosecond: five since the last bad one.
        assert_eq!(letters(&after(recovery(2, 5), "DFFFFFF")), "DDDDDFF");
        assert_eq!(letters(&after(recovery(2, 5), "DFFDFFFFF")), "DDDDDDDDF");
    }

    #[test]
    fn what_is_forced_holds_until_it_is_released() {
        let mut standing = Standing::new(recovery(1, 0));
        standing.force(Some(Level::Minimal));
        standing.observe(0, Level::Full);
        assert_eq!((standing.level(), standing.is_forced()), (Level::Minimal, true));
        standing.observe(0, Level::Degraded);
        standing.force(None);
        assert_eq!((standing.level(), standing.is_forced()), (Level::Degraded, false));
        standing.force(Some(Level::Full));
        assert_eq!(standing.level(), Level::Full);
        assert!(!standing.is_calm(), "beneath it the calls are degraded");
    }

    proptest! {
        #[test]
        fn stands_as_the_reference_does(
            calls in 1..6_u32,
            time in prop_oneof![Just(0), 0..20_u64],
            history in prop::collection::vec((0..4_u64, 0..3_usize), 0..60),
        ) {
            let recovery = recovery(calls, time);
            let mut standing = Standing::new(recovery);
            let mut ended = vec![];
            let mut now = 0;
            for (gap, level) in history {
                now += gap;
                let (before, calm) = (standing.level(), standing.is_calm());
                standing.observe(now, Level::ALL[level]);
                ended.push((now, Level::ALL[level]));
                prop_assert_eq!(standing.level(), reference(recovery, &ended));
                // It never looks better than the last call, nor worse than calls made it.
                prop_assert!(standing.level() >= Level::ALL[level]);
                prop_assert!(standing.level() <= before.max(Level::ALL[level]));
                prop_assert!(!calm || standing.level() == Level::ALL[level]);
            }
        }
    }
}
