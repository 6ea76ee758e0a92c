//! Which orders of layers do harm, and why. A table of rules over a list of parts: pure.

use std::{error::Error, fmt, time::Duration};

use super::outline::Part;
use crate::event::Pattern;

/// A pair of layers whose order does harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The place of the outer layer in the stack, counted from 1 for the outermost.
    pub outer: usize,
    /// The place of the inner layer.
    pub inner: usize,
    /// What is wrong with them.
    pub rule: Rule,
}

/// What may be wrong with the order of two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A time limit around a fallback that nothing inside undercuts: a slow primary uses up all of
    /// the time, and the fallback is never tried.
    FallbackStarved,
    /// A fallback below a layer that lives by the failures of what is inside: they are hidden from
    /// it, and the weaker answer is given at the first of them.
    FailuresHidden,
    /// A breaker around a retry or a hedge: it sees only calls whose attempts are used up, and
    /// opens late.
    BreakerBlinded,
    /// A limit around a retry: a place is held while the retry only waits.
    PlaceHeld,
    /// A time limit that is no shorter than the one around it: it never fires, and the layers
    /// between the two never see it.
    NeverFires,
    /// A retry inside a retry: their attempts multiply.
    AttemptsMultiply,
    /// A retry around a quorum or an ensemble: it repeats the members that had answered, too.
    ReplicasRepeated,
    /// A layer that calls several times around a checkpoint: each attempt begins the step anew, and is
    /// refused where the step is under way or in doubt.
    StepRepeated,
    /// A breaker around a checkpoint: while it is open, what was done is not answered either.
    ReplayBlocked,
    /// A time limit around the checkpoint of a side effect: a step that was done in time may be cut off
    /// before that is recorded, and is then in doubt.
    RecordingCut,
}

impl Rule {
    /// What to do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::FallbackStarved => {
                "put the fallback outside, or a shorter time limit around its primary"
            }
            Self::FailuresHidden => "put the fallback outside",
            Self::BreakerBlinded => "put the breaker inside",
            Self::PlaceHeld => "put the limit inside",
            Self::NeverFires => "shorten the inner limit, or drop it",
            Self::AttemptsMultiply => "keep one of them",
            Self::ReplicasRepeated => "put the retry inside, around each member",
            Self::StepRepeated | Self::ReplayBlocked => "put the checkpoint outside",
            Self::RecordingCut => "put the time limit inside, or let the checkpoint detach_on_drop",
        }
    }

    const fn harm(self) -> &'static str {
        match self {
            Self::FallbackStarved => "a slow primary uses up the time of its fallback",
            Self::FailuresHidden => "the fallback hides failures from the layer around it",
            Self::BreakerBlinded => "the breaker sees only calls whose attempts are used up",
            Self::PlaceHeld => "a place is held while nothing but a delay runs",
            Self::NeverFires => "the inner limit never fires before the outer one",
            Self::AttemptsMultiply => "the attempts of the two multiply",
            Self::ReplicasRepeated => "members that had answered are called again",
            Self::StepRepeated => "each attempt begins the step anew",
            Self::ReplayBlocked => "an open circuit keeps back what was done before",
            Self::RecordingCut => "what was done may be cut off before it is recorded",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.harm())
    }
}

/// A stack whose order does harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disorder {
    clashes: Vec<(Clash, String, String)>,
}

impl Disorder {
    /// What clashes, from the outside in.
    pub fn clashes(&self) -> impl Iterator<Item = Clash> {
        self.clashes.iter().map(|(clash, ..)| *clash)
    }
}

impl fmt::Display for Disorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (clash, outer, inner)) in self.clashes.iter().enumerate() {
            let Clash { outer: first, inner: second, rule } = clash;
            f.write_str(if place == 0 { "" } else { "; " })?;
            write!(f, "{outer} ({first}) around {inner} ({second}): {rule}, {}", rule.advice())?;
        }
        Ok(())
    }
}

impl Error for Disorder {}

/// Looks for harmful pairs in a stack, outermost first.
pub(super) fn check(parts: &[Part]) -> Result<(), Disorder> {
    let mut clashes = Vec::new();
    for (outer, first) in parts.iter().enumerate() {
        for (inner, second) in parts.iter().enumerate().skip(outer + 1) {
            let between = parts.get(outer + 1..inner).unwrap_or_default();
            let below = parts.get(inner + 1..).unwrap_or_default();
            if let Some(rule) = clash(first, between, second, below) {
                let clash = Clash { outer: outer + 1, inner: inner + 1, rule };
                clashes.push((clash, first.title().to_owned(), second.title().to_owned()));
            }
        }
    }
    if clashes.is_empty() { Ok(()) } else { Err(Disorder { clashes }) }
}

/// What is wrong with `outer` around `inner`, in the light of the parts between and below them.
fn clash(outer: &Part, between: &[Part], inner: &Part, below: &[Part]) -> Option<Rule> {
    use Pattern::{
        Breaker, Checkpoint, Degrade, Failover, Fallback, Hedge, Limit, Quorum, Retry, Timeout,
    };
    let undercut =
        |limit: Duration| below.iter().any(|part| part.limit().is_some_and(|l| l < limit));
    match (outer.pattern(), inner.pattern()) {
        (Timeout, Fallback) => {
            let limit = outer.limit()?;
            (!undercut(limit)).then_some(Rule::FallbackStarved)
        }
        (Retry | Hedge | Breaker | Failover, Fallback) => Some(Rule::FailuresHidden),
        (Breaker, Retry | Hedge) => Some(Rule::BreakerBlinded),
        (Limit, Retry) => Some(Rule::PlaceHeld),
        (Timeout, Timeout) => {
            // The nearest limit around the inner one is the one to compare with.
            let shadowed = between.iter().any(|part| part.limit().is_some());
            (!shadowed && inner.limit()? >= outer.limit()?).then_some(Rule::NeverFires)
        }
        (Retry, Retry) => Some(Rule::AttemptsMultiply),
        (Retry, Quorum | Degrade) => Some(Rule::ReplicasRepeated),
        // Of the same step they would only be told that it is under way.
        (Hedge | Quorum, Checkpoint) => Some(Rule::StepRepeated),
        // Steps without an effect may well be repeated: against a store that is out of reach, say.
        (Retry | Failover, Checkpoint) => inner.effect().then_some(Rule::StepRepeated),
        (Breaker, Checkpoint) => Some(Rule::ReplayBlocked),
        (Timeout, Checkpoint) => {
            (inner.effect() && !inner.detached()).then_some(Rule::RecordingCut)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn part(pattern: Pattern) -> Part {
        Part::new(pattern, None, String::new())
    }

    fn timeout(seconds: u32) -> Part {
        part(Pattern::Timeout).within(seconds * SECOND)
    }

    fn rules(parts: &[Part]) -> Vec<(usize, usize, Rule)> {
        match check(parts) {
            Ok(()) => vec![],
            Err(disorder) => disorder.clashes().map(|c| (c.outer, c.inner, c.rule)).collect(),
        }
    }

    #[test]
    fn the_recommended_order_is_fine() {
        use Pattern::{Breaker, Fallback, Hedge, Limit, Quorum, Retry};
        let stack = [
            part(Fallback),
            timeout(20),
            part(Quorum),
            part(Retry),
            part(Hedge),
            part(Breaker),
            part(Limit),
            timeout(5),
        ];
        assert_eq!(rules(&stack), []);
    }

    #[test]
    fn a_fallback_needs_a_time_limit_of_its_primary() {
        use Pattern::Fallback;
        let starved = (1, 2, Rule::FallbackStarved);
        assert_eq!(rules(&[timeout(20), part(Fallback)]), [starved]);
        assert_eq!(rules(&[timeout(20), part(Fallback), timeout(5)]), []);
        // A shorter one outside is no help.
        let both = [(1, 3, Rule::FallbackStarved), (2, 3, Rule::FallbackStarved)];
        assert_eq!(rules(&[timeout(20), timeout(5), part(Fallback)]), both);
        assert_eq!(
            rules(&[timeout(20), part(Fallback), timeout(20)]),
            [starved, (1, 3, Rule::NeverFires)]
        );
    }

    #[test]
    fn the_documents_stack_is_found_out() {
        use Pattern::{Breaker, Fallback, Retry};
        let stack = [part(Breaker), part(Retry), timeout(30), part(Fallback)];
        assert_eq!(
            rules(&stack),
            [
                (1, 2, Rule::BreakerBlinded),
                (1, 4, Rule::FailuresHidden),
                (2, 4, Rule::FailuresHidden),
                (3, 4, Rule::FallbackStarved),
            ]
        );
        let text = check(&stack).unwrap_err().to_string();
        assert!(text.starts_with("breaker (1) around retry (2): the breaker sees only"), "{text}");
        assert!(text.contains("used up, put the breaker inside; breaker (1) around"), "{text}");
    }

    #[test]
    fn only_the_nearest_time_limit_counts() {
        assert_eq!(rules(&[timeout(9), timeout(3), timeout(5)]), [(2, 3, Rule::NeverFires)]);
        let others = [part(Pattern::Limit), part(Pattern::Retry), part(Pattern::Quorum)];
        assert_eq!(rules(&others), [(1, 2, Rule::PlaceHeld), (2, 3, Rule::ReplicasRepeated)]);
        let twice = [part(Pattern::Retry), part(Pattern::Retry)];
        assert_eq!(rules(&twice), [(1, 2, Rule::AttemptsMultiply)]);
    }

    #[test]
    fn what_has_several_members_sees_them_fail_and_is_not_repeated_as_a_whole() {
        use Pattern::{Breaker, Degrade, Failover, Fallback, Retry};
        let weakened = [part(Failover), part(Fallback)];
        assert_eq!(rules(&weakened), [(1, 2, Rule::FailuresHidden)]);
        let repeated = [part(Retry), part(Degrade)];
        assert_eq!(rules(&repeated), [(1, 2, Rule::ReplicasRepeated)]);
        let fine = [part(Fallback), part(Degrade), part(Retry), part(Failover), part(Breaker)];
        assert_eq!(rules(&fine), []);
    }

    #[test]
    fn a_checkpoint_is_outside_of_what_repeats_blocks_or_cuts_off() {
        use Pattern::{Breaker, Checkpoint, Fallback, Hedge, Limit, Quorum, Retry};
        let checkpoint = || part(Checkpoint);
        let effect = || part(Checkpoint).with_effect(true, false);
        let fine = [part(Fallback), effect(), timeout(20), part(Quorum), part(Retry), part(Hedge)];
        assert_eq!(rules(&fine), []);
        let repeated = [(1, 2, Rule::StepRepeated)];
        for around in [Hedge, Quorum] {
            assert_eq!(rules(&[part(around), checkpoint()]), repeated);
            assert_eq!(rules(&[part(around), effect()]), repeated);
        }
        for around in [Retry, Pattern::Failover] {
            assert_eq!(rules(&[part(around), checkpoint()]), []);
            assert_eq!(rules(&[part(around), effect()]), repeated);
        }
        assert_eq!(rules(&[part(Breaker), checkpoint()]), [(1, 2, Rule::ReplayBlocked)]);
        assert_eq!(rules(&[part(Limit), effect()]), []);
        assert_eq!(rules(&[timeout(5), effect()]), [(1, 2, Rule::RecordingCut)]);
        assert_eq!(rules(&[timeout(5), part(Checkpoint).with_effect(true, true)]), []);
        assert_eq!(rules(&[timeout(5), checkpoint()]), []);
    }
}
