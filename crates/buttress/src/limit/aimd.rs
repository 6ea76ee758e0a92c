//! Additive increase, multiplicative decrease: the limit that finds itself.
//!
//! As TCP finds how much a network takes (Chiu and Jain, 1989; RFC 5681): while answers come in
//! and the limit is made use of, it grows by one for as many answers as it is high; at a sign of
//! overload it shrinks to seven tenths. After that only calls that began later can change it,
//! and no sooner than a period later can they shrink it again: a burst of timeouts, all of one
//! cause, shrinks it once.

/// The bounds of a limit, and how often it may shrink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) min: u32,
    pub(crate) max: u32,
    /// In nanoseconds.
    pub(crate) period: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Aimd {
    terms: Terms,
    /// Answers since the limit last changed.
    credit: u32,
    /// When it last shrank.
    shrunk_at: Option<u64>,
}

impl Aimd {
    pub(crate) const fn new(terms: Terms) -> Self {
        Self { terms, credit: 0, shrunk_at: None }
    }

    /// The limit from here on, after an answer to a call that began at `began`; `None` if only
    /// just. `taken` counts the call itself.
    pub(crate) fn answered(&mut self, limit: u32, taken: u32, began: Option<u64>) -> u32 {
        if began.is_some_and(|began| self.is_stale(began)) || !is_used(limit, taken) {
            return limit;
        }
        self.credit += 1;
        if limit >= self.terms.max || self.credit < limit {
            self.credit = self.credit.min(limit);
            return limit;
        }
        self.credit = 0;
        limit + 1
    }

    /// The limit from here on, after a sign of overload from a call that began at `began`.
    pub(crate) fn overloaded(&mut self, limit: u32, began: u64, now: u64) -> u32 {
        if self.is_stale(began) {
            return limit;
        }
        // Too soon to shrink again, it is no time to grow either.
        self.credit = 0;
        let soon = |shrunk_at| now < self.terms.period.saturating_add(shrunk_at);
        if self.shrunk_at.is_some_and(soon) {
            return limit;
        }
        self.shrunk_at = Some(now);
        (limit * 7 / 10).max(self.terms.min)
    }

    /// Takes a limit from outside, within the bounds.
    pub(crate) fn set(&mut self, limit: u32) -> u32 {
        self.credit = 0;
        limit.clamp(self.terms.min, self.terms.max)
    }

    /// Whether it is from before the limit shrank.
    fn is_stale(&self, began: u64) -> bool {
        self.shrunk_at.is_some_and(|shrunk_at| began < shrunk_at)
    }
}

/// Whether so many calls show that the limit matters: a limit that nobody comes near would grow
/// without having been tried.
pub(crate) const fn is_used(limit: u32, taken: u32) -> bool {
    taken.saturating_mul(2) >= limit
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD: u64 = 100;
    const TERMS: Terms = Terms { min: 2, max: 40, period: PERIOD };

    /// The same limit as a fraction, with all that ever happened kept.
    #[derive(Default)]
    struct Naive {
        /// When the limit shrank, and the answers since then that counted.
        shrunk: Vec<u64>,
        counted: u32,
    }

    impl Naive {
        fn record(&mut self, limit: u32, taken: u32, began: u64, now: u64, bad: bool) -> u32 {
            if self.shrunk.iter().any(|&at| began < at) {
                return limit;
            }
            if bad {
                self.counted = 0;
                if self.shrunk.iter().any(|&at| now - at < PERIOD) {
                    return limit;
                }
                self.shrunk.push(now);
                return ((f64::from(limit) * 0.7 + 1e-9).floor() as u32).max(TERMS.min);
            }
            if f64::from(taken) < f64::from(limit) / 2.0 {
                return limit;
            }
            self.counted += 1;
            if self.counted >= limit && limit < TERMS.max {
                self.counted = 0;
                return limit + 1;
            }
            limit
        }
    }

    proptest! {
        #[test]
        fn is_what_a_naive_one_is(
            start in TERMS.min..=TERMS.max,
            calls in prop::collection::vec((0..30_u64, 0..60_u64, 0..60_u32, prop::bool::weighted(0.1)), 0..80),
        ) {
            let (mut aimd, mut naive) = (Aimd::new(TERMS), Naive::default());
            let (mut limit, mut now) = (start, 0);
            let mut shrunk_at = None;
            for (wait, ran, taken, bad) in calls {
                now += wait;
                let began = now.saturating_sub(ran);
                let next = if bad {
                    aimd.overloaded(limit, began, now)
                } else {
                    aimd.answered(limit, taken, Some(began))
                };
                prop_assert_eq!(next, naive.record(limit, taken, began, now, bad));
                prop_assert!((TERMS.min..=TERMS.max).contains(&next));
                prop_assert!(next <= limit + 1);
                if next > limit {
                    prop_assert!(taken * 2 >= limit);
                }
                if next < limit {
                    prop_assert!(shrunk_at.is_none_or(|at| now - at >= PERIOD));
                    shrunk_at = Some(now);
                }
                limit = next;
            }
        }
    }

    fn answers(aimd: &mut Aimd, limit: u32, taken: u32, times: u32) -> u32 {
        (0..times).fold(limit, |limit, _| aimd.answered(limit, taken, None))
    }

    #[test]
    fn grows_by_one_for_as_many_answers_as_it_is_high() {
        let mut aimd = Aimd::new(TERMS);
        assert_eq!(answers(&mut aimd, 10, 10, 9), 10);
        assert_eq!(answers(&mut aimd, 10, 10, 1), 11);
        assert_eq!(answers(&mut aimd, 11, 11, 10), 11);
        assert_eq!(answers(&mut aimd, 11, 11, 1), 12);
    }

    #[test]
    fn grows_only_if_half_of_it_is_used() {
        let mut aimd = Aimd::new(TERMS);
        assert_eq!(answers(&mut aimd, 10, 4, 1_000), 10);
        assert_eq!(answers(&mut aimd, 10, 5, 10), 11);
    }

    #[test]
    fn stays_within_its_bounds() {
        let mut aimd = Aimd::new(TERMS);
        assert_eq!(answers(&mut aimd, 40, 40, 1_000), 40);
        assert_eq!(aimd.overloaded(2, 0, 0), 2);
        assert_eq!((aimd.set(1), aimd.set(20), aimd.set(99)), (2, 20, 40));
    }

    #[test]
    fn shrinks_once_for_a_burst() {
        let mut aimd = Aimd::new(TERMS);
        assert_eq!(aimd.overloaded(10, 0, 1_000), 7);
        // The others of the burst, later than the period: they began before it shrank.
        assert_eq!(aimd.overloaded(7, 999, 1_200), 7);
        // Began after, too soon; then late enough.
        assert_eq!(aimd.overloaded(7, 1_000, 1_099), 7);
        assert_eq!(aimd.overloaded(7, 1_000, 1_100), 4);
    }

    #[test]
    fn a_sign_too_soon_keeps_it_from_growing() {
        let mut aimd = Aimd::new(TERMS);
        assert_eq!(aimd.overloaded(10, 0, 1_000), 7);
        for _ in 0..10 {
            assert_eq!(answers(&mut aimd, 7, 7, 6), 7);
            assert_eq!(aimd.overloaded(7, 1_000, 1_099), 7);
        }
        assert_eq!(answers(&mut aimd, 7, 7, 7), 8);
    }

    #[test]
    fn an_answer_from_before_it_shrank_is_not_to_its_credit() {
        let mut aimd = Aimd::new(TERMS);
        assert_eq!(aimd.overloaded(10, 0, 1_000), 7);
        let limit = (0..100).fold(7, |limit, _| aimd.answered(limit, 7, Some(999)));
        assert_eq!(limit, 7);
    }
}
