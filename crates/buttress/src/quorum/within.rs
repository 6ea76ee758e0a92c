//! Numbers that are near to each other.

use std::fmt;

use super::{Agree, Cast, Group, Keep};
use crate::OutOfRange;

/// How far apart numbers may lie and still agree: at least 0.
///
/// ```
/// use buttress::Tolerance;
///
/// const CENT: Tolerance = Tolerance::of(0.01);
/// assert_eq!(CENT.get(), 0.01);
/// assert!(Tolerance::new(-1.0).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Tolerance(f64);

impl Tolerance {
    /// Takes a distance that is known at run time only.
    ///
    /// # Errors
    /// Refuses what is negative, and NaN.
    pub const fn new(distance: f64) -> Result<Self, OutOfRange> {
        if distance >= 0.0 {
            Ok(Self(distance))
        } else {
            Err(OutOfRange::new("a tolerance", "at least 0", distance))
        }
    }

    /// Takes a distance as written in source.
    ///
    /// # Panics
    /// If it is negative or NaN; in a `const` the compiler says so. For numbers that come from
    /// outside use [`Tolerance::new`].
    #[track_caller]
    pub const fn of(distance: f64) -> Self {
        assert!(distance >= 0.0, "a tolerance must be at least 0");
        Self(distance)
    }

    /// The distance.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Whether an interval with these ends is short enough.
    fn spans(self, low: f64, high: f64) -> bool {
        // Two infinities have no distance, but are equal.
        low == high || high - low <= self.0
    }
}

/// Takes answers for the same whose numbers lie near to each other. See
/// [`QuorumLayer::within`](super::QuorumLayer::within).
#[derive(Clone, Copy)]
pub struct Within<F> {
    pub(super) tolerance: Tolerance,
    pub(super) number: F,
}

/// The answers to one call in the order of their numbers.
#[derive(Debug)]
pub struct Line<Res>(Vec<Point<Res>>);

#[derive(Debug)]
struct Point<Res> {
    number: f64,
    weight: u64,
    answer: Res,
}

/// Points next to each other that agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cluster {
    start: usize,
    /// The first that does not belong to it.
    end: usize,
    weight: u64,
}

impl<Res> Line<Res> {
    fn insert(&mut self, number: f64, weight: u64, answer: Res) {
        let place = self.0.partition_point(|point| point.number <= number);
        self.0.insert(place, Point { number, weight, answer });
    }

    /// The heaviest of the clusters, the lowest of equals.
    fn densest(&self, tolerance: Tolerance) -> Option<Cluster> {
        let (mut start, mut weight, mut best) = (0, 0, None::<Cluster>);
        for (place, last) in self.0.iter().enumerate() {
            weight += last.weight;
            while let Some(first) = self.0.get(start)
                && !tolerance.spans(first.number, last.number)
            {
                weight -= first.weight;
                start += 1;
            }
            if best.is_none_or(|best| weight > best.weight) {
                best = Some(Cluster { start, end: place + 1, weight });
            }
        }
        best
    }

    /// Takes a cluster out of the line, and returns the answer in its middle.
    fn take(&mut self, Cluster { start, end, weight }: Cluster) -> Option<Res> {
        let mut below = 0;
        let mut middle = None;
        for point in self.0.drain(start..end) {
            below += point.weight;
            // The lower one, where there are two.
            if middle.is_none() && below >= weight.div_ceil(2) {
                middle = Some(point.answer);
            }
        }
        middle
    }
}

impl<F, Res> Agree<Res> for Within<F>
where
    F: Fn(&Res) -> f64,
{
    type Ballots = Line<Res>;

    fn open(&self) -> Line<Res> {
        Line(Vec::new())
    }

    fn cast(&self, line: &mut Line<Res>, answer: Res, weight: u64, needed: u64) -> Cast<Res> {
        let number = (self.number)(&answer);
        // No number agrees with nothing, not even with itself.
        if !number.is_nan() {
            line.insert(number, weight, answer);
        }
        let Some(cluster) = line.densest(self.tolerance) else { return Cast::Open { largest: 0 } };
        let weight = cluster.weight;
        match (weight >= needed).then(|| line.take(cluster)).flatten() {
            Some(answer) => Cast::Agreed { answer, weight },
            None => Cast::Open { largest: weight },
        }
    }
}

impl<F, Res> Keep<Res> for Within<F>
where
    F: Fn(&Res) -> f64,
{
    fn groups(&self, mut line: Line<Res>) -> Vec<Group<Res>> {
        let mut groups = Vec::new();
        while let Some(cluster) = line.densest(self.tolerance)
            && let Some(answer) = line.take(cluster)
        {
            groups.push(Group::from((answer, cluster.weight)));
        }
        groups
    }
}

impl<F> fmt::Debug for Within<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Within").field(&self.tolerance.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Casts the numbers as answers, and returns what comes of each.
    fn cast(tolerance: f64, needed: u64, answers: &[(f64, u64)]) -> Vec<Cast<f64>> {
        let within = Within { tolerance: Tolerance::of(tolerance), number: |answer: &f64| *answer };
        let mut line = within.open();
        let cast =
            answers.iter().map(|(answer, weight)| within.cast(&mut line, *answer, *weight, needed));
        cast.collect()
    }

    fn last(tolerance: f64, needed: u64, answers: &[f64]) -> Cast<f64> {
        let answers: Vec<_> = answers.iter().map(|answer| (*answer, 1)).collect();
        cast(tolerance, needed, &answers).pop().unwrap()
    }

    #[test]
    fn the_median_of_those_who_agree_is_the_answer() {
        let agreed = |answer, weight| Cast::Agreed { answer, weight };
        assert_eq!(last(1.0, 3, &[10.0, 99.0, 10.4, 9.9]), agreed(10.0, 3));
        // The lower of two in the middle.
        assert_eq!(last(1.0, 2, &[10.4, 10.0]), agreed(10.0, 2));
        assert_eq!(cast(1.0, 5, &[(10.4, 4), (10.0, 1)])[1], agreed(10.4, 5));
        // A chain of neighbours is no agreement.
        assert_eq!(last(1.0, 3, &[1.0, 2.0, 3.0]), Cast::Open { largest: 2 });
        assert_eq!(last(0.0, 2, &[0.0, -0.0]), agreed(0.0, 2));
    }

    #[test]
    fn what_is_no_number_agrees_with_nothing() {
        assert_eq!(last(1.0, 1, &[f64::NAN]), Cast::Open { largest: 0 });
        assert_eq!(last(f64::INFINITY, 2, &[f64::NAN, 1.0]), Cast::Open { largest: 1 });
        let endless = f64::INFINITY;
        assert_eq!(last(1.0, 2, &[endless, endless]), Cast::Agreed { answer: endless, weight: 2 });
        assert_eq!(last(1.0, 2, &[endless, -endless]), Cast::Open { largest: 1 });
    }

    #[test]
    fn groups_are_taken_heaviest_first() {
        let within = Within { tolerance: Tolerance::of(1.0), number: |answer: &f64| *answer };
        let mut line = within.open();
        for answer in [7.0, 3.0, 3.5, 4.2, 7.1, 3.9] {
            within.cast(&mut line, answer, 1, 9);
        }
        let groups: Vec<_> =
            within.groups(line).into_iter().map(|group| (group.answer, group.weight)).collect();
        assert_eq!(groups, [(3.5, 3), (7.0, 2), (4.2, 1)]);
    }

    #[test]
    fn refuses_what_is_no_distance() {
        for bad in [-0.1, f64::NAN, f64::NEG_INFINITY] {
            assert!(Tolerance::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Tolerance::new(0.5), Ok(Tolerance::of(0.5)));
    }

    #[test]
    #[should_panic(expected = "at least 0")]
    fn refuses_a_negative_distance_in_source() {
        Tolerance::of(-1.0);
    }

    /// The heaviest interval between any two of the numbers that is short enough.
    fn by_all_pairs(answers: &[(f64, u64)], tolerance: f64) -> u64 {
        let intervals = answers.iter().flat_map(|(a, _)| answers.iter().map(move |(b, _)| (a, b)));
        let short = intervals.filter(|(a, b)| a <= b && *b - *a <= tolerance);
        let weights = short.map(|(a, b)| {
            answers.iter().filter(|(x, _)| a <= x && x <= b).map(|(_, weight)| weight).sum()
        });
        weights.max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn agrees_neither_later_nor_earlier_than_by_all_pairs(
            answers in prop::collection::vec(
                (prop_oneof![9 => (0_u32..12).prop_map(f64::from), 1 => Just(f64::NAN)], 1_u64..4),
                1..9,
            ),
            tolerance in (0_u32..5).prop_map(f64::from), needed in 1_u64..12,
        ) {
            for (place, outcome) in cast(tolerance, needed, &answers).into_iter().enumerate() {
                let said = &answers[..=place];
                let heaviest = by_all_pairs(said, tolerance);
                match outcome {
                    Cast::Open { largest } => {
                        prop_assert_eq!(largest, heaviest);
                        prop_assert!(largest < needed);
                    }
                    Cast::Agreed { answer, weight } => {
                        prop_assert_eq!(weight, heaviest);
                        prop_assert!(weight >= needed);
                        // It is the median of some group of that weight.
                        let is_median = said.iter().any(|(low, _)| {
                            let inside = |x: f64| *low <= x && x - *low <= tolerance;
                            let sum = |of: &dyn Fn(f64) -> bool| -> u64 {
                                let those = said.iter().filter(|(x, _)| inside(*x) && of(*x));
                                those.map(|(_, weight)| weight).sum()
                            };
                            let (below, above) = (sum(&|x| x < answer), sum(&|x| x > answer));
                            sum(&|_| true) == weight && sum(&|x| x == answer) > 0
                                && 2 * below <= weight && 2 * above <= weight
                        });
                        prop_assert!(is_median, "{} of {:?}", answer, said);
                        break;
                    }
                }
            }
        }
    }
}
