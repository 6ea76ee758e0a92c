//! What became of one attempt, as one small value.
//!
//! Four questions are asked of every outcome: is it worth repeating, is the
//! dependency ill, is the answer acceptable, and could the attempt have had an
//! effect? One boolean cannot answer them, so an outcome is judged once, into a
//! [`Verdict`], and each layer reads from it what it needs.

use std::{error::Error, fmt, io, time::Duration};

use crate::Rejection;

/// The kind of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// An acceptable answer.
    Success,
    /// A failure that may well be gone on the next attempt.
    Transient,
    /// The dependency is well but asks for fewer calls.
    Throttled,
    /// Useless here, worth trying elsewhere: quota used up, context too long, model gone.
    Reroute,
    /// Refused locally by a layer, such as an open breaker: nothing was sent.
    Rejected,
    /// An answer that repeating will not change: bad request, not found.
    Permanent,
    /// Nobody could say.
    Unknown,
}

impl Kind {
    /// Every kind, in the order of their declaration.
    pub const ALL: [Kind; 7] = [
        Kind::Success,
        Kind::Transient,
        Kind::Throttled,
        Kind::Reroute,
        Kind::Rejected,
        Kind::Permanent,
        Kind::Unknown,
    ];

    /// The name of the kind in lower case, as it appears in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Success => "success",
            Kind::Transient => "transient",
            Kind::Throttled => "throttled",
            Kind::Reroute => "reroute",
            Kind::Rejected => "rejected",
            Kind::Permanent => "permanent",
            Kind::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether an attempt changed anything at the dependency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// Provably not executed: repeating is safe whatever the request.
    None,
    /// It may have been executed; the honest default.
    #[default]
    Maybe,
    /// It was executed.
    Applied,
}

/// The judgement of one outcome.
///
/// ```
/// use std::time::Duration;
/// use buttress::{Effect, Kind, Verdict};
///
/// let verdict = Verdict::throttled().with_retry_after(Duration::from_secs(2));
/// assert_eq!(verdict.kind, Kind::Throttled);
/// assert_eq!(verdict.effect, Effect::None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// What happened.
    pub kind: Kind,
    /// How long the dependency, or the layer that refused, asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether the attempt may have changed something.
    pub effect: Effect,
}

impl Verdict {
    const fn new(kind: Kind, effect: Effect) -> Self {
        Self { kind, retry_after: None, effect }
    }

    /// An acceptable answer.
    pub const fn success() -> Self {
        Self::new(Kind::Success, Effect::Applied)
    }

    /// A failure that may pass; the attempt may have had an effect.
    pub const fn transient() -> Self {
        Self::new(Kind::Transient, Effect::Maybe)
    }

    /// Asked to slow down; the attempt had no effect.
    pub const fn throttled() -> Self {
        Self::new(Kind::Throttled, Effect::None)
    }

    /// Useless here, worth trying elsewhere; the attempt had no effect.
    pub const fn reroute() -> Self {
        Self::new(Kind::Reroute, Effect::None)
    }

    /// Refused locally; nothing was sent.
    pub const fn rejected() -> Self {
        Self::new(Kind::Rejected, Effect::None)
    }

    /// A final answer; the attempt may have had an effect.
    pub const fn permanent() -> Self {
        Self::new(Kind::Permanent, Effect::Maybe)
    }

    /// Nobody could say; the attempt may have had an effect.
    pub const fn unknown() -> Self {
        Self::new(Kind::Unknown, Effect::Maybe)
    }

    /// The same verdict with a time to wait before the next attempt.
    #[must_use]
    pub const fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same verdict with another effect.
    #[must_use]
    pub const fn with_effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// Whether the outcome is an acceptable answer.
    pub const fn is_success(&self) -> bool {
        matches!(self.kind, Kind::Success)
    }

    /// Judges an error by itself and its chain of sources.
    ///
    /// Known are [`Rejection`], [`std::io::Error`], tower's and tokio's timeouts,
    /// tower's load shedding and, behind their features, hyper's and reqwest's
    /// errors. The first known error on the way to the root decides; a chain
    /// without one is [`Kind::Unknown`]. At most 32 links are followed.
    ///
    /// ```
    /// use std::io;
    /// use buttress::{Effect, Kind, Verdict};
    ///
    /// let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    /// let wrapped = io::Error::other(refused);
    /// let verdict = Verdict::of_chain(&wrapped);
    /// assert_eq!((verdict.kind, verdict.effect), (Kind::Transient, Effect::None));
    /// ```
    pub fn of_chain(error: &(dyn Error + 'static)) -> Self {
        chain(error).find_map(of_known).unwrap_or_else(Self::unknown)
    }
}

/// An error and its sources, as far as anybody would look.
pub(crate) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>() {
        // io::Error::source skips the error that it wraps.
        Some(io) => io.get_ref().map(|inner| inner as _),
        None => error.source(),
    })
    .take(32)
}

/// The verdict of an error type that is known by name, if it has one.
fn of_known(error: &(dyn Error + 'static)) -> Option<Verdict> {
    if let Some(rejection) = error.downcast_ref::<Rejection>() {
        return Some(rejection.verdict());
    }
    if error.is::<tower::timeout::error::Elapsed>() || error.is::<tokio::time::error::Elapsed>() {
        return Some(Verdict::transient());
    }
    if error.is::<tower::load_shed::error::Overloaded>() {
        return Some(Verdict::rejected());
    }
    #[cfg(feature = "hyper")]
    if let Some(verdict) = crate::http::of_hyper(error) {
        return Some(verdict);
    }
    #[cfg(feature = "reqwest")]
    if let Some(verdict) = crate::http::of_reqwest(error) {
        return Some(verdict);
    }
    let io = error.downcast_ref::<io::Error>()?;
    of_io(io.kind())
}

/// What an I/O error kind says by itself; `None` where it says nothing.
fn of_io(kind: io::ErrorKind) -> Option<Verdict> {
    use io::ErrorKind as K;
    let verdict = match kind {
        // No connection was made, so nothing was sent.
        K::ConnectionRefused
        | K::NotConnected
        | K::AddrNotAvailable
        | K::HostUnreachable
        | K::NetworkUnreachable
        | K::NetworkDown => Verdict::transient().with_effect(Effect::None),
        K::ConnectionReset
        | K::ConnectionAborted
        | K::BrokenPipe
        | K::TimedOut
        | K::UnexpectedEof
        | K::WriteZero
        | K::WouldBlock
        | K::Interrupted
        | K::ResourceBusy => Verdict::transient(),
        K::PermissionDenied
        | K::NotFound
        | K::InvalidInput
        | K::Unsupported
        | K::AddrInUse
        | K::AlreadyExists => Verdict::permanent(),
        _ => return None,
    };
    Some(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(Option<Box<dyn Error + Send + Sync>>);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.0.as_deref().map(|e| e as _)
        }
    }

    #[test]
    fn finds_the_known_error_below_strangers() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let wrapped = Outer(Some(Box::new(Outer(Some(Box::new(reset))))));
        assert_eq!(Verdict::of_chain(&wrapped), Verdict::transient());
    }

    #[test]
    fn finds_an_error_wrapped_by_io() {
        let refused = Rejection::timeout(Duration::from_secs(1));
        let wrapped = io::Error::other(Outer(Some(Box::new(refused))));
        assert_eq!(Verdict::of_chain(&wrapped).kind, Kind::Transient);
    }

    #[test]
    fn is_unknown_without_a_known_error() {
        assert_eq!(Verdict::of_chain(&Outer(None)), Verdict::unknown());
        assert_eq!(
            Verdict::of_chain(&io::Error::from(io::ErrorKind::InvalidData)),
            Verdict::unknown()
        );
    }

    #[test]
    fn a_chain_without_an_end_is_left() {
        // A chain longer than the limit is judged unknown rather than walked for ever.
        let mut chain = Outer(Some(Box::new(io::Error::from(io::ErrorKind::TimedOut))));
        for _ in 0..40 {
            chain = Outer(Some(Box::new(chain)));
        }
        assert_eq!(Verdict::of_chain(&chain), Verdict::unknown());
    }
}
