//! Planted faults, which the check must find.

use super::{AGREEMENT, IN_THE_END, NOT_FORGOTTEN};

/// What a wrong implementation would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    CommitBeforeLog,
    VoteBeforeLog,
    EndAfterFirst,
    BlindPut,
    PresumeWithoutRecord,
    ReuseOfIds,
    ForgottenAborts,
}

impl Fault {
    /// Each with what it breaks.
    pub(crate) const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::CommitBeforeLog, "telling the decision before it is written", AGREEMENT),
        (Self::VoteBeforeLog, "voting before the vote is written", AGREEMENT),
        (Self::EndAfterFirst, "an end after the first acknowledgement", NOT_FORGOTTEN),
        (Self::BlindPut, "a decision that is written over another", AGREEMENT),
        (Self::PresumeWithoutRecord, "an abort presumed without a record", AGREEMENT),
        (Self::ReuseOfIds, "an id that is used again", IN_THE_END),
        (Self::ForgottenAborts, "an abort that a participant forgets", NOT_FORGOTTEN),
    ];

    pub(crate) fn breaks(self) -> &'static str {
        let row = Self::ALL.into_iter().find(|(fault, ..)| *fault == self);
        row.map(|(_, _, breaks)| breaks).expect("every fault is in the table")
    }
}
