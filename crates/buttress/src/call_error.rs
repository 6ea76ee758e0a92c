//! How a refusal travels in an error.

use std::{convert::Infallible, error::Error, fmt};

use crate::Rejection;

/// Either the service's own error or a layer's refusal.
///
/// The ready-made error for services whose error type is somebody else's:
///
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use buttress::{CallError, TimeoutLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new()
///     .layer(TimeoutLayer::new(Duration::from_secs(30)))
///     .map_err(CallError::Service)
///     .service(service_fn(async |n: u32| Err::<u32, _>(std::num::ParseIntError::from("x".parse::<u32>().unwrap_err()))));
/// let error = service.oneshot(1).await.unwrap_err();
/// assert!(matches!(error, CallError::Service(_)));
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError<E> {
    /// The service's own error.
    Service(E),
    /// A layer refused or ended the call.
    Rejected(Rejection),
}

impl<E> CallError<E> {
    /// The service's own error, if it is one.
    pub fn service(self) -> Option<E> {
        match self {
            Self::Service(error) => Some(error),
            Self::Rejected(_) => None,
        }
    }

    /// The layer's refusal, if it is one.
    pub const fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Service(_) => None,
            Self::Rejected(rejection) => Some(rejection),
        }
    }
}

impl<E> From<Rejection> for CallError<E> {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(error) => error.fmt(f),
            Self::Rejected(rejection) => rejection.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for CallError<E> {
    // The error shown is the inner one, yet it is also the source: a downcast along
    // the chain must find it.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Service(error) => Some(error),
            Self::Rejected(rejection) => Some(rejection),
        }
    }
}

/// Turns the impossible error into any other.
///
/// For services that cannot fail, such as axum routers: `.map_err(never)` at the
/// bottom gives the layers an error to refuse with, and [`RespondLayer`](crate::RespondLayer)
/// on top turns their refusals into responses.
pub fn never<E>(impossible: Infallible) -> E {
    match impossible {}
}

/// An error that a layer can refuse with. Implemented for all that are `From<Rejection>`.
#[diagnostic::on_unimplemented(
    message = "the error type `{Self}` cannot carry a layer's refusal",
    label = "this service's error is `{Self}`, which is not `From<buttress::Rejection>`",
    note = "in your own error enum, add a variant for it: `Rejected(#[from] buttress::Rejection)`",
    note = "for somebody else's error, put `.map_err(buttress::CallError::Service)` below the layers",
    note = "boxed errors (`tower::BoxError`) and `anyhow::Error` work as they are; for `Infallible` see `buttress::RespondLayer`"
)]
pub trait FromRejection: sealed::Sealed {
    /// Makes the error out of the refusal.
    fn from_rejection(rejection: Rejection) -> Self;
}

// Without this attribute the compiler would report the missing `From` and not the notes above.
#[diagnostic::do_not_recommend]
impl<E: From<Rejection>> FromRejection for E {
    fn from_rejection(rejection: Rejection) -> Self {
        rejection.into()
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

    #[test]
    fn the_root_cause_is_found_through_the_chain() {
        let error: Box<dyn Error + Send + Sync> =
            CallError::Service(io::Error::from(io::ErrorKind::ConnectionReset)).into();
        let source = error.source().expect("a call error has a source");
        assert!(source.is::<io::Error>());
    }
}
