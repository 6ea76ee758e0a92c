//! When answers count as the same.

use std::fmt;

use super::{Group, groups::Groups};
use crate::{Causes, Votes};

/// Says which answers agree, and counts them.
///
/// For most uses there is a setter: equality is the default,
/// [`agree_by`](super::QuorumLayer::agree_by) compares a key,
/// [`agree_with`](super::QuorumLayer::agree_with) two answers,
/// [`within`](super::QuorumLayer::within) numbers. Implement it for what they cannot say, and give
/// it to [`agree`](super::QuorumLayer::agree). One that puts its answer together:
///
/// ```
/// use buttress::quorum::{Agree, Cast};
///
/// /// Agrees on each field by itself.
/// struct FieldByField;
///
/// impl Agree<[u32; 2]> for FieldByField {
///     type Ballots = Vec<([u32; 2], u64)>;
///
///     fn open(&self) -> Self::Ballots {
///         Vec::new()
///     }
///
///     fn cast(
///         &self,
///         ballots: &mut Self::Ballots,
///         answer: [u32; 2],
///         weight: u64,
///         needed: u64,
///     ) -> Cast<[u32; 2]> {
///         ballots.push((answer, weight));
///         let heaviest = [0, 1].map(|field| {
///             let sum = |value| {
///                 let same = ballots.iter().filter(move |(other, _)| other[field] == value);
///                 same.map(|(_, weight)| weight).sum::<u64>()
///             };
///             ballots.iter().map(|(answer, _)| (sum(answer[field]), answer[field])).max().unwrap()
///         });
///         let largest = heaviest[0].0.min(heaviest[1].0);
///         if largest < needed {
///             return Cast::Open { largest };
///         }
///         Cast::Agreed { answer: heaviest.map(|(_, value)| value), weight: largest }
///     }
/// }
///
/// let mut ballots = FieldByField.open();
/// assert_eq!(FieldByField.cast(&mut ballots, [1, 2], 1, 2), Cast::Open { largest: 1 });
/// assert_eq!(FieldByField.cast(&mut ballots, [7, 2], 1, 2), Cast::Open { largest: 1 });
/// let agreed = Cast::Agreed { answer: [1, 2], weight: 2 };
/// assert_eq!(FieldByField.cast(&mut ballots, [1, 9], 1, 2), agreed);
/// ```
#[diagnostic::on_unimplemented(
    message = "nobody says when answers of type `{Res}` agree",
    label = "`{Self}` cannot compare `{Res}`",
    note = "derive `PartialEq` for the response, or say what counts: `.agree_by(|response: &{Res}| key)`, `.agree_with(|a: &{Res}, b: &{Res}| bool)`, `.within(tolerance, |response: &{Res}| number)`"
)]
pub trait Agree<Res> {
    /// What is kept of the answers to one call while its vote is open.
    type Ballots;

    /// The ballots before the first answer.
    fn open(&self) -> Self::Ballots;

    /// Counts an answer of some weight, where so much is needed.
    ///
    /// An answer that is not kept in the ballots must be dropped or returned: it may hold a
    /// permit that another member waits for. Answers to come must not be able to add more than
    /// their own weight to the largest group, or a vote may be given up too early.
    fn cast(&self, ballots: &mut Self::Ballots, answer: Res, weight: u64, needed: u64)
    -> Cast<Res>;

    /// Sees the answer that is about to be returned, and how it came to be. Does nothing unless
    /// [told](super::QuorumLayer::mark).
    fn mark(&self, answer: &mut Res, votes: Votes) {
        let _ = (answer, votes);
    }

    /// Gives an answer all the same when there is no agreement. Gives none unless
    /// [told](super::QuorumLayer::otherwise).
    fn otherwise(&self, ballots: Self::Ballots, votes: Votes, causes: &Causes) -> Option<Res> {
        let _ = (ballots, votes, causes);
        None
    }
}

/// An [`Agree`] that keeps the answers, so that one can be chosen without agreement.
#[diagnostic::on_unimplemented(
    message = "the answers are not kept until the vote has ended",
    label = "`{Self}` keeps no answers of type `{Res}` to choose from",
    note = "instead of `.agree_by(key)` use `.agree_with(|a, b| key(a) == key(b))`"
)]
pub trait Keep<Res>: Agree<Res> {
    /// The groups of answers that agree, in the order in which they were founded.
    fn groups(&self, ballots: Self::Ballots) -> Vec<Group<Res>>;
}

/// What an answer does to a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast<Res> {
    /// Enough agree: this is the answer to the call.
    Agreed {
        /// The answer.
        answer: Res,
        /// The weight of those who agree on it.
        weight: u64,
    },
    /// Too few agree so far.
    Open {
        /// The weight of the largest group.
        largest: u64,
    },
}

/// Takes answers that are equal for the same: the default.
///
/// Keeps one answer of each group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByEquality;

#[diagnostic::do_not_recommend]
impl<Res: PartialEq> Agree<Res> for ByEquality {
    type Ballots = Groups<Res>;

    fn open(&self) -> Groups<Res> {
        Groups::default()
    }

    fn cast(&self, groups: &mut Groups<Res>, answer: Res, weight: u64, needed: u64) -> Cast<Res> {
        cast_kept(groups, answer, weight, needed, Res::eq)
    }
}

impl<Res: PartialEq> Keep<Res> for ByEquality {
    fn groups(&self, groups: Groups<Res>) -> Vec<Group<Res>> {
        groups.into_iter().map(Group::from).collect()
    }
}

/// Takes answers for the same that a closure finds so. See
/// [`QuorumLayer::agree_with`](super::QuorumLayer::agree_with).
#[derive(Clone, Copy)]
pub struct ByPair<F>(pub(super) F);

impl<F, Res> Agree<Res> for ByPair<F>
where
    F: Fn(&Res, &Res) -> bool,
{
    type Ballots = Groups<Res>;

    fn open(&self) -> Groups<Res> {
        Groups::default()
    }

    fn cast(&self, groups: &mut Groups<Res>, answer: Res, weight: u64, needed: u64) -> Cast<Res> {
        cast_kept(groups, answer, weight, needed, &self.0)
    }
}

impl<F, Res> Keep<Res> for ByPair<F>
where
    F: Fn(&Res, &Res) -> bool,
{
    fn groups(&self, groups: Groups<Res>) -> Vec<Group<Res>> {
        groups.into_iter().map(Group::from).collect()
    }
}

fn cast_kept<Res>(
    groups: &mut Groups<Res>,
    answer: Res,
    weight: u64,
    needed: u64,
    same: impl Fn(&Res, &Res) -> bool,
) -> Cast<Res> {
    let joined = groups.join(weight, |first| same(first, &answer));
    let weight = joined.unwrap_or(weight);
    if weight >= needed {
        return Cast::Agreed { answer, weight };
    }
    if joined.is_none() {
        groups.found(answer, weight);
    }
    Cast::Open { largest: groups.largest() }
}

/// Takes answers for the same whose keys are equal. See
/// [`QuorumLayer::agree_by`](super::QuorumLayer::agree_by).
#[derive(Clone, Copy)]
pub struct ByKey<F>(pub(super) F);

impl<F, Res, K> Agree<Res> for ByKey<F>
where
    F: Fn(&Res) -> K,
    K: PartialEq,
{
    type Ballots = Groups<K>;

    fn open(&self) -> Groups<K> {
        Groups::default()
    }

    fn cast(&self, groups: &mut Groups<K>, answer: Res, weight: u64, needed: u64) -> Cast<Res> {
        let key = (self.0)(&answer);
        let joined = groups.join(weight, |first| *first == key);
        let weight = joined.unwrap_or(weight);
        if weight >= needed {
            return Cast::Agreed { answer, weight };
        }
        drop(answer);
        if joined.is_none() {
            groups.found(key, weight);
        }
        Cast::Open { largest: groups.largest() }
    }
}

/// Takes all answers for the same: what matters is that there are enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnyAnswer;

impl<Res> Agree<Res> for AnyAnswer {
    type Ballots = u64;

    fn open(&self) -> u64 {
        0
    }

    fn cast(&self, sum: &mut u64, answer: Res, weight: u64, needed: u64) -> Cast<Res> {
        *sum += weight;
        if *sum >= needed {
            return Cast::Agreed { answer, weight: *sum };
        }
        Cast::Open { largest: *sum }
    }
}

impl<F> fmt::Debug for ByPair<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByPair")
    }
}

impl<F> fmt::Debug for ByKey<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByKey")
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn by_equality_keeps_one_answer_of_each_group() {
        let answers = [Rc::new(1), Rc::new(1), Rc::new(2), Rc::new(1)];
        let mut ballots = ByEquality.open();
        let mut cast = |place: usize| {
            let cast = ByEquality.cast(&mut ballots, answers[place].clone(), 1, 3);
            matches!(cast, Cast::Agreed { weight: 3, .. })
        };
        assert_eq!([cast(0), cast(1), cast(2), cast(3)], [false, false, false, true]);
        assert_eq!(answers.each_ref().map(Rc::strong_count), [2, 1, 2, 1]);
        let groups = ByEquality.groups(ballots);
        assert_eq!(groups.iter().map(|group| *group.answer).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn by_key_keeps_no_answer_and_returns_the_deciding_one() {
        let by_parity = ByKey(|answer: &Rc<u32>| **answer % 2);
        let answers = [Rc::new(1), Rc::new(2), Rc::new(3)];
        let mut ballots = by_parity.open();
        for answer in &answers[..2] {
            let cast = by_parity.cast(&mut ballots, answer.clone(), 1, 2);
            assert_eq!(cast, Cast::Open { largest: 1 });
            assert_eq!(Rc::strong_count(answer), 1);
        }
        let cast = by_parity.cast(&mut ballots, answers[2].clone(), 1, 2);
        assert_eq!(cast, Cast::Agreed { answer: answers[2].clone(), weight: 2 });
    }

    #[test]
    fn what_equals_nothing_stands_alone() {
        let mut ballots = ByEquality.open();
        for _ in 0..3 {
            let cast = ByEquality.cast(&mut ballots, f64::NAN, 1, 2);
            assert!(matches!(cast, Cast::Open { largest: 1 }));
        }
    }

    #[test]
    fn any_answer_counts_as_any_other() {
        let mut sum = Agree::<&str>::open(&AnyAnswer);
        assert_eq!(AnyAnswer.cast(&mut sum, "a", 2, 3), Cast::Open { largest: 2 });
        let agreed = Cast::Agreed { answer: "b", weight: 4 };
        assert_eq!(AnyAnswer.cast(&mut sum, "b", 2, 3), agreed);
    }
}
