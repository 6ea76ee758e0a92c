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
