//! What users may add to a vote: a look at its answer, and a say where there is none.

use std::fmt;

use super::{Agree, Cast, Keep};
use crate::{Causes, Votes};

/// Answers that do not agree, for [`QuorumLayer::otherwise`](super::QuorumLayer::otherwise).
#[derive(Debug)]
#[non_exhaustive]
pub struct Disagreement<Res> {
    /// The groups of answers that agree, heaviest first, older first among equals.
    pub groups: Vec<Group<Res>>,
    /// How the members voted.
    pub votes: Votes,
    /// Why those failed that gave no answer.
    pub causes: Causes,
}

impl<Res> Disagreement<Res> {
    /// The answer of the largest group, if no other is as large.
    pub fn plurality(self) -> Option<Res> {
        let mut groups = self.groups.into_iter();
        let (first, second) = (groups.next()?, groups.next());
        second.is_none_or(|second| second.weight < first.weight).then_some(first.answer)
    }
}

/// Answers that agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group<Res> {
    /// One of them.
    pub answer: Res,
    /// The weight of all.
    pub weight: u64,
}

impl<Res> From<(Res, u64)> for Group<Res> {
    fn from((answer, weight): (Res, u64)) -> Self {
        Self { answer, weight }
    }
}

/// An [`Agree`] whose answers are shown to a closure. See
/// [`QuorumLayer::mark`](super::QuorumLayer::mark).
#[derive(Clone, Copy)]
pub struct Marked<A, F> {
    pub(super) agree: A,
    pub(super) mark: F,
}

impl<A, F, Res> Agree<Res> for Marked<A, F>
where
    A: Agree<Res>,
    F: Fn(&mut Res, Votes),
{
    type Ballots = A::Ballots;

    fn open(&self) -> A::Ballots {
        self.agree.open()
    }

    fn cast(&self, ballots: &mut A::Ballots, answer: Res, weight: u64, needed: u64) -> Cast<Res> {
        self.agree.cast(ballots, answer, weight, needed)
    }

    fn mark(&self, answer: &mut Res, votes: Votes) {
        self.agree.mark(answer, votes);
        (self.mark)(answer, votes);
    }

    fn otherwise(&self, ballots: A::Ballots, votes: Votes, causes: &Causes) -> Option<Res> {
        self.agree.otherwise(ballots, votes, causes)
    }
}

impl<A, F, Res> Keep<Res> for Marked<A, F>
where
    A: Keep<Res>,
    F: Fn(&mut Res, Votes),
{
    fn groups(&self, ballots: A::Ballots) -> Vec<Group<Res>> {
        self.agree.groups(ballots)
    }
}

/// An [`Agree`] with a closure that may choose among answers that do not agree. See
/// [`QuorumLayer::otherwise`](super::QuorumLayer::otherwise).
#[derive(Clone, Copy)]
pub struct Otherwise<A, F> {
    pub(super) agree: A,
    pub(super) choose: F,
}

impl<A, F, Res> Agree<Res> for Otherwise<A, F>
where
    A: Keep<Res>,
    F: Fn(Disagreement<Res>) -> Option<Res>,
{
    type Ballots = A::Ballots;

    fn open(&self) -> A::Ballots {
        self.agree.open()
    }

    fn cast(&self, ballots: &mut A::Ballots, answer: Res, weight: u64, needed: u64) -> Cast<Res> {
        self.agree.cast(ballots, answer, weight, needed)
    }

    fn mark(&self, answer: &mut Res, votes: Votes) {
        self.agree.mark(answer, votes);
    }

    fn otherwise(&self, ballots: A::Ballots, votes: Votes, causes: &Causes) -> Option<Res> {
        let mut groups = self.agree.groups(ballots);
        groups.sort_by_key(|group| std::cmp::Reverse(group.weight));
        (self.choose)(Disagreement { groups, votes, causes: causes.clone() })
    }
}

impl<A: fmt::Debug, F> fmt::Debug for Marked<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Marked").field(&self.agree).finish()
    }
}

impl<A: fmt::Debug, F> fmt::Debug for Otherwise<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Otherwise").field(&self.agree).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plurality_is_larger_than_any_other() {
        let among = |weights: &[(&'static str, u64)]| {
            let groups = weights.iter().copied().map(Group::from).collect();
            let causes = Causes::from_iter([]);
            Disagreement { groups, votes: Votes::default(), causes }.plurality()
        };
        assert_eq!(among(&[]), None);
        assert_eq!(among(&[("a", 1)]), Some("a"));
        assert_eq!(among(&[("a", 2), ("b", 1)]), Some("a"));
        assert_eq!(among(&[("a", 2), ("b", 2)]), None);
    }
}
