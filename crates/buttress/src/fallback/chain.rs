//! Which tier is tried next: plain facts in, a decision out.

use super::Tier;
use crate::{Effect, Kind, Name, Repeat, Verdict, Why};

/// What a tier takes to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// The request, which it sends.
    Sending,
    /// The request, which it looks at.
    Looking,
    Nothing,
}

/// The tiers in their order, the primary first, and what leads from one to the next.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    primary: Tier,
    others: Vec<(Tier, Needs)>,
    /// Place of the last tier that takes the request.
    last_with_request: usize,
    on: Kinds,
}

/// What is known when a tier has failed, or has not become ready in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The place of the tier, the primary's being 0.
    pub(super) place: usize,
    pub(super) verdict: Verdict,
    /// Whether the tier was sent the request.
    pub(super) sent: bool,
    /// The worst that any tier so far may have done.
    pub(super) effect: Effect,
    pub(super) repeat: Repeat,
    /// Whether the request, or a copy of it, is still there.
    pub(super) request: bool,
    /// Whether the surrounding deadline has passed.
    pub(super) late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The tier at this place is next.
    Try(usize),
    /// The outcome is final: it is returned as it is.
    Return,
    /// No tier is left that may be tried.
    Exhausted,
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) fn of(kinds: impl IntoIterator<Item = Kind>) -> Self {
        kinds.into_iter().fold(Self(0), Self::and)
    }

    pub(super) fn and(self, kind: Kind) -> Self {
        Self(self.0 | Self::bit(kind))
    }

    pub(super) fn has(self, kind: Kind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    fn bit(kind: Kind) -> u8 {
        1 << kind as u8
    }
}

impl Chain {
    /// The primary alone.
    pub(super) fn new() -> Self {
        let on = Kind::ALL.into_iter().filter(|k| !matches!(k, Kind::Success | Kind::Permanent));
        Self {
            primary: Tier::new(1, Name::new("primary")),
            others: Vec::new(),
            last_with_request: 0,
            on: Kinds::of(on),
        }
    }

    pub(super) fn push(&mut self, needs: Needs) {
        let place = self.len();
        let number = u32::try_from(place).unwrap_or(u32::MAX).saturating_add(1);
        self.others.push((Tier::new(number, format!("tier {number}").into()), needs));
        if needs != Needs::Nothing {
            self.last_with_request = place;
        }
    }

    pub(super) fn name_primary(&mut self, name: Name) {
        self.primary = Tier::new(1, name);
    }

    pub(super) fn name_last(&mut self, name: Name) {
        match self.others.last_mut() {
            Some((tier, _)) => *tier = Tier::new(tier.number(), name),
            None => self.name_primary(name),
        }
    }

    pub(super) fn set_on(&mut self, kinds: Kinds) {
        self.on = kinds;
    }

    pub(super) const fn on(&self) -> Kinds {
        self.on
    }

    /// How many tiers there are, the primary among them.
    pub(super) fn len(&self) -> usize {
        self.others.len() + 1
    }

    #[inline]
    pub(super) fn tier(&self, place: usize) -> &Tier {
        match place.checked_sub(1).and_then(|other| self.others.get(other)) {
            Some((tier, _)) => tier,
            None => &self.primary,
        }
    }

    pub(super) fn tiers(&self) -> impl Iterator<Item = &Tier> {
        (0..self.len()).map(|place| self.tier(place))
    }

    /// Whether the tier at this place is sent the request.
    pub(super) fn sends(&self, place: usize) -> bool {
        match place.checked_sub(1).and_then(|other| self.others.get(other)) {
            Some((_, needs)) => *needs == Needs::Sending,
            None => true,
        }
    }

    /// Whether a tier after this one takes the request.
    #[inline]
    pub(super) const fn hands_on(&self, place: usize) -> bool {
        place < self.last_with_request
    }

    /// Why a failure of this kind is returned as it is, if it is.
    pub(super) fn final_why(&self, kind: Kind) -> Option<Why> {
        match kind {
            Kind::Success => Some(Why::Permanent),
            kind if self.on.has(kind) => None,
            Kind::Permanent => Some(Why::Permanent),
            Kind::Throttled => Some(Why::Throttled),
            Kind::Reroute => Some(Why::Reroute),
            Kind::Rejected => Some(Why::Rejected),
            Kind::Unknown => Some(Why::Unknown),
            Kind::Transient => Some(Why::Excluded),
        }
    }

    /// Decides what follows.
    ///
    /// `pay` takes what a tier costs that is sent the request; `skipped` is told of each tier that
    /// is passed over, by its number.
    pub(super) fn next(
        &self,
        facts: Facts,
        mut pay: impl FnMut() -> bool,
        mut skipped: impl FnMut(u32, Why),
    ) -> Decision {
        // Who was not ready has given no answer: there is nothing final in it.
        if let Some(why) = self.final_why(facts.verdict.kind).filter(|_| facts.sent) {
            skipped(self.tier(facts.place).number() + 1, why);
            return Decision::Return;
        }
        let later = self.others.iter().enumerate().skip(facts.place);
        for (other, (tier, needs)) in later {
            let admitted = match admit(*needs, facts) {
                Ok(()) if *needs == Needs::Sending && !pay() => Err(Why::Budget),
                admitted => admitted,
            };
            match admitted {
                Ok(()) => return Decision::Try(other + 1),
                Err(why) => skipped(tier.number(), why),
            }
        }
        if facts.place + 1 == self.len() {
            skipped(self.tier(facts.place).number() + 1, Why::Attempts);
        }
        Decision::Exhausted
    }
}

/// Whether a tier with these needs may be tried.
const fn admit(needs: Needs, facts: Facts) -> Result<(), Why> {
    match (needs, facts.request, facts.repeat, facts.effect, facts.late) {
        (Needs::Nothing, ..) => Ok(()),
        (Needs::Looking | Needs::Sending, false, ..) => Err(Why::NotRepeatable),
        (Needs::Looking, ..) => Ok(()),
        (_, _, Repeat::IfUnsent, Effect::Maybe | Effect::Applied, _) => Err(Why::NotRepeatable),
        (_, _, _, _, true) => Err(Why::Deadline),
        // A request that is sent once and still there has not been sent.
        (_, _, Repeat::Freely | Repeat::IfUnsent | Repeat::Never, _, false) => Ok(()),
    }
}

/// What leads past a failure of this kind.
pub(super) const fn why_on(kind: Kind, sent: bool) -> Why {
    match kind {
        _ if !sent => Why::NotReady,
        Kind::Success | Kind::Transient => Why::Failure,
        Kind::Throttled => Why::Throttled,
        Kind::Reroute => Why::Reroute,
        Kind::Rejected => Why::Rejected,
        Kind::Permanent => Why::Permanent,
        Kind::Unknown => Why::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EFFECTS: [Effect; 3] = [Effect::None, Effect::Maybe, Effect::Applied];
    const REPEATS: [Repeat; 3] = [Repeat::Freely, Repeat::IfUnsent, Repeat::Never];
    const NEEDS: [Needs; 3] = [Needs::Sending, Needs::Looking, Needs::Nothing];

    fn facts() -> Facts {
        Facts {
            place: 0,
            verdict: Verdict::transient(),
            sent: true,
            effect: Effect::Maybe,
            repeat: Repeat::Freely,
            request: true,
            late: false,
        }
    }

    fn chain(needs: &[Needs]) -> Chain {
        let mut chain = Chain::new();
        needs.iter().for_each(|needs| chain.push(*needs));
        chain
    }

    /// What is decided, and who was passed over.
    fn next(chain: &Chain, facts: Facts, pays: bool) -> (Decision, Vec<(u32, Why)>) {
        let mut skipped = vec![];
        let decision = chain.next(facts, || pays, |number, why| skipped.push((number, why)));
        (decision, skipped)
    }

    #[test]
    fn each_kind_is_read_as_the_table_says() {
        let chain = chain(&[Needs::Sending]);
        for kind in Kind::ALL {
            let facts = Facts { verdict: Verdict { kind, ..Verdict::transient() }, ..facts() };
            let expected = match kind {
                Kind::Success | Kind::Permanent => (Decision::Return, vec![(2, Why::Permanent)]),
                _ => (Decision::Try(1), vec![]),
            };
            assert_eq!(next(&chain, facts, true), expected, "{kind}");
            // Who was not ready has given no final answer.
            let unsent = Facts { sent: false, ..facts };
            assert_eq!(next(&chain, unsent, true), (Decision::Try(1), vec![]), "{kind}");
        }
    }

    #[test]
    fn only_chosen_kinds_lead_on() {
        let mut chain = chain(&[Needs::Nothing]);
        for chosen in Kind::ALL {
            chain.set_on(Kinds::of([chosen]));
            for kind in Kind::ALL {
                let facts = Facts { verdict: Verdict { kind, ..Verdict::transient() }, ..facts() };
                let (decision, skipped) = next(&chain, facts, true);
                let leads = kind == chosen && kind != Kind::Success;
                assert_eq!(decision == Decision::Try(1), leads, "{kind} of {chosen}");
                assert_eq!(skipped.len(), usize::from(!leads), "{kind} of {chosen}");
            }
        }
    }

    #[test]
    fn a_tier_is_admitted_as_the_table_says() {
        for needs in NEEDS {
            for repeat in REPEATS {
                for effect in EFFECTS {
                    for (request, late) in
                        [(false, false), (false, true), (true, false), (true, true)]
                    {
                        let harmless = repeat != Repeat::IfUnsent || effect == Effect::None;
                        let expected = match needs {
                            Needs::Nothing => Ok(()),
                            _ if !request => Err(Why::NotRepeatable),
                            Needs::Looking => Ok(()),
                            Needs::Sending if !harmless => Err(Why::NotRepeatable),
                            Needs::Sending if late => Err(Why::Deadline),
                            Needs::Sending => Ok(()),
                        };
                        let facts = Facts { repeat, effect, request, late, ..facts() };
                        assert_eq!(admit(needs, facts), expected, "{needs:?}, {facts:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn without_a_token_functions_and_values_are_left() {
        let chain = chain(&[Needs::Sending, Needs::Looking, Needs::Sending]);
        let budget = |number| (number, Why::Budget);
        assert_eq!(next(&chain, facts(), false), (Decision::Try(2), vec![budget(2)]));
        let after = Facts { place: 2, ..facts() };
        assert_eq!(next(&chain, after, false), (Decision::Exhausted, vec![budget(4)]));
    }

    #[test]
    fn after_the_last_tier_there_is_none() {
        let last = Facts { place: 2, ..facts() };
        let chain = chain(&[Needs::Sending; 2]);
        assert_eq!(next(&chain, last, true), (Decision::Exhausted, vec![(4, Why::Attempts)]));
    }

    #[test]
    fn a_kind_added_twice_is_there_once() {
        let kinds = Kinds::of([Kind::Transient]).and(Kind::Permanent).and(Kind::Permanent);
        assert!(kinds.has(Kind::Transient) && kinds.has(Kind::Permanent));
        assert!(!kinds.has(Kind::Throttled));
    }

    #[test]
    fn what_was_not_sent_was_not_ready() {
        for kind in Kind::ALL {
            assert_eq!(why_on(kind, false), Why::NotReady);
        }
        assert_eq!(
            Kind::ALL.map(|kind| why_on(kind, true)),
            [
                Why::Failure,
                Why::Failure,
                Why::Throttled,
                Why::Reroute,
                Why::Rejected,
                Why::Permanent,
                Why::Unknown,
            ]
        );
    }

    #[test]
    fn tiers_have_names() {
        let mut chain = Chain::new();
        chain.name_last(Name::new("best"));
        chain.push(Needs::Sending);
        chain.name_last(Name::new("cheaper"));
        chain.push(Needs::Nothing);
        let names: Vec<_> = chain.tiers().map(|t| (t.number(), t.name().to_string())).collect();
        let expected = [(1, "best"), (2, "cheaper"), (3, "tier 3")].map(|(n, s)| (n, s.to_owned()));
        assert_eq!(names, expected);
        assert_eq!((chain.sends(0), chain.sends(1), chain.sends(2)), (true, true, false));
        assert_eq!((chain.hands_on(0), chain.hands_on(1)), (true, false));
    }

    proptest! {
        #[test]
        fn it_goes_on_to_the_first_that_is_admitted(
            needs in prop::collection::vec(prop::sample::select(NEEDS.to_vec()), 0..6),
            place in 0_usize..6, kind in prop::sample::select(Kind::ALL.to_vec()), sent: bool,
            effect in prop::sample::select(EFFECTS.to_vec()),
            repeat in prop::sample::select(REPEATS.to_vec()), request: bool, late: bool, pays: bool,
        ) {
            let chain = chain(&needs);
            let place = place % chain.len();
            let verdict = Verdict { kind, ..Verdict::transient() };
            let facts = Facts { place, verdict, sent, effect, repeat, request, late };
            let may = |tier: usize| {
                let needs = needs[tier - 1];
                admit(needs, facts).is_ok() && (needs != Needs::Sending || pays)
            };
            let first = (place + 1..chain.len()).find(|tier| may(*tier));
            let last_is = sent && matches!(kind, Kind::Success | Kind::Permanent);
            let (decision, skipped) = next(&chain, facts, pays);
            let expected = match first {
                _ if last_is => Decision::Return,
                Some(tier) => Decision::Try(tier),
                None => Decision::Exhausted,
            };
            prop_assert_eq!(decision, expected);
            // Each tier that is passed over is told of once, in order; that there is none, once.
            let numbers: Vec<usize> = skipped.iter().map(|(number, _)| *number as usize).collect();
            let passed: Vec<usize> = match decision {
                Decision::Try(tier) => (place + 2..=tier).collect(),
                Decision::Return => vec![place + 2],
                Decision::Exhausted => (place + 2..=chain.len().max(place + 2)).collect(),
            };
            prop_assert_eq!(numbers, passed);
            // A request is handed on only where somebody after this tier has a use for it.
            let use_for_it = needs.iter().skip(place).any(|needs| *needs != Needs::Nothing);
            prop_assert_eq!(chain.hands_on(place), use_for_it);
        }
    }
}
