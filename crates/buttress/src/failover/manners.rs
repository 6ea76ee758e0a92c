//! How calls are made, whoever is called: plain facts in, a decision out.

use std::time::Duration;

use crate::{Budget, Effect, Kind, Repeat, Verdict, Why};

/// What the calls of a service have in common.
#[derive(Clone, Debug)]
pub(super) struct Manners<C, R> {
    pub(super) attempts: u32,
    pub(super) patience: Duration,
    pub(super) budget: Option<Budget>,
    pub(super) classify: C,
    pub(super) replay: R,
}

/// What is known when a call to one replica has failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) verdict: Verdict,
    pub(super) repeat: Repeat,
    /// How many replicas were called, those aside that could do nothing with the call.
    pub(super) called: u32,
    pub(super) attempts: u32,
    /// Whether there is a replica that was not tried and may be.
    pub(super) others: bool,
    pub(super) overdue: bool,
}

/// Decides whether the call may go to another replica, and why it does or does not.
pub(super) fn elsewhere(facts: Facts) -> Result<Why, Why> {
    let Facts { verdict, repeat, called, attempts, others, overdue } = facts;
    let why = match verdict.kind {
        Kind::Transient | Kind::Unknown => Why::Failure,
        Kind::Throttled => Why::Throttled,
        Kind::Reroute => Why::Reroute,
        Kind::Rejected => Why::Rejected,
        Kind::Success | Kind::Permanent => return Err(Why::Permanent),
    };
    let repeatable = match repeat {
        Repeat::Freely => true,
        Repeat::IfUnsent => verdict.effect == Effect::None,
        Repeat::Never => false,
    };
    if !others || (is_attempt(verdict.kind) && called >= attempts) {
        Err(Why::Attempts)
    } else if !repeatable {
        Err(Why::NotRepeatable)
    } else if overdue {
        Err(Why::Deadline)
    } else {
        Ok(why)
    }
}

/// Whether a replica that ended a call so has tried to do it: one that is no use for the request,
/// or refused it locally, does not count among the attempts.
pub(super) const fn is_attempt(kind: Kind) -> bool {
    !matches!(kind, Kind::Reroute | Kind::Rejected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(verdict: Verdict) -> Facts {
        let repeat = Repeat::Freely;
        Facts { verdict, repeat, called: 1, attempts: 2, others: true, overdue: false }
    }

    #[test]
    fn each_kind_is_read_as_the_table_says() {
        let table = [
            (Verdict::success(), Err(Why::Permanent), Err(Why::Permanent)),
            (Verdict::permanent(), Err(Why::Permanent), Err(Why::Permanent)),
            (Verdict::transient(), Ok(Why::Failure), Err(Why::Attempts)),
            (Verdict::unknown(), Ok(Why::Failure), Err(Why::Attempts)),
            (Verdict::throttled(), Ok(Why::Throttled), Err(Why::Attempts)),
            (Verdict::reroute(), Ok(Why::Reroute), Ok(Why::Reroute)),
            (Verdict::rejected(), Ok(Why::Rejected), Ok(Why::Rejected)),
        ];
        for (verdict, first, last) in table {
            assert_eq!(elsewhere(after(verdict)), first, "{verdict:?}");
            assert_eq!(elsewhere(Facts { called: 2, ..after(verdict) }), last, "{verdict:?}");
        }
    }

    #[test]
    fn effects_are_repeated_only_if_there_was_none() {
        let careful = |verdict| Facts { repeat: Repeat::IfUnsent, ..after(verdict) };
        assert_eq!(elsewhere(careful(Verdict::transient())), Err(Why::NotRepeatable));
        let unsent = Verdict::transient().with_effect(Effect::None);
        assert_eq!(elsewhere(careful(unsent)), Ok(Why::Failure));
        let applied = Verdict::reroute().with_effect(Effect::Applied);
        assert_eq!(elsewhere(careful(applied)), Err(Why::NotRepeatable));
        let never = Facts { repeat: Repeat::Never, ..after(unsent) };
        assert_eq!(elsewhere(never), Err(Why::NotRepeatable));
    }

    #[test]
    fn nothing_goes_nowhere_nor_too_late() {
        let facts = after(Verdict::reroute());
        assert_eq!(elsewhere(Facts { others: false, ..facts }), Err(Why::Attempts));
        assert_eq!(elsewhere(Facts { overdue: true, ..facts }), Err(Why::Deadline));
    }
}
