//! Whether to try again, and after how long: plain numbers in, a decision out.

use std::time::Duration;

use crate::{Backoff, Effect, Kind, Repeat, Verdict, Why};

/// What does not change from call to call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) attempts: u32,
    pub(super) backoff: Backoff,
    pub(super) max_retry_after: Duration,
    pub(super) wait_when_rejected: Option<Duration>,
    pub(super) retry_unknown: bool,
}

/// What is known when an attempt has failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The attempt that failed, counted from 1.
    pub(super) attempt: u32,
    pub(super) verdict: Verdict,
    pub(super) repeat: Repeat,
    /// The wait before this attempt.
    pub(super) previous: Duration,
    /// The time left until the deadline.
    pub(super) left: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Stop(Why),
    Wait(Duration),
}

impl Policy {
    /// Decides after a failed attempt; `unit` gives a random number, at least 0 and below 1.
    pub(super) fn decide(&self, facts: Facts, unit: impl FnOnce() -> f64) -> Decision {
        let Facts { attempt, verdict, repeat, previous, left } = facts;
        let longest = match verdict.kind {
            Kind::Transient | Kind::Throttled => self.max_retry_after,
            Kind::Unknown if self.retry_unknown => self.max_retry_after,
            // A refusal without a hint, as of a circuit whose probes are all taken, is backed off from.
            Kind::Rejected => match self.wait_when_rejected {
                Some(longest) => longest,
                None => return Decision::Stop(Why::Rejected),
            },
            Kind::Unknown => return Decision::Stop(Why::Unknown),
            Kind::Reroute => return Decision::Stop(Why::Reroute),
            Kind::Success | Kind::Permanent => return Decision::Stop(Why::Permanent),
        };
        let repeatable = match repeat {
            Repeat::Freely => true,
            Repeat::IfUnsent => verdict.effect == Effect::None,
            Repeat::Never => false,
        };
        if !repeatable {
            return Decision::Stop(Why::NotRepeatable);
        }
        if attempt >= self.attempts {
            return Decision::Stop(Why::Attempts);
        }
        let asked = verdict.retry_after.unwrap_or_default();
        if asked > longest {
            return Decision::Stop(Why::RetryAfter);
        }
        let wait = self.backoff.delay(attempt, previous, unit()).max(asked);
        match left {
            Some(left) if wait >= left => Decision::Stop(Why::Deadline),
            _ => Decision::Wait(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy() -> Policy {
        Policy {
            attempts: 3,
            backoff: Backoff::exponential(SECOND, 8 * SECOND).jitter(crate::Jitter::None),
            max_retry_after: 60 * SECOND,
            wait_when_rejected: None,
            retry_unknown: false,
        }
    }

    fn after(verdict: Verdict) -> Facts {
        Facts { attempt: 1, verdict, repeat: Repeat::Freely, previous: Duration::ZERO, left: None }
    }

    fn decide(policy: Policy, facts: Facts) -> Decision {
        policy.decide(facts, || 0.5)
    }

    #[test]
    fn each_kind_is_read_as_the_table_says() {
        let read = |verdict| decide(policy(), after(verdict));
        assert_eq!(read(Verdict::transient()), Decision::Wait(SECOND));
        assert_eq!(read(Verdict::throttled()), Decision::Wait(SECOND));
        assert_eq!(read(Verdict::reroute()), Decision::Stop(Why::Reroute));
        assert_eq!(read(Verdict::rejected()), Decision::Stop(Why::Rejected));
        assert_eq!(read(Verdict::permanent()), Decision::Stop(Why::Permanent));
        assert_eq!(read(Verdict::unknown()), Decision::Stop(Why::Unknown));
        let curious = Policy { retry_unknown: true, ..policy() };
        assert_eq!(decide(curious, after(Verdict::unknown())), Decision::Wait(SECOND));
    }

    #[test]
    fn a_retry_after_is_never_undercut() {
        let asked = Verdict::throttled().with_retry_after(7 * SECOND);
        assert_eq!(decide(policy(), after(asked)), Decision::Wait(7 * SECOND));
        let short = Verdict::throttled().with_retry_after(SECOND / 2);
        assert_eq!(decide(policy(), after(short)), Decision::Wait(SECOND));
    }

    #[test]
    fn an_hour_is_not_waited_for() {
        let hour = Verdict::throttled().with_retry_after(3_600 * SECOND);
        assert_eq!(decide(policy(), after(hour)), Decision::Stop(Why::RetryAfter));
    }

    #[test]
    fn no_wait_begins_that_outlasts_the_deadline() {
        let facts = |left| Facts { left: Some(left), ..after(Verdict::transient()) };
        assert_eq!(decide(policy(), facts(SECOND)), Decision::Stop(Why::Deadline));
        let just = SECOND + Duration::from_nanos(1);
        assert_eq!(decide(policy(), facts(just)), Decision::Wait(SECOND));
    }

    #[test]
    fn a_refusal_is_waited_for_only_if_told_and_short() {
        let patient = Policy { wait_when_rejected: Some(2 * SECOND), ..policy() };
        let refusal = |wait| after(Verdict::rejected().with_retry_after(wait));
        assert_eq!(decide(patient, refusal(2 * SECOND)), Decision::Wait(2 * SECOND));
        assert_eq!(decide(patient, refusal(3 * SECOND)), Decision::Stop(Why::RetryAfter));
        assert_eq!(decide(patient, after(Verdict::rejected())), Decision::Wait(SECOND));
        assert_eq!(decide(policy(), refusal(SECOND)), Decision::Stop(Why::Rejected));
    }

    #[test]
    fn effects_are_repeated_only_if_there_was_none() {
        let careful = |verdict| Facts { repeat: Repeat::IfUnsent, ..after(verdict) };
        let unsent = Verdict::transient().with_effect(Effect::None);
        assert_eq!(decide(policy(), careful(unsent)), Decision::Wait(SECOND));
        let maybe = careful(Verdict::transient());
        assert_eq!(decide(policy(), maybe), Decision::Stop(Why::NotRepeatable));
    }

    fn any_verdict() -> impl Strategy<Value = Verdict> {
        let kind = prop::sample::select(Kind::ALL.to_vec());
        let effect = prop::sample::select(vec![Effect::None, Effect::Maybe, Effect::Applied]);
        let retry_after = prop::option::of((0_u64..100).prop_map(Duration::from_secs));
        (kind, retry_after, effect).prop_map(|(kind, retry_after, effect)| Verdict {
            kind,
            retry_after,
            effect,
        })
    }

    proptest! {
        #[test]
        fn a_wait_keeps_every_promise(
            verdict in any_verdict(), attempt in 1_u32..10, attempts in 1_u32..10,
            left in prop::option::of((0_u64..100).prop_map(Duration::from_secs)),
            repeat in prop::sample::select(vec![Repeat::Freely, Repeat::IfUnsent, Repeat::Never]),
            max in (0_u64..100).prop_map(Duration::from_secs), unknown: bool, unit in 0.0_f64..1.0,
            rejected in prop::option::of((0_u64..100).prop_map(Duration::from_secs)),
        ) {
            let policy = Policy {
                attempts, max_retry_after: max, wait_when_rejected: rejected,
                retry_unknown: unknown, ..policy()
            };
            let facts = Facts { attempt, verdict, repeat, previous: Duration::ZERO, left };
            if let Decision::Wait(wait) = policy.decide(facts, || unit) {
                prop_assert!(attempt < attempts);
                prop_assert!(left.is_none_or(|left| wait < left));
                prop_assert!(verdict.retry_after.is_none_or(|asked| wait >= asked));
                prop_assert!(wait <= policy.backoff.cap().max(max).max(rejected.unwrap_or_default()));
                prop_assert!(repeat != Repeat::Never);
                prop_assert!(repeat != Repeat::IfUnsent || verdict.effect == Effect::None);
                prop_assert!(!matches!(verdict.kind, Kind::Success | Kind::Permanent | Kind::Reroute));
                prop_assert!(verdict.kind != Kind::Unknown || unknown);
            }
        }
    }
}
