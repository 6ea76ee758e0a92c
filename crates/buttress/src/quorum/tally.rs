//! Where a vote stands.

use std::{fmt, num::NonZeroU32};

use crate::Votes;

/// Who may vote, and how much it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Electorate {
    members: usize,
    /// Of the first members; those after them weigh 1.
    weights: Vec<NonZeroU32>,
    total: u64,
    needed: u64,
}

impl fmt::Display for Electorate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { members, weights, total, needed } = self;
        write!(f, "{needed} of {total} agree")?;
        if weights.is_empty() { Ok(()) } else { write!(f, ", {members} members by weight") }
    }
}

impl Electorate {
    /// Without a number needed it is a strict majority. It is at least 1 and at most all.
    pub(super) fn new(members: usize, weights: &[NonZeroU32], needed: Option<u32>) -> Self {
        let members = members.max(1);
        let mut weights = weights.to_vec();
        weights.truncate(members);
        // Sums are wider than weights, so they do not overflow.
        let total = weights.iter().map(|weight| u64::from(weight.get())).sum::<u64>()
            + (members - weights.len()) as u64;
        let needed = needed.map_or(total / 2 + 1, u64::from).clamp(1, total);
        Self { members, weights, total, needed }
    }

    pub(super) const fn members(&self) -> usize {
        self.members
    }

    pub(super) const fn needed(&self) -> u64 {
        self.needed
    }

    pub(super) fn weight(&self, member: usize) -> u64 {
        self.weights.get(member).map_or(1, |weight| u64::from(weight.get()))
    }

    /// The first member whose vote is enough by itself.
    pub(super) fn sole(&self) -> Option<usize> {
        // Of those who weigh 1 the first will do.
        let different = self.members.min(self.weights.len() + 1);
        (0..different).find(|&member| self.weight(member) >= self.needed)
    }
}

/// The weights of those who have voted, failed, run, and wait to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    needed: u64,
    /// All answers.
    answers: u64,
    /// The heaviest group of answers.
    largest: u64,
    /// Those who say that there is no answer.
    refusals: u64,
    failed: u64,
    running: u64,
    waiting: u64,
}

/// What a vote that is not decided comes to next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Those who run can decide it.
    Wait,
    /// They cannot without another one.
    Ask,
    /// Nobody can any more.
    Impossible,
}

impl Tally {
    pub(super) const fn new(electorate: &Electorate) -> Self {
        let Electorate { needed, total, .. } = *electorate;
        Self { needed, answers: 0, largest: 0, refusals: 0, failed: 0, running: 0, waiting: total }
    }

    /// A member is asked.
    pub(super) const fn asked(&mut self, weight: u64) {
        self.waiting = self.waiting.saturating_sub(weight);
        self.running += weight;
    }

    /// Those who wait will not be asked.
    pub(super) const fn ask_no_more(&mut self) {
        self.waiting = 0;
    }

    /// A member answered, which made the heaviest group weigh so much.
    pub(super) fn answered(&mut self, weight: u64, largest: u64) {
        self.ended(weight);
        self.answers += weight;
        self.largest = self.largest.max(largest);
    }

    /// A member said that there is no answer. True if that is now decided.
    pub(super) const fn refused(&mut self, weight: u64) -> bool {
        self.ended(weight);
        self.refusals += weight;
        self.refusals >= self.needed
    }

    /// A member failed.
    pub(super) const fn failed(&mut self, weight: u64) {
        self.ended(weight);
        self.failed += weight;
    }

    const fn ended(&mut self, weight: u64) {
        self.running = self.running.saturating_sub(weight);
    }

    /// What becomes of a vote that is not decided.
    ///
    /// Whoever is still to vote may join the heaviest group, and does no more for any other.
    pub(super) fn next(&self) -> Next {
        let best = self.largest.max(self.refusals);
        // A group of enough weight need not have decided it: that is for `Agree` to say.
        let can = |more: u64| more > 0 && best.saturating_add(more) >= self.needed;
        if can(self.running) {
            Next::Wait
        } else if can(self.running + self.waiting) {
            Next::Ask
        } else {
            Next::Impossible
        }
    }

    pub(super) fn votes(&self) -> Votes {
        let narrow = |weight| u32::try_from(weight).unwrap_or(u32::MAX);
        Votes {
            needed: narrow(self.needed),
            cast: narrow(self.answers + self.refusals),
            largest: narrow(self.largest.max(self.refusals)),
            failed: narrow(self.failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::groups::Groups, *};

    fn weights(weights: &[u32]) -> Vec<NonZeroU32> {
        weights.iter().filter_map(|&weight| NonZeroU32::new(weight)).collect()
    }

    #[test]
    fn needs_a_strict_majority_unless_told() {
        let needed = |members, heavy: &[u32], needed| {
            Electorate::new(members, &weights(heavy), needed).needed()
        };
        assert_eq!([1, 2, 3, 4, 5].map(|n| needed(n, &[], None)), [1, 2, 2, 3, 3]);
        assert_eq!(needed(3, &[3, 1], None), 3);
        assert_eq!(needed(0, &[], None), 1);
        // Nothing is needed of nobody, nor more than all of all.
        assert_eq!((needed(3, &[], Some(0)), needed(3, &[], Some(9))), (1, 3));
        // Weights beyond the members are nobody's.
        assert_eq!(needed(2, &[1, 1, 100], None), 2);
        // Three of the heaviest: none of them is a majority.
        assert_eq!(needed(3, &[u32::MAX; 3], None), 3 * u64::from(u32::MAX) / 2 + 1);
    }

    #[test]
    fn a_vote_that_nobody_is_left_for_has_ended() {
        let mut tally = Tally::new(&Electorate::new(2, &[], Some(2)));
        for largest in [1, 2] {
            tally.asked(1);
            tally.answered(1, largest);
        }
        // An `Agree` may hold back though a group is heavy enough.
        assert_eq!(tally.next(), Next::Impossible);
    }

    #[test]
    fn says_who_may_vote() {
        let electorate = Electorate::new(4, &weights(&[2]), None);
        assert_eq!(
            (electorate.members(), electorate.to_string().as_str()),
            (4, "3 of 5 agree, 4 members by weight")
        );
        assert_eq!(Electorate::new(3, &[], Some(1)).to_string(), "1 of 3 agree");
    }

    #[test]
    fn who_decides_alone_is_known() {
        let sole = |heavy: &[u32], needed| Electorate::new(3, &weights(heavy), needed).sole();
        assert_eq!(sole(&[], None), None);
        assert_eq!(sole(&[], Some(1)), Some(0));
        assert_eq!(sole(&[1, 5], None), Some(1));
        // However many there are.
        assert_eq!(Electorate::new(usize::MAX, &[], None).sole(), None);
    }

    /// What one member says.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Says {
        Answer(u8),
        Refusal,
        Failure,
    }

    fn says() -> impl Strategy<Value = Says> {
        prop_oneof![
            6 => (0_u8..3).prop_map(Says::Answer),
            2 => Just(Says::Refusal),
            2 => Just(Says::Failure),
        ]
    }

    /// All pairs: whether the votes of some member and of all who say the same are enough.
    fn decided(said: &[(Says, u64)], needed: u64) -> bool {
        said.iter().any(|(one, _)| {
            let same = said.iter().filter(|(other, _)| one == other);
            *one != Says::Failure && same.map(|(_, weight)| weight).sum::<u64>() >= needed
        })
    }

    /// Tries all that the others might say.
    fn can_be_decided(said: &mut Vec<(Says, u64)>, others: &[u64], needed: u64) -> bool {
        let Some((first, rest)) = others.split_first() else { return decided(said, needed) };
        [Says::Answer(0), Says::Answer(1), Says::Answer(2), Says::Answer(3), Says::Refusal]
            .into_iter()
            .any(|says| {
                said.push((says, *first));
                let can = can_be_decided(said, rest, needed);
                said.pop();
                can
            })
    }

    proptest! {
        /// A vote is decided, or known to be impossible, with exactly the vote with which it is so.
        #[test]
        fn ends_neither_later_nor_earlier_than_by_all_pairs(
            members in prop::collection::vec((says(), 1_u32..4), 1..6),
            needed in prop::option::of(0_u32..9), first in 0_usize..6,
        ) {
            let heavy = weights(&members.iter().map(|(_, weight)| *weight).collect::<Vec<_>>());
            let electorate = Electorate::new(members.len(), &heavy, needed);
            let needed = electorate.needed();
            let mut tally = Tally::new(&electorate);
            let mut groups = Groups::default();
            let all: Vec<u64> = (0..members.len()).map(|place| electorate.weight(place)).collect();
            let (mut asked, mut said) = (0, vec![]);
            for (place, (says, _)) in members.iter().enumerate() {
                while asked <= place.max(first.min(members.len() - 1)) {
                    tally.asked(all[asked]);
                    asked += 1;
                }
                let weight = all[place];
                said.push((*says, weight));
                let is_decided = match says {
                    Says::Answer(answer) => {
                        let joined = groups.join(weight, |other| other == answer);
                        if joined.is_none() {
                            groups.found(*answer, weight);
                        }
                        tally.answered(weight, groups.largest());
                        groups.largest() >= needed
                    }
                    Says::Refusal => tally.refused(weight),
                    Says::Failure => {
                        tally.failed(weight);
                        false
                    }
                };
                prop_assert_eq!(is_decided, decided(&said, needed));
                if is_decided {
                    prop_assert!(tally.votes().largest >= tally.votes().needed);
                    return Ok(());
                }
                let expected = if can_be_decided(&mut said, &all[place + 1..asked], needed) {
                    Next::Wait
                } else if can_be_decided(&mut said, &all[place + 1..], needed) {
                    Next::Ask
                } else {
                    Next::Impossible
                };
                prop_assert_eq!(tally.next(), expected, "{:?}", said);
                let sum = |of: fn(&Says) -> bool| {
                    said.iter().filter(|(says, _)| of(says)).map(|(_, w)| *w as u32).sum::<u32>()
                };
                prop_assert_eq!(tally.votes().failed, sum(|says| *says == Says::Failure));
                prop_assert_eq!(tally.votes().cast, sum(|says| *says != Says::Failure));
                if expected == Next::Impossible {
                    return Ok(());
                }
                let mut stopped = tally;
                stopped.ask_no_more();
                prop_assert_eq!(stopped.next() == Next::Impossible, expected == Next::Ask);
            }
        }
    }
}
