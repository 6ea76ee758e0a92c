//! The service that all subjects end in.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use buttress::{Fault, Rejection, Verdict};
use tower::Service;

/// Answers a number with its successor, at once.
///
/// Two numbers are special and are not sent: one fails, one is never answered. With them the
/// compiler cannot tell what will come of a call, and so cannot throw away the part of a layer
/// that deals with failures and waiting.
#[derive(Clone, Copy, Debug)]
pub struct Bare;

impl Bare {
    /// The request that fails.
    pub const FAILS: u64 = u64::MAX;
    /// The request that is never answered.
    pub const HANGS: u64 = u64::MAX - 1;
}

impl Service<u64> for Bare {
    type Response = u64;
    type Error = Failed;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Answer {
        Answer(request)
    }
}

/// The future of [`Bare`].
#[derive(Debug)]
pub struct Answer(u64);

impl Future for Answer {
    type Output = Result<u64, Failed>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0 {
            Bare::FAILS => Poll::Ready(Err(Failed::Inner)),
            Bare::HANGS => Poll::Pending,
            request => Poll::Ready(Ok(request.wrapping_add(1))),
        }
    }
}

/// Why a call failed: an error type as a user of the layers would write it.
#[derive(Clone, Debug)]
pub enum Failed {
    /// The service failed.
    Inner,
    /// A layer refused the call.
    Rejected(Rejection),
}

impl From<Rejection> for Failed {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Fault for Failed {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Inner => Verdict::transient(),
            Self::Rejected(rejection) => rejection.verdict(),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner => f.write_str("the service failed"),
            Self::Rejected(rejection) => rejection.fmt(f),
        }
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Inner => None,
            Self::Rejected(rejection) => Some(rejection),
        }
    }
}
