//! How far back a rate looks, and what it sees there.

use std::{fmt, num::NonZeroU32, time::Duration};

/// How far back a rate looks: over so many calls, or over so much time.
///
/// # Defaults
/// No rate is told of fewer than 5 calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    span: Span,
    min_calls: NonZeroU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    Calls(NonZeroU32),
    Time(Duration),
}

const MIN_CALLS: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// What a window of time is cut into.
const BUCKETS: usize = 32;

impl Window {
    /// Looks at the last `calls`. They are kept as one bit each.
    pub const fn calls(calls: NonZeroU32) -> Self {
        Self { span: Span::Calls(calls), min_calls: MIN_CALLS }
    }

    /// Looks at the calls that ended within the last `time`.
    ///
    /// The window slides in steps of a 32nd of its length, and never reaches further back than
    /// `time`. Less than 32 ms is read as 32 ms.
    pub const fn time(time: Duration) -> Self {
        Self { span: Span::Time(time), min_calls: MIN_CALLS }
    }

    /// Sets how many calls it takes to tell a rate; 5 by default.
    ///
    /// A window of calls waits for no more than it holds.
    #[must_use]
    pub const fn min_calls(mut self, calls: NonZeroU32) -> Self {
        self.min_calls = calls;
        self
    }

    /// The fewest calls of which a rate is told.
    pub(super) fn fewest(&self) -> u64 {
        let fewest = match self.span {
            Span::Calls(calls) => self.min_calls.min(calls),
            Span::Time(_) => self.min_calls,
        };
        u64::from(fewest.get())
    }

    /// An empty tally of such a window.
    pub(super) fn tally(&self) -> Tally {
        match self.span {
            Span::Calls(calls) => Tally::Calls(LastCalls::new(calls)),
            Span::Time(time) => Tally::Time(LastTime::new(time)),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.span {
            Span::Calls(calls) => write!(f, "{calls} calls"),
            Span::Time(time) => write!(f, "{time:?}"),
        }
    }
}

/// The outcomes in a window. Every operation is O(1) in the number of calls.
#[derive(Debug)]
pub(super) enum Tally {
    Calls(LastCalls),
    Time(LastTime),
}

impl Tally {
    /// Takes note of one outcome at `now`, in nanoseconds that never fall.
    pub(super) fn push(&mut self, now: u64, bad: bool) {
        match self {
            Self::Calls(calls) => calls.push(bad),
            Self::Time(time) => {
                time.advance(now);
                time.add(1, u64::from(bad));
            }
        }
    }

    /// Takes note of good outcomes that came in since the last note.
    pub(super) fn credit(&mut self, good: u64) {
        match self {
            Self::Calls(calls) => calls.credit(good),
            Self::Time(time) => time.add(good, 0),
        }
    }

    pub(super) fn calls(&self) -> u64 {
        match self {
            Self::Calls(calls) => u64::from(calls.calls),
            Self::Time(time) => time.total.calls,
        }
    }

    pub(super) fn bad(&self) -> u64 {
        match self {
            Self::Calls(calls) => u64::from(calls.bad),
            Self::Time(time) => time.total.bad,
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Calls(calls) => calls.clear(),
            Self::Time(time) => time.clear(),
        }
    }

    /// Until when good outcomes may be credited later, as of now; `None` for windows without time.
    pub(super) const fn rolls_at(&self) -> Option<u64> {
        match self {
            Self::Calls(_) => None,
            Self::Time(time) => Some(time.current.saturating_add(1).saturating_mul(time.width)),
        }
    }
}

/// The last so many outcomes, one bit each in a ring: set where bad.
#[derive(Debug)]
pub(super) struct LastCalls {
    ring: Box<[u64]>,
    capacity: u32,
    /// Where the next outcome goes; once the ring is full, the oldest is there.
    next: u32,
    calls: u32,
    bad: u32,
}

impl LastCalls {
    fn new(calls: NonZeroU32) -> Self {
        let capacity = calls.get();
        let words = capacity.div_ceil(u64::BITS) as usize;
        Self { ring: vec![0; words].into(), capacity, next: 0, calls: 0, bad: 0 }
    }

    fn push(&mut self, bad: bool) {
        let bit = 1 << (self.next % u64::BITS);
        let word = &mut self.ring[(self.next / u64::BITS) as usize];
        self.bad -= u32::from(*word & bit != 0);
        *word = if bad { *word | bit } else { *word & !bit };
        self.bad += u32::from(bad);
        self.calls = (self.calls + 1).min(self.capacity);
        self.next = if self.next + 1 == self.capacity { 0 } else { self.next + 1 };
    }

    fn credit(&mut self, good: u64) {
        let good = good.min(u64::from(self.capacity)) as u32;
        if self.bad == 0 {
            // All bits are clear, so it matters not which of them are in use.
            self.calls = self.calls.saturating_add(good).min(self.capacity);
        } else {
            for _ in 0..good {
                self.push(false);
            }
        }
    }

    fn clear(&mut self) {
        // Bits outside of the calls in use stay clear: `push` and `credit` rely on it.
        if self.bad > 0 {
            self.ring.fill(0);
        }
        (self.calls, self.bad) = (0, 0);
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    calls: u64,
    bad: u64,
}

/// The outcomes of the last so much time, in a ring of buckets.
#[derive(Debug)]
pub(super) struct LastTime {
    ring: Box<[Bucket; BUCKETS]>,
    /// The length of a bucket in nanoseconds.
    width: u64,
    /// The number of the newest bucket since time zero.
    current: u64,
    total: Bucket,
}

impl LastTime {
    fn new(time: Duration) -> Self {
        let time = time.max(Duration::from_millis(BUCKETS as u64)).as_nanos();
        let width = u64::try_from(time / BUCKETS as u128).unwrap_or(u64::MAX);
        Self { ring: Default::default(), width, current: 0, total: Bucket::default() }
    }

    /// Forgets what is too old at `now`.
    fn advance(&mut self, now: u64) {
        let newest = now / self.width;
        let gone = newest.saturating_sub(self.current).min(BUCKETS as u64);
        for step in 1..=gone {
            let bucket = std::mem::take(&mut self.ring[slot(self.current + step)]);
            self.total.calls -= bucket.calls;
            self.total.bad -= bucket.bad;
        }
        self.current = self.current.max(newest);
    }

    fn add(&mut self, calls: u64, bad: u64) {
        let bucket = &mut self.ring[slot(self.current)];
        bucket.calls += calls;
        bucket.bad += bad;
        self.total.calls += calls;
        self.total.bad += bad;
    }

    fn clear(&mut self) {
        self.ring.fill(Bucket::default());
        self.total = Bucket::default();
    }
}

const fn slot(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Push { after: u64, bad: bool },
        Credit(u64),
        Clear,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            8 => (prop_oneof![0_u64..40, 0_u64..4_000], any::<bool>())
                .prop_map(|(after, bad)| Op::Push { after, bad }),
            2 => (0_u64..20).prop_map(Op::Credit),
            1 => Just(Op::Clear),
        ];
        prop::collection::vec(op, 0..60)
    }

    proptest! {
        #[test]
        fn last_calls_agree_with_a_list_of_all(capacity in 1_u32..100, ops in ops()) {
            let mut ours = Window::calls(NonZeroU32::new(capacity).unwrap()).tally();
            let mut all: Vec<bool> = Vec::new();
            for op in ops {
                match op {
                    Op::Push { bad, .. } => { ours.push(0, bad); all.push(bad); }
                    Op::Credit(good) => {
                        ours.credit(good);
                        all.extend((0..good).map(|_| false));
                    }
                    Op::Clear => { ours.clear(); all.clear(); }
                }
                let last = &all[all.len().saturating_sub(capacity as usize)..];
                prop_assert_eq!(ours.calls(), last.len() as u64);
                prop_assert_eq!(ours.bad(), last.iter().filter(|&&bad| bad).count() as u64);
            }
        }

        #[test]
        fn last_time_agrees_with_a_list_of_all(length in 0_u64..5_000, ops in ops()) {
            let mut ours = Window::time(Duration::from_millis(length)).tally();
            let millis = |m: u64| m * 1_000_000;
            let width = millis(length.max(32)) / 32;
            let (mut all, mut now): (Vec<(u64, bool)>, _) = (Vec::new(), 0);
            for op in ops {
                match op {
                    Op::Push { after, bad } => {
                        now += millis(after);
                        ours.push(now, bad);
                        all.push((now, bad));
                    }
                    Op::Credit(good) => {
                        ours.credit(good);
                        all.extend((0..good).map(|_| (now, false)));
                    }
                    Op::Clear => { ours.clear(); all.clear(); }
                }
                // What happened in the 32 newest buckets.
                let seen: Vec<_> =
                    all.iter().filter(|(at, _)| at / width + 32 > now / width).collect();
                prop_assert_eq!(ours.calls(), seen.len() as u64);
                prop_assert_eq!(ours.bad(), seen.iter().filter(|(_, bad)| *bad).count() as u64);
                // And nothing is older than the window is long.
                prop_assert!(seen.iter().all(|(at, _)| now - at < 32 * width));
            }
        }
    }

    #[test]
    fn a_window_never_waits_for_more_calls_than_it_holds() {
        let three = NonZeroU32::new(3).unwrap();
        assert_eq!(Window::calls(three).fewest(), 3);
        assert_eq!(Window::time(Duration::ZERO).fewest(), 5);
    }

    #[test]
    fn an_endless_window_never_rolls() {
        let mut tally = Window::time(Duration::MAX).tally();
        tally.push(u64::MAX, true);
        assert_eq!(tally.rolls_at(), Some(u64::MAX));
        assert_eq!((tally.calls(), tally.bad()), (1, 1));
    }
}
