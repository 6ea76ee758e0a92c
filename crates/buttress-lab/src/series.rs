//! What happened when: counts per stretch of time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many stretches a series has at most.
const MOST: usize = 2_000;

/// Counts per stretch of time, from the start of an arm on.
///
/// All stretches are equally long. A series that gets too long for its memory makes them twice as
/// long, whatever the order in which it was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    width: Duration,
    stretches: Vec<Stretch>,
}

/// What happened in one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Requests that were to begin.
    pub offered: u64,
    /// Requests that ended in a right answer.
    pub answered: u64,
    /// Requests that ended in anything else.
    pub failed: u64,
    /// Tool calls that were launched.
    pub calls: u64,
}

impl Stretch {
    fn merged(&self, other: &Self) -> Self {
        Self {
            offered: self.offered + other.offered,
            answered: self.answered + other.answered,
            failed: self.failed + other.failed,
            calls: self.calls + other.calls,
        }
    }
}

impl Series {
    /// A series without anything in it; `width`, above 0, is how long its stretches are.
    pub fn new(width: Duration) -> Self {
        Self { width: width.max(Duration::from_nanos(1)), stretches: Vec::new() }
    }

    /// The stretch that a time lies in.
    pub fn at(&mut self, time: Duration) -> &mut Stretch {
        let index = loop {
            let index = time.as_nanos() / self.width.as_nanos();
            match usize::try_from(index) {
                Ok(index) if index < MOST => break index,
                _ => self.halve(),
            }
        };
        if self.stretches.len() <= index {
            self.stretches.resize(index + 1, Stretch::default());
        }
        &mut self.stretches[index]
    }

    /// How long each stretch is.
    pub fn width(&self) -> Duration {
        self.width
    }

    /// The stretches from the first on.
    pub fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// The same with at most so many stretches, the longer for it.
    #[must_use]
    pub fn coarsened(mut self, most: usize) -> Self {
        while self.stretches.len() > most.max(1) {
            self.halve();
        }
        self
    }

    /// The same with stretches at least as long as `width`.
    #[must_use]
    pub fn widened(mut self, width: Duration) -> Self {
        while self.width < width {
            self.halve();
        }
        self
    }

    fn halve(&mut self) {
        self.width = self.width.saturating_mul(2);
        let pairs = self.stretches.chunks(2);
        self.stretches = pairs
            .map(|pair| pair.iter().fold(Stretch::default(), |sum, one| sum.merged(one)))
            .collect();
    }
}

/// Writes a series while an arm runs. Clones write to the same one.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    start: Instant,
    series: Arc<Mutex<Series>>,
}

impl Recorder {
    /// Counts time from now on.
    pub(crate) fn start(width: Duration) -> Self {
        Self { start: Instant::now(), series: Arc::new(Mutex::new(Series::new(width))) }
    }

    /// A request is to begin.
    pub(crate) fn offered(&self, at: Instant) {
        self.lock().at(self.since(at)).offered += 1;
    }

    /// A request has ended.
    pub(crate) fn ended(&self, at: Instant, is_answered: bool) {
        let mut series = self.lock();
        let stretch = series.at(self.since(at));
        *(if is_answered { &mut stretch.answered } else { &mut stretch.failed }) += 1;
    }

    /// A tool call is launched now.
    pub(crate) fn called(&self) {
        self.lock().at(self.start.elapsed()).calls += 1;
    }

    /// What was written so far.
    pub(crate) fn series(&self) -> Series {
        self.lock().clone()
    }

    fn since(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    fn lock(&self) -> MutexGuard<'_, Series> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offered(width: u64, times: &[u64]) -> Series {
        let mut series = Series::new(Duration::from_millis(width));
        for time in times {
            series.at(Duration::from_millis(*time)).offered += 1;
        }
        series
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_order_plays_no_part(
            width in 1_u64..500, mut times in prop::collection::vec(0_u64..10_000_000, 1..50),
        ) {
            let series = offered(width, &times);
            times.reverse();
            prop_assert_eq!(&series, &offered(width, &times));
            prop_assert!(series.stretches().len() <= MOST);
            for (stretch, index) in series.stretches().iter().zip(0_u32..) {
                let (from, to) = (series.width() * index, series.width() * (index + 1));
                let within = |time: &&u64| (from..to).contains(&Duration::from_millis(**time));
                prop_assert_eq!(stretch.offered, times.iter().filter(within).count() as u64);
            }
        }
    }

    #[test]
    fn a_coarse_series_counts_the_same() {
        let fine = offered(1_000, &[0, 500, 1_500, 2_000, 4_999]);
        let counts =
            |series: &Series| series.stretches().iter().map(|s| s.offered).collect::<Vec<_>>();
        assert_eq!(counts(&fine), [2, 1, 1, 0, 1]);
        let coarse = fine.coarsened(3);
        assert_eq!((coarse.width().as_secs(), counts(&coarse)), (2, vec![3, 1, 1]));
    }
}
