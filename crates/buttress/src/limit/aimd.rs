//! Additive increase, multiplicative decrease: the limit that finds itself.
//!
//! As TCP finds how much a network takes (Chiu and Jain, 1989; RFC 5681): while answers come in
//! and the limit is made use of, it grows by one for as many answers as it is high; at a sign of
//! overload it shrinks to seven tenths. After that only calls that began later can change it,
//! and no sooner than a period later can they shrink it again: a burst of timeouts, all of one
//! cause, shrinks it once.
//!
//! A trouble that lasts leaves it far below what the dependency takes once it is over, and where
//! calls take seconds, one more per round is slow. So when it has not shrunk for three periods it
//! grows by one for each answer, up to half of what it was when the fall began (TCP's slow start).
//! Should there be a sign again before that, it forgets three tenths of what it was: what has come
//! back weaker for good is flooded a few times, each time less, and then no more.

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
    /// What it was when the fall began of which that was a part.
    peak: u32,
}

/// How many periods after it shrank last a fall is over.
const QUIET: u64 = 3;

impl Aimd {
    pub(crate) const fn new(terms: Terms) -> Self {
        Self { terms, credit: 0, shrunk_at: None, peak: 0 }
    }

    /// The limit from here on, after an answer to a call that began at `began`; `None` if only
    /// just. `taken` counts the call itself.
    pub(crate) fn answered(&mut self, limit: u32, taken: u32, began: Option<u64>) -> u32 {
        if began.is_some_and(|began| self.is_stale(began)) || !is_used(limit, taken) {
            return limit;
        }
        self.credit += 1;
        if limit.saturating_mul(2) < self.peak && began.is_some_and(|began| self.is_over(began)) {
            self.credit = limit;
        }
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
        let remembered = match (self.is_over(now), limit.saturating_mul(2) < self.peak) {
            (false, _) => self.peak,
            // It was too much by now, or the trouble was not over: it fades.
            (true, true) => fewer(self.peak),
            (true, false) => 0,
        };
        self.peak = remembered.max(limit);
        self.shrunk_at = Some(now);
        fewer(limit).max(self.terms.min)
    }

    /// Takes a limit from outside, within the bounds.
    pub(crate) fn set(&mut self, limit: u32) -> u32 {
        (self.credit, self.peak) = (0, 0);
        limit.clamp(self.terms.min, self.terms.max)
    }

    /// Whether the last fall is over at that time.
    fn is_over(&self, at: u64) -> bool {
        let quiet = self.terms.period.saturating_mul(QUIET);
        self.shrunk_at.is_none_or(|shrunk_at| at >= shrunk_at.saturating_add(quiet))
    }

    /// Whether it is from before the limit shrank.
    fn is_stale(&self, began: u64) -> bool {
        self.shrunk_at.is_some_and(|shrunk_at| began < shrunk_at)
    }
}

/// Seven tenths. No limit comes near the end of its type.
const fn fewer(limit: u32) -> u32 {
    limit.saturating_mul(7) / 10
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
        /// When the limit shrank, and from what; and the answers since then that counted.
        shrunk: Vec<(u64, u32)>,
        counted: u32,
    }

    impl Naive {
        fn record(&mut self, limit: u32, taken: u32, began: u64, now: u64, bad: bool) -> u32 {
            if self.shrunk.iter().any(|&(at, _)| began < at) {
                return limit;
            }
            if bad {
                self.counted = 0;
                if self.shrunk.iter().any(|&(at, _)| now - at < PERIOD) {
                    return limit;
                }
                self.shrunk.push((now, limit));
                return ((f64::from(limit) * 0.7 + 1e-9).floor() as u32).max(TERMS.min);
            }
            if f64::from(taken) < f64::from(limit) / 2.0 {
                return limit;
            }
            self.counted += 1;
            let last = self.shrunk.last().map_or(0, |(at, _)| *at);
            let recovers =
                began - last >= 3 * PERIOD && f64::from(limit) < f64::from(self.height()) / 2.0;
            if (recovers || self.counted >= limit) && limit < TERMS.max {
                self.counted = 0;
                return limit + 1;
            }
            limit
        }

        /// What it was when the last fall began: step by step, from the first on.
        fn height(&self) -> u32 {
            let (mut height, mut before) = (0, None);
            for &(at, from) in &self.shrunk {
                let begins = before.is_none_or(|before| at - before >= 3 * PERIOD);
                height = match begins {
                    true if from * 2 >= height => from,
                    true => from.max((f64::from(height) * 0.7 + 1e-9).floor() as u32),
                    false => from.max(height),
                };
                before = Some(at);
            }
            height
        }
    }

    proptest! {
        #[test]
        fn is_what_a_naive_one_is(
            start in TERMS.min..=TERMS.max,
            calls in prop::collection::vec(
                (prop_oneof![0..30_u64, 0..400_u64], 0..60_u64, 0..60_u32, prop::bool::weighted(0.2)),
                0..80,
            ),
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
    fn after_a_long_fall_it_is_back_at_half_of_its_height_soon() {
        let mut aimd = Aimd::new(TERMS);
        let mut now = 1_000;
        let mut limit = 40;
        while limit > TERMS.min {
            limit = aimd.overloaded(limit, now, now);
            now += PERIOD;
        }
        let (last, quiet) = (now - PERIOD, 3 * PERIOD);
        // Not before three periods are over; then by one for each answer; then as ever.
        assert_eq!(aimd.answered(2, 2, Some(last + quiet - 1)), 2);
        let back = |limit, answers| {
            let mut aimd = Aimd { credit: 0, ..aimd };
            (0..answers).fold(limit, |limit, _| aimd.answered(limit, limit, Some(last + quiet)))
        };
        assert_eq!((back(2, 18), back(2, 19), back(2, 38)), (20, 20, 21));
        // What is too much by then fades; what comes near it is remembered instead.
        let fall = |limit| {
            let mut aimd = Aimd { ..aimd };
            (aimd.overloaded(limit, last + quiet, last + quiet), aimd.peak)
        };
        assert_eq!((fall(16), fall(30)), ((11, 28), (21, 30)));
    }

    #[test]
    fn what_comes_back_weaker_is_not_flooded_for_ever() {
        /// What it takes, of the thousand from before; and answers in each period.
        const LESS: u32 = 100;
        for period in [1, PERIOD] {
            let mut aimd = Aimd::new(Terms { min: 1, max: 1_000, period });
            let (mut limit, mut now, mut floods) = (aimd.set(1_000), 0, vec![]);
            for _ in 0..2_000 {
                now += period;
                let before = limit;
                limit = match limit > LESS {
                    true => aimd.overloaded(limit, now, now),
                    false => {
                        (0..LESS).fold(limit, |limit, _| aimd.answered(limit, limit, Some(now)))
                    }
                };
                if before <= LESS && limit > LESS {
                    floods.push(limit);
                }
            }
            // Each time to less than half of what is remembered, of which seven tenths stay; then
            // by one, as ever.
            assert!(floods.len() > 20, "{floods:?}");
            assert!(floods.first().is_some_and(|limit| *limit > LESS + 50), "{floods:?}");
            assert!(floods.iter().skip(7).all(|limit| *limit == LESS + 1), "{floods:?}");
        }
    }

    #[test]
    fn any_period_will_do() {
        for period in [0, u64::MAX] {
            let terms = Terms { min: 3, max: 5, period };
            let mut aimd = Aimd::new(terms);
            let mut limit = aimd.set(u32::MAX);
            for now in [0, 0, 1, u64::MAX - 1, u64::MAX, u64::MAX] {
                limit = aimd.overloaded(limit, now, now);
                assert!((3..=5).contains(&limit), "{limit}");
                limit = (0..9).fold(limit, |limit, _| aimd.answered(limit, limit, Some(now)));
                assert!((3..=5).contains(&limit), "{limit}");
            }
        }
    }

    #[test]
    fn an_answer_from_before_it_shrank_is_not_to_its_credit() {
        let mut aimd = Aimd::new(TERMS);
        assert_eq!(aimd.overloaded(10, 0, 1_000), 7);
        let limit = (0..100).fold(7, |limit, _| aimd.answered(limit, 7, Some(999)));
        assert_eq!(limit, 7);
    }
}
