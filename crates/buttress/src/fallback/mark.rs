use crate::Name;

/// One of the tiers of a fallback.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tier {
    number: u32,
    name: Name,
}

impl Tier {
    pub(super) const fn new(number: u32, name: Name) -> Self {
        Self { number, name }
    }

    /// Its number: the primary is 1.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Its name.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Whether it is the primary.
    pub const fn is_primary(&self) -> bool {
        self.number == 1
    }
}

/// Writes into a response which tier gave it. Closures of two arguments do.
///
/// See [`FallbackLayer::mark`](super::FallbackLayer::mark).
pub trait Mark<Res> {
    /// Marks the response of this tier.
    fn mark(&self, response: &mut Res, tier: &Tier);
}

impl<F, Res> Mark<Res> for F
where
    F: Fn(&mut Res, &Tier),
{
    fn mark(&self, response: &mut Res, tier: &Tier) {
        self(response, tier);
    }
}

/// Leaves responses as they are: the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unmarked;

impl<Res> Mark<Res> for Unmarked {
    #[inline]
    fn mark(&self, _: &mut Res, _: &Tier) {}
}
