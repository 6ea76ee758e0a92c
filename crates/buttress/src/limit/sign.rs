//! What the end of a call says about the limit.

use std::time::Duration;

use crate::Kind;

/// What it says, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// The dependency answered, in time.
    Answer,
    /// There are too many calls.
    Overload,
}

/// From when on a call is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slow {
    /// One that is answered; never, if `None`.
    pub(super) answers: Option<Duration>,
    /// One that fails in a way that may pass, or is given up.
    pub(super) losses: Duration,
}

impl Slow {
    /// The sign of an outcome; `lapsed` if a time limit inside ended in its last moment.
    ///
    /// How long the call ran is asked for only where it matters.
    #[inline]
    pub(super) fn outcome(
        self,
        kind: Kind,
        lapsed: bool,
        ran: impl FnOnce() -> Duration,
    ) -> Option<Sign> {
        match kind {
            Kind::Success | Kind::Permanent => match self.answers {
                Some(slow) if ran() >= slow => Some(Sign::Overload),
                _ => Some(Sign::Answer),
            },
            Kind::Throttled => Some(Sign::Overload),
            // Quick failures are no sign: a tool that fails now and then is not overloaded.
            Kind::Transient | Kind::Unknown => {
                (lapsed || ran() >= self.losses).then_some(Sign::Overload)
            }
            Kind::Reroute | Kind::Rejected => None,
        }
    }

    /// The sign of a call that was dropped; `overdue` if its deadline had passed.
    pub(super) fn dropped(self, ran: Duration, overdue: bool) -> Option<Sign> {
        (overdue || ran >= self.losses).then_some(Sign::Overload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_end_of_a_call_and_what_it_says() {
        let by_default = Slow { answers: None, losses: 10 * SECOND };
        let strict = Slow { answers: Some(2 * SECOND), losses: 2 * SECOND };
        let (answer, overload) = (Some(Sign::Answer), Some(Sign::Overload));
        // Quick; at a time limit; after 3 s; after 10 s; strict after 3 s.
        let table = [
            (Kind::Success, [answer, answer, answer, answer, overload]),
            (Kind::Transient, [None, overload, None, overload, overload]),
            (Kind::Throttled, [overload; 5]),
            (Kind::Reroute, [None; 5]),
            (Kind::Rejected, [None; 5]),
            (Kind::Permanent, [answer, answer, answer, answer, overload]),
            (Kind::Unknown, [None, overload, None, overload, overload]),
        ];
        assert_eq!(table.map(|(kind, _)| kind), Kind::ALL);
        for (kind, says) in table {
            let told = [
                by_default.outcome(kind, false, || Duration::ZERO),
                by_default.outcome(kind, true, || SECOND),
                by_default.outcome(kind, false, || 3 * SECOND),
                by_default.outcome(kind, false, || 10 * SECOND),
                strict.outcome(kind, false, || 3 * SECOND),
            ];
            assert_eq!(told, says, "{kind}");
        }
        assert_eq!(by_default.dropped(3 * SECOND, false), None);
        assert_eq!(by_default.dropped(3 * SECOND, true), overload);
        assert_eq!(by_default.dropped(10 * SECOND, false), overload);
    }
}
