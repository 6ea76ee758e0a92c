//! Which answers of a quorum agree. Their texts tell only whether they are right.

use buttress::quorum::{Agree as Rule, Cast};
use buttress_sim::ToolReply;

use crate::plan::Agree;

/// Takes answers for the same, or not, for being right or wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByTruth(pub(super) Agree);

/// What the groups weigh.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ballots {
    right: u64,
    wrong: u64,
    largest: u64,
}

impl Rule<ToolReply> for ByTruth {
    type Ballots = Ballots;

    fn open(&self) -> Ballots {
        Ballots::default()
    }

    fn cast(
        &self,
        ballots: &mut Ballots,
        answer: ToolReply,
        weight: u64,
        needed: u64,
    ) -> Cast<ToolReply> {
        let sum = match (self.0, answer.correct) {
            // Alone with itself.
            (Agree::Right, false) => weight,
            (Agree::Answer, false) => {
                ballots.wrong += weight;
                ballots.wrong
            }
            (Agree::Any, _) | (_, true) => {
                ballots.right += weight;
                ballots.right
            }
        };
        ballots.largest = ballots.largest.max(sum);
        if sum >= needed {
            return Cast::Agreed { answer, weight: sum };
        }
        Cast::Open { largest: ballots.largest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many answers, right and wrong ones, two agree, and whether that is a right one.
    fn decided(agree: Agree, answers: &[bool]) -> Option<(usize, bool)> {
        let rule = ByTruth(agree);
        let mut ballots = rule.open();
        answers.iter().zip(1..).find_map(|(correct, count)| {
            let answer = ToolReply { query: "x".into(), instance: count as u64, correct: *correct };
            match rule.cast(&mut ballots, answer, 1, 2) {
                Cast::Agreed { answer, weight } => {
                    assert_eq!(weight, 2);
                    Some((count, answer.correct))
                }
                Cast::Open { largest } => {
                    assert_eq!(largest, 1);
                    None
                }
            }
        })
    }

    #[test]
    fn right_and_wrong_answers_find_each_other_as_told() {
        let (right, wrong) = (true, false);
        for (answers, same, worst, any) in [
            ([right, right, wrong], Some((2, right)), Some((2, right)), Some((2, right))),
            ([right, wrong, right], Some((3, right)), Some((3, right)), Some((2, wrong))),
            ([wrong, right, wrong], None, Some((3, wrong)), Some((2, right))),
            ([wrong, wrong, wrong], None, Some((2, wrong)), Some((2, wrong))),
        ] {
            assert_eq!(decided(Agree::Right, &answers), same, "{answers:?}");
            assert_eq!(decided(Agree::Answer, &answers), worst, "{answers:?}");
            assert_eq!(decided(Agree::Any, &answers), any, "{answers:?}");
        }
    }
}
