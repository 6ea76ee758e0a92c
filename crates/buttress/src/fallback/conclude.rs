//! What a call comes to when every tier has failed.

use std::{error::Error, fmt, time::Duration};

use super::Tier;
use crate::{Cause, FromRejection, IntoCause, Kind, Name, Rejection, Verdict};

/// An answer that the classifier did not accept, as one cause among several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotAccepted;

impl fmt::Display for NotAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("answer not accepted")
    }
}

impl Error for NotAccepted {}

/// Which tier failed, and what it came to.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    pub(super) tier: &'a Tier,
    pub(super) verdict: Verdict,
    /// Whether it was sent the request; a failure of readiness comes before that.
    pub(super) sent: bool,
}

/// Keeps what is told when every tier has failed: [`AllCauses`], [`LastError`] or [`Answered`].
pub trait Conclude<Res, Err>: sealed::Sealed {
    /// What is kept of failures.
    type Kept: Default;

    /// Keeps what matters of a failure while another tier is tried.
    fn keep(kept: &mut Self::Kept, failed: Failed<'_>, outcome: Result<Res, Err>);

    /// Keeps that a tier was not ready within this time.
    fn unready(kept: &mut Self::Kept, failed: Failed<'_>, after: Duration);

    /// Makes the outcome of the call out of the last failure and those before; `name` is the
    /// fallback's.
    fn conclude(
        kept: &mut Self::Kept,
        failed: Failed<'_>,
        outcome: Result<Res, Err>,
        name: impl FnOnce() -> Name,
    ) -> Result<Res, Err>;
}

/// Returns [`Rejection::AllFailed`] with every cause when every tier has failed: the default.
///
/// Needs an error that can refuse and that can be kept among others.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllCauses;

/// Returns the most telling error when every tier has failed.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastError;

/// The chain ends with a value, so there is always an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answered;

/// A chain that another tier can be added to.
pub trait Open: sealed::Sealed {}
impl Open for AllCauses {}
impl Open for LastError {}

impl<Res, Err: FromRejection + IntoCause> Conclude<Res, Err> for AllCauses {
    type Kept = Vec<Cause>;

    fn keep(kept: &mut Vec<Cause>, failed: Failed<'_>, outcome: Result<Res, Err>) {
        let error = match outcome {
            Ok(_) => NotAccepted.into(),
            Err(error) => error.into_cause(),
        };
        kept.push(Cause::new(failed.tier.name().clone(), failed.verdict, error));
    }

    fn unready(kept: &mut Vec<Cause>, failed: Failed<'_>, after: Duration) {
        let error = Rejection::unready(after);
        kept.push(Cause::new(failed.tier.name().clone(), failed.verdict, error));
    }

    fn conclude(
        kept: &mut Vec<Cause>,
        failed: Failed<'_>,
        outcome: Result<Res, Err>,
        name: impl FnOnce() -> Name,
    ) -> Result<Res, Err> {
        if kept.is_empty() {
            return outcome;
        }
        Self::keep(kept, failed, outcome);
        let causes = kept.drain(..).collect();
        Err(Err::from_rejection(Rejection::AllFailed { name: name(), causes }))
    }
}

/// How much an error tells. The later of equals is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The service was not ready.
    Unready,
    /// A layer refused the call.
    Refused,
    /// The service failed.
    Real,
}

impl Rank {
    const fn of(failed: Failed<'_>) -> Self {
        match failed.verdict.kind {
            _ if !failed.sent => Self::Unready,
            Kind::Rejected => Self::Refused,
            _ => Self::Real,
        }
    }
}

impl<Res, Err> Conclude<Res, Err> for LastError {
    type Kept = Option<(Rank, Err)>;

    fn keep(kept: &mut Self::Kept, failed: Failed<'_>, outcome: Result<Res, Err>) {
        let rank = Rank::of(failed);
        if let Err(error) = outcome
            && kept.as_ref().is_none_or(|(best, _)| *best <= rank)
        {
            *kept = Some((rank, error));
        }
    }

    fn unready(_: &mut Self::Kept, _: Failed<'_>, _: Duration) {}

    fn conclude(
        kept: &mut Self::Kept,
        failed: Failed<'_>,
        outcome: Result<Res, Err>,
        _: impl FnOnce() -> Name,
    ) -> Result<Res, Err> {
        match kept.take() {
            Some((rank, error)) if rank > Rank::of(failed) => Err(error),
            _ => outcome,
        }
    }
}

impl<Res, Err> Conclude<Res, Err> for Answered {
    type Kept = ();

    fn keep((): &mut (), _: Failed<'_>, _: Result<Res, Err>) {}

    fn unready((): &mut (), _: Failed<'_>, _: Duration) {}

    fn conclude(
        (): &mut (),
        _: Failed<'_>,
        outcome: Result<Res, Err>,
        _: impl FnOnce() -> Name,
    ) -> Result<Res, Err> {
        outcome
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::AllCauses {}
    impl Sealed for super::LastError {}
    impl Sealed for super::Answered {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CallError;

    type Outcome = Result<u32, CallError<std::io::Error>>;

    const TRANSIENT: Verdict = Verdict::transient();
    const REFUSED: Verdict = Verdict::rejected();

    fn failed(tier: &Tier, verdict: Verdict, sent: bool) -> Failed<'_> {
        Failed { tier, verdict, sent }
    }

    fn error(text: &str) -> Outcome {
        Err(CallError::Service(std::io::Error::other(text)))
    }

    /// The error that is left of failures in their order.
    fn left(failures: &[(&str, Verdict, bool)]) -> String {
        let tier = Tier::new(1, Name::new("tier"));
        let mut kept = <LastError as Conclude<u32, CallError<std::io::Error>>>::Kept::default();
        let (last, before) = failures.split_last().unwrap();
        for (text, verdict, sent) in before {
            LastError::keep(&mut kept, failed(&tier, *verdict, *sent), error(text));
        }
        let name = || Name::new("unused");
        let last =
            LastError::conclude(&mut kept, failed(&tier, last.1, last.2), error(last.0), name);
        last.unwrap_err().to_string()
    }

    #[test]
    fn the_most_telling_error_is_the_last_real_one() {
        assert_eq!(left(&[("a", TRANSIENT, true), ("b", TRANSIENT, true)]), "b");
        assert_eq!(left(&[("a", TRANSIENT, true), ("b", REFUSED, true)]), "a");
        assert_eq!(left(&[("a", TRANSIENT, true), ("b", TRANSIENT, false)]), "a");
        assert_eq!(left(&[("a", REFUSED, true), ("b", REFUSED, false)]), "a");
        assert_eq!(left(&[("a", REFUSED, false), ("b", TRANSIENT, false)]), "b");
        let three = [("a", REFUSED, true), ("b", TRANSIENT, true), ("c", REFUSED, true)];
        assert_eq!(left(&three), "b");
        assert_eq!(left(&[("a", TRANSIENT, true)]), "a");
    }

    #[test]
    fn every_cause_is_kept_in_order() {
        let tiers =
            [("best", 1), ("queue", 2), ("rule", 3)].map(|(n, i)| Tier::new(i, Name::new(n)));
        let mut kept = vec![];
        AllCauses::keep(&mut kept, failed(&tiers[0], TRANSIENT, true), Outcome::Ok(7));
        let after = Duration::from_secs(1);
        <AllCauses as Conclude<u32, CallError<std::io::Error>>>::unready(
            &mut kept,
            failed(&tiers[1], TRANSIENT, false),
            after,
        );
        let last = failed(&tiers[2], TRANSIENT, true);
        let outcome =
            AllCauses::conclude(&mut kept, last, error("no rule"), || Name::new("answer"));
        let Err(CallError::Rejected(rejection)) = outcome else { unreachable!("all failed") };
        assert_eq!(
            rejection.to_string(),
            "all 3 tiers of `answer` failed: best: answer not accepted; \
             queue: service not ready within 1s; rule: no rule"
        );
        let causes = rejection.causes().unwrap();
        assert!(causes.find::<NotAccepted>().is_some());
        assert_eq!(causes.find(), Some(&Rejection::unready(after)));
    }

    #[test]
    fn a_single_failure_is_told_as_it_is() {
        let tier = Tier::new(1, Name::new("primary"));
        let alone = |outcome| {
            let failed = failed(&tier, TRANSIENT, true);
            AllCauses::conclude(&mut vec![], failed, outcome, || Name::new("unused"))
        };
        assert_eq!(alone(Ok(7)).ok(), Some(7));
        assert_eq!(alone(error("a")).unwrap_err().to_string(), "a");
    }
}
