//! What a layer says when it refuses or ends a call itself.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use crate::{Cause, Causes, Effect, Fault, Name, Split, Verdict};

/// Why a layer refused or ended a call instead of the inner service.
///
/// A layer that can refuse makes the caller's own error out of this one, by
/// `S::Error: From<Rejection>`, so that stacks do not nest error types. Have one
/// variant for it in your enum, use a boxed error, or put
/// `.map_err(CallError::Service)` below the layers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// A circuit breaker is open, or its probes are all taken.
    Open {
        /// The name of the breaker.
        name: Name,
        /// When the breaker will let calls in again, if it can tell.
        retry_after: Option<Duration>,
    },
    /// The call took longer than it was allowed to. It may have had an effect.
    Timeout {
        /// How long it was allowed to take.
        after: Duration,
    },
    /// The service was not ready in time. Nothing was sent.
    Unready {
        /// How long it was waited for.
        after: Duration,
    },
    /// A limit is reached, and the queue before it is full.
    Full {
        /// The name of the limit.
        name: Name,
        /// When there may be room, if it can tell.
        retry_after: Option<Duration>,
    },
    /// None of the replicas can take the call.
    Unavailable {
        /// The name of the roster.
        name: Name,
        /// When one may be back, if it can tell.
        retry_after: Option<Duration>,
    },
    /// Too few replicas agree.
    NoQuorum {
        /// The name of the quorum.
        name: Name,
        /// How they voted, and what kept the others from it.
        split: Box<Split>,
    },
    /// Every tier of a fallback failed.
    AllFailed {
        /// The name of the fallback.
        name: Name,
        /// Why each failed, in the order in which they were tried.
        causes: Causes,
    },
    /// Too many of the required members failed.
    TooFew {
        /// The name of the ensemble.
        name: Name,
        /// How many members are required.
        required: u32,
        /// Which of them failed, and why.
        causes: Causes,
        /// What the members may have done, those included that did not fail.
        effect: Effect,
    },
    /// A step of a workflow cannot be done, or its outcome not be kept.
    #[cfg(feature = "serde")]
    Halted {
        /// The name of the checkpoint.
        name: Name,
        /// Why.
        halt: Box<crate::checkpoint::Halt>,
    },
    /// Another process leads.
    NotLeader {
        /// The name of the office.
        name: Name,
        /// When it may be free, if known.
        retry_after: Option<Duration>,
    },
    /// What a layer or service outside of this crate says.
    Other(Reason),
}

/// Why something outside of this crate refused or ended a call. Made by [`Rejection::other`].
///
/// # Clone
/// Clones share the error; only a clone of the same is equal to it.
#[derive(Clone, Debug)]
pub struct Reason(Arc<dyn Refusal>);

trait Refusal: Error + Fault + Send + Sync {}

impl<E: Error + Fault + Send + Sync> Refusal for E {}

impl Reason {
    /// The error itself.
    pub fn error(&self) -> &(dyn Error + 'static) {
        &*self.0
    }
}

impl PartialEq for Reason {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Reason {}

impl Rejection {
    /// A call that ran longer than `after`.
    pub const fn timeout(after: Duration) -> Self {
        Self::Timeout { after }
    }

    /// A service that was not ready within `after`.
    pub const fn unready(after: Duration) -> Self {
        Self::Unready { after }
    }

    /// An open breaker.
    pub fn open(name: impl Into<Name>, retry_after: Option<Duration>) -> Self {
        Self::Open { name: name.into(), retry_after }
    }

    /// A limit that is reached.
    pub fn full(name: impl Into<Name>, retry_after: Option<Duration>) -> Self {
        Self::Full { name: name.into(), retry_after }
    }

    /// A step that cannot be done, or whose outcome cannot be kept.
    #[cfg(feature = "serde")]
    pub fn halted(name: impl Into<Name>, halt: crate::checkpoint::Halt) -> Self {
        Self::Halted { name: name.into(), halt: Box::new(halt) }
    }

    /// An office that another process holds.
    pub fn not_leader(name: impl Into<Name>, retry_after: Option<Duration>) -> Self {
        Self::NotLeader { name: name.into(), retry_after }
    }

    /// Another error that says what it means: how layers and services of your own, too, make the caller's
    /// error out of theirs. It is found again along the chain of sources.
    pub fn other(error: impl Error + Fault + Send + Sync + 'static) -> Self {
        Self::Other(Reason(Arc::new(error)))
    }

    /// A roster without a replica that can take the call.
    pub fn unavailable(name: impl Into<Name>, retry_after: Option<Duration>) -> Self {
        Self::Unavailable { name: name.into(), retry_after }
    }

    /// How long to wait before the next attempt, where the layer can tell.
    pub fn retry_after(&self) -> Option<Duration> {
        self.verdict().retry_after
    }

    /// Why the calls inside failed, where the layer made several.
    pub const fn causes(&self) -> Option<&Causes> {
        match self {
            Self::NoQuorum { split, .. } => Some(&split.causes),
            Self::AllFailed { causes, .. } | Self::TooFew { causes, .. } => Some(causes),
            _ => None,
        }
    }

    /// What the rejection means to the layers outside.
    ///
    /// A timeout is [transient](crate::Kind::Transient): it tells something of the
    /// dependency. An open breaker, a full limit, a roster without a replica and an office held elsewhere are
    /// [rejected](crate::Kind::Rejected): they do not. Where several calls failed it is the
    /// [most hopeful](Causes::verdict) of theirs; replicas that contradict each other are
    /// [unknown](crate::Kind::Unknown).
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Open { retry_after, .. }
            | Self::Full { retry_after, .. }
            | Self::NotLeader { retry_after, .. }
            | Self::Unavailable { retry_after, .. } => {
                Verdict { retry_after: *retry_after, ..Verdict::rejected() }
            }
            Self::Timeout { .. } => Verdict::transient(),
            Self::Unready { .. } => Verdict::transient().with_effect(Effect::None),
            Self::NoQuorum { split, .. } => split.verdict(),
            Self::TooFew { causes, effect, .. } => causes.verdict().with_effect(*effect),
            Self::AllFailed { causes, .. } => causes.verdict(),
            #[cfg(feature = "serde")]
            Self::Halted { halt, .. } => halt.verdict(),
            Self::Other(reason) => reason.0.verdict(),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { name, .. } => write!(f, "circuit `{name}` is open")?,
            Self::Full { name, .. } => write!(f, "limit `{name}` is reached")?,
            Self::Unavailable { name, .. } => write!(f, "no replica of `{name}` is available")?,
            Self::NotLeader { name, .. } => write!(f, "this process does not lead `{name}`")?,
            #[cfg(feature = "serde")]
            Self::Halted { halt, .. } => return halt.fmt(f),
            Self::Other(reason) => return reason.0.fmt(f),
            Self::Timeout { after } => write!(f, "no answer within {after:?}")?,
            Self::Unready { after } => write!(f, "service not ready within {after:?}")?,
            Self::NoQuorum { name, split } => {
                write!(f, "no quorum in `{name}`: {}", split.votes)?;
                split.causes.list(f)?;
            }
            Self::AllFailed { name, causes } => {
                write!(f, "all {} tiers of `{name}` failed", causes.len())?;
                causes.list(f)?;
            }
            Self::TooFew { name, required, causes, .. } => {
                write!(f, "{} of {required} required members of `{name}` failed", causes.len())?;
                causes.list(f)?;
            }
        }
        match self.retry_after() {
            Some(wait) if self.causes().is_none() => write!(f, ", retry after {wait:.1?}"),
            _ => Ok(()),
        }
    }
}

impl Error for Rejection {
    /// Where several calls failed: the error of the first. Of a step: why it was halted. Of another: itself.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        #[cfg(feature = "serde")]
        if let Self::Halted { halt, .. } = self {
            return Some(&**halt);
        }
        if let Self::Other(reason) = self {
            return Some(reason.error());
        }
        self.causes()?.iter().next().map(Cause::error)
    }
}

impl From<Rejection> for io::Error {
    fn from(rejection: Rejection) -> Self {
        let kind = match rejection {
            Rejection::Timeout { .. } | Rejection::Unready { .. } => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, rejection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CallError;

    /// Every response of every layer is moved together with the room for a refusal.
    #[test]
    fn a_refusal_takes_five_words() {
        assert!(size_of::<Rejection>() <= 5 * size_of::<usize>(), "{}", size_of::<Rejection>());
    }

    #[test]
    fn a_refusal_survives_io_error() {
        let io: io::Error = Rejection::timeout(Duration::from_secs(2)).into();
        assert_eq!(io.kind(), io::ErrorKind::TimedOut);
        assert_eq!(io.to_string(), "no answer within 2s");
        assert_eq!(
            io.get_ref().and_then(|inner| inner.downcast_ref()),
            Some(&Rejection::timeout(Duration::from_secs(2)))
        );
    }

    #[test]
    fn an_error_of_others_is_found_and_says_what_it_means() {
        let rejection =
            Rejection::other(CallError::Service(io::Error::from(io::ErrorKind::ConnectionReset)));
        assert_eq!(rejection.to_string(), "connection reset");
        assert_eq!(rejection.verdict(), Verdict::transient());
        let source = rejection.source().expect("the error itself");
        assert!(source.is::<CallError<io::Error>>());
        assert_eq!(rejection, rejection.clone());
    }

    #[test]
    fn says_when_to_come_back() {
        let open = Rejection::open("search", Some(Duration::from_millis(4_210)));
        assert_eq!(open.to_string(), "circuit `search` is open, retry after 4.2s");
        assert_eq!(open.verdict().retry_after, Some(Duration::from_millis(4_210)));
        assert_eq!(open.verdict().effect, Effect::None);
    }
}
