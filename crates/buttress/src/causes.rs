//! Why the calls failed that one call was made of.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use crate::{Effect, Kind, Name, Verdict, verdict::chain};

/// A boxed error that may cross threads.
type Boxed = Box<dyn Error + Send + Sync>;

/// Why one of several services failed.
#[derive(Debug)]
pub struct Cause {
    who: Name,
    verdict: Verdict,
    error: Boxed,
}

impl Cause {
    /// The failure of the service named `who`.
    pub fn new(who: impl Into<Name>, verdict: Verdict, error: impl Into<Boxed>) -> Self {
        Self { who: who.into(), verdict, error: error.into() }
    }

    /// Which service failed.
    pub const fn who(&self) -> &Name {
        &self.who
    }

    /// What its failure means.
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The error itself.
    pub fn error(&self) -> &(dyn Error + 'static) {
        &*self.error
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.who, self.error)
    }
}

/// Why the calls failed that one call was made of, in their order.
///
/// # Clone
/// Clones share the causes; only a clone of the same causes is equal to them.
#[derive(Clone, Debug, Default)]
pub struct Causes(Option<Arc<Vec<Cause>>>);

impl Causes {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// Each in turn.
    pub fn iter(&self) -> std::slice::Iter<'_, Cause> {
        self.all().iter()
    }

    fn all(&self) -> &[Cause] {
        self.0.as_ref().map_or(&[], |causes| causes.as_slice())
    }

    /// The first error of type `E` among the causes, or along their sources.
    pub fn find<E: Error + 'static>(&self) -> Option<&E> {
        self.iter().flat_map(|cause| chain(cause.error())).find_map(|error| error.downcast_ref())
    }

    /// The most hopeful of their verdicts: what a further attempt may come to.
    ///
    /// The kind is the first of transient, throttled, rejected, unknown, reroute, permanent that
    /// occurs, with the shortest wait that any of the same kind asks for; there may have been an
    /// effect if any may have had one. Without causes it is unknown.
    pub fn verdict(&self) -> Verdict {
        let hope = |kind| match kind {
            Kind::Transient => 5,
            Kind::Throttled => 4,
            Kind::Rejected => 3,
            Kind::Unknown => 2,
            Kind::Reroute => 1,
            Kind::Permanent | Kind::Success => 0,
        };
        let Some(best) = self.iter().map(Cause::verdict).max_by_key(|v| hope(v.kind)) else {
            return Verdict::unknown();
        };
        let same = self.iter().map(Cause::verdict).filter(|verdict| verdict.kind == best.kind);
        // One that asks for no wait may be tried at once.
        let shortest = same.map(|verdict| verdict.retry_after.unwrap_or(Duration::ZERO)).min();
        Verdict {
            // An answer that was not accepted is no success to those outside.
            kind: if best.kind == Kind::Success { Kind::Unknown } else { best.kind },
            retry_after: shortest.filter(|wait| !wait.is_zero()),
            effect: self.iter().map(|cause| cause.verdict.effect).max().unwrap_or(Effect::Maybe),
        }
    }

    /// Writes them one after another, after a colon.
    pub(crate) fn list(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, cause) in self.iter().enumerate() {
            f.write_str(if place == 0 { ": " } else { "; " })?;
            fmt::Display::fmt(cause, f)?;
        }
        Ok(())
    }
}

impl FromIterator<Cause> for Causes {
    fn from_iter<I: IntoIterator<Item = Cause>>(causes: I) -> Self {
        let causes: Vec<Cause> = causes.into_iter().collect();
        // Who has none to tell of, such as an answer of which all went well, needs no allocation.
        Self((!causes.is_empty()).then(|| Arc::new(causes)))
    }
}

impl<'a> IntoIterator for &'a Causes {
    type Item = &'a Cause;
    type IntoIter = std::slice::Iter<'a, Cause>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Causes {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

impl Eq for Causes {}

/// How several services voted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Votes {
    /// The weight that had to agree.
    pub needed: u32,
    /// The weight of all answers.
    pub cast: u32,
    /// The weight of the largest group of answers that agree.
    pub largest: u32,
    /// The weight of those that failed.
    pub failed: u32,
}

impl Votes {
    /// The weight of the answers outside the largest group.
    pub const fn dissent(&self) -> u32 {
        self.cast.saturating_sub(self.largest)
    }
}

impl fmt::Display for Votes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, largest, failed, .. } = self;
        let dissent = self.dissent();
        write!(f, "{largest} of {needed} needed agree, {dissent} dissent, {failed} failed")
    }
}

/// A vote that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// How they voted.
    pub votes: Votes,
    /// Why some gave no answer, in the order in which they did not. A permanent failure is a vote
    /// all the same.
    pub causes: Causes,
    /// What the members may have done, those included that did not fail.
    pub effect: Effect,
}

impl Split {
    /// What it means to the layers outside: the most hopeful of the [causes](Causes::verdict), and
    /// [unknown](Kind::Unknown) where answers contradict each other.
    pub fn verdict(&self) -> Verdict {
        let verdict = match self.votes.dissent() {
            0 => self.causes.verdict(),
            _ => Verdict::unknown(),
        };
        verdict.with_effect(self.effect)
    }
}

/// An error that can be kept among others. Implemented for all that can be boxed.
#[diagnostic::on_unimplemented(
    message = "the error type `{Self}` cannot be kept as one cause among several",
    label = "`{Self}` is not `Into<Box<dyn std::error::Error + Send + Sync>>`",
    note = "implement `std::error::Error` for it; it has to be `Send + Sync + 'static`",
    note = "boxed errors (`tower::BoxError`), `std::io::Error`, and `buttress::CallError` of an error work as they are",
    note = "a fallback keeps no causes with `FallbackLayer::last_error()`, or with a value at its end"
)]
pub trait IntoCause: sealed::Sealed {
    /// Boxes the error.
    fn into_cause(self) -> Box<dyn Error + Send + Sync>;
}

#[diagnostic::do_not_recommend]
impl<E: Into<Boxed>> IntoCause for E {
    fn into_cause(self) -> Boxed {
        self.into()
    }
}

mod sealed {
    pub trait Sealed {}
    impl<E> Sealed for E {}
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::Rejection;

    fn causes(verdicts: &[Verdict]) -> Causes {
        verdicts.iter().map(|verdict| Cause::new("tier", *verdict, "broken")).collect()
    }

    #[test]
    fn the_most_hopeful_verdict_counts() {
        let second = Duration::from_secs(1);
        let verdict = causes(&[
            Verdict::permanent(),
            Verdict::throttled().with_retry_after(3 * second),
            Verdict::throttled().with_retry_after(2 * second),
        ])
        .verdict();
        assert_eq!((verdict.kind, verdict.retry_after), (Kind::Throttled, Some(2 * second)));
        // The permanent one may have had an effect.
        assert_eq!(verdict.effect, Effect::Maybe);
        let verdict = causes(&[Verdict::throttled(), Verdict::transient()]).verdict();
        assert_eq!(verdict, Verdict::transient());
        assert_eq!(causes(&[]).verdict(), Verdict::unknown());
        assert_eq!(causes(&[Verdict::success()]).verdict().kind, Kind::Unknown);
    }

    #[test]
    fn each_cause_is_named_and_found() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let causes: Causes = [
            Cause::new("primary", Verdict::transient(), Rejection::timeout(Duration::from_secs(1))),
            Cause::new("cheaper", Verdict::transient(), refused),
        ]
        .into_iter()
        .collect();
        let rejection = Rejection::AllFailed { name: Name::new("answer"), causes: causes.clone() };
        assert_eq!(
            rejection.to_string(),
            "all 2 tiers of `answer` failed: primary: no answer within 1s; cheaper: connection refused"
        );
        assert_eq!(rejection.verdict(), Verdict::transient());
        assert!(causes.find::<io::Error>().is_some());
        assert!(rejection.source().is_some_and(<dyn Error>::is::<Rejection>));
        assert_eq!(rejection, rejection.clone());
    }

    #[test]
    fn replicas_that_contradict_each_other_are_unknown() {
        let split = |largest, cast, effect| Rejection::NoQuorum {
            name: Name::new("model"),
            split: Box::new(Split {
                votes: Votes { needed: 2, cast, largest, failed: 3 - cast },
                causes: causes(&vec![Verdict::throttled(); 3 - cast as usize]),
                effect,
            }),
        };
        let maybe = Effect::Maybe;
        assert_eq!(split(1, 2, maybe).verdict(), Verdict::unknown());
        // Some may have done something that were dropped, and have no cause.
        for cast in [0, 1] {
            let verdict = split(cast, cast, maybe).verdict();
            assert_eq!((verdict.kind, verdict.effect), (Kind::Throttled, maybe));
        }
        assert_eq!(split(0, 0, Effect::None).verdict(), Verdict::throttled());
        assert!(
            split(1, 2, maybe).to_string().contains("1 of 2 needed agree, 1 dissent, 1 failed")
        );
    }
}
