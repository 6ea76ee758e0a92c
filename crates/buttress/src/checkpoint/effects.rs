//! What a step does to the world, as declared.

/// What a step does to the world. There is no default: whoever adds a checkpoint says it.
///
/// | | writes | what if it was begun and nobody knows how it ended |
/// |---|---|---|
/// | `ReadOnly`, `Idempotent` | its outcome | it is done again |
/// | `SideEffect(..)` | the intent, its outcome | what is declared for that |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effects {
    /// It changes nothing.
    ReadOnly,
    /// Doing it twice is doing it once.
    Idempotent,
    /// It changes something each time: a payment, a message.
    SideEffect(InDoubt),
}

impl Effects {
    /// Whether the intent is written before the call.
    pub const fn intend(self) -> bool {
        matches!(self, Self::SideEffect(_))
    }
}

/// What to do about a step that was begun and has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InDoubt {
    /// Do it again, with the same idempotency key: the effect happens at least once, and once if the
    /// tool honours the key.
    Retry,
    /// Fail, until somebody has looked: the effect happens at most once.
    Fail,
}
