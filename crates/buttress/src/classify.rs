//! Who says what an outcome means.

use std::{convert::Infallible, error::Error, fmt, io};

use crate::{CallError, Kind, Rejection, Verdict};

/// An error that says of itself what it means.
///
/// Implement it for your own error enum, and every layer understands it:
///
/// ```
/// use buttress::{Fault, Rejection, Verdict};
///
/// enum SearchError {
///     Busy,
///     BadQuery,
///     Rejected(Rejection),
/// }
///
/// impl Fault for SearchError {
///     fn verdict(&self) -> Verdict {
///         match self {
///             Self::Busy => Verdict::throttled(),
///             Self::BadQuery => Verdict::permanent(),
///             Self::Rejected(rejection) => rejection.verdict(),
///         }
///     }
/// }
/// # assert_eq!(SearchError::Busy.verdict(), Verdict::throttled());
/// # assert_eq!(SearchError::BadQuery.verdict(), Verdict::permanent());
/// # let _ = SearchError::Rejected(Rejection::timeout(std::time::Duration::ZERO));
/// ```
///
/// # Not general enough
/// "Implementation of `Fault` is not general enough", or of `FnOnce` or `From`, says the compiler of
/// an async block that is spawned and names a stack over boxed errors: inside of such a block it
/// [forgets](https://github.com/rust-lang/rust/issues/110338) that they are `'static`. Hide the
/// type of the stack, which costs nothing, and all that is made of it can be spawned:
///
/// ```
/// use buttress::{BreakerLayer, RetryLayer};
/// use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};
///
/// fn search() -> impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + Send {
///     ServiceBuilder::new().layer(RetryLayer::new()).layer(BreakerLayer::default())
///         .service(service_fn(async |n: u32| Ok::<_, BoxError>(n)))
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let stack = search();
/// let answer = tokio::spawn(async move { stack.oneshot(7).await });
/// assert_eq!(answer.await.unwrap().unwrap(), 7);
/// # }
/// ```
///
/// So do `tokio::spawn(stack.oneshot(7))` without a block, `.boxed_clone()` around the stack, and an
/// error type of your own, even one that holds nothing but a boxed error.
#[diagnostic::on_unimplemented(
    message = "nobody says what a failure of type `{Self}` means",
    label = "`{Self}` does not implement `buttress::Fault`",
    note = "implement `buttress::Fault` for it, or give the layer a classifier: `.classify(|outcome: Result<&Response, &Error>| Verdict::transient())`",
    note = "boxed errors, `std::io::Error` and `buttress::CallError` of a fault are known; hyper's and reqwest's errors behind the features of those names"
)]
pub trait Fault {
    /// What this error means.
    fn verdict(&self) -> Verdict;
}

impl Fault for Rejection {
    fn verdict(&self) -> Verdict {
        Rejection::verdict(self)
    }
}

impl<E: Fault> Fault for CallError<E> {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Service(error) => error.verdict(),
            Self::Rejected(rejection) => rejection.verdict(),
        }
    }
}

impl Fault for Infallible {
    fn verdict(&self) -> Verdict {
        match *self {}
    }
}

impl Fault for io::Error {
    fn verdict(&self) -> Verdict {
        Verdict::of_chain(self)
    }
}

impl Fault for Box<dyn Error + Send + Sync> {
    fn verdict(&self) -> Verdict {
        Verdict::of_chain(&**self)
    }
}

impl Fault for Box<dyn Error> {
    fn verdict(&self) -> Verdict {
        Verdict::of_chain(&**self)
    }
}

#[cfg(feature = "hyper")]
impl Fault for hyper::Error {
    fn verdict(&self) -> Verdict {
        Verdict::of_chain(self)
    }
}

#[cfg(feature = "hyper")]
impl Fault for hyper_util::client::legacy::Error {
    fn verdict(&self) -> Verdict {
        Verdict::of_chain(self)
    }
}

#[cfg(feature = "reqwest")]
impl Fault for reqwest::Error {
    fn verdict(&self) -> Verdict {
        Verdict::of_chain(self)
    }
}

/// Judges the outcomes of calls.
///
/// In two phases, so that a classifier can remember something of the request (its
/// method, an idempotency key) without keeping the request: [`begin`](Self::begin) sees
/// the request, [`verdict`](Self::verdict) the outcome. Successes are judged too: a
/// response may carry a failure (HTTP 503, a tool result marked as an error).
///
/// The default everywhere is [`ByFault`]. A closure that takes the outcome is a
/// classifier:
///
/// ```
/// use buttress::{ClassifyExt, Verdict};
///
/// let classifier = |outcome: Result<&u16, &String>| match outcome {
///     Ok(503) => Verdict::transient(),
///     Ok(_) => Verdict::success(),
///     Err(_) => Verdict::unknown(),
/// };
/// # fn is<C: buttress::Classify<(), u16, String>>(_: &C) {}
/// # is(&classifier);
/// // Classifiers combine:
/// let classifier = classifier.or_else(|_: Result<&u16, &String>| Verdict::transient());
/// # is(&classifier);
/// ```
#[diagnostic::on_unimplemented(
    message = "nobody says what a failure of type `{Err}` means",
    label = "`{Self}` cannot judge `Result<{Res}, {Err}>`",
    note = "implement `buttress::Fault` for `{Err}`, or give the layer a classifier: `.classify(|outcome: Result<&{Res}, &{Err}>| buttress::Verdict::transient())`",
    note = "boxed errors, `std::io::Error` and `buttress::CallError` of a fault are known; hyper's and reqwest's errors behind the features of those names"
)]
pub trait Classify<Req, Res, Err> {
    /// What is remembered of a request until its outcome is known.
    type Call;

    /// Remembers what matters of the request.
    fn begin(&self, request: &Req) -> Self::Call;

    /// Judges the outcome.
    fn verdict(&self, call: &Self::Call, outcome: Result<&Res, &Err>) -> Verdict;
}

impl<F, Req, Res, Err> Classify<Req, Res, Err> for F
where
    F: Fn(Result<&Res, &Err>) -> Verdict,
{
    type Call = ();

    fn begin(&self, _: &Req) {}

    fn verdict(&self, (): &(), outcome: Result<&Res, &Err>) -> Verdict {
        self(outcome)
    }
}

/// Takes every response as a success and asks the error what it means.
///
/// The default classifier of every layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByFault;

impl<Req, Res, Err: Fault> Classify<Req, Res, Err> for ByFault {
    type Call = ();

    fn begin(&self, _: &Req) {}

    fn verdict(&self, (): &(), outcome: Result<&Res, &Err>) -> Verdict {
        match outcome {
            Ok(_) => Verdict::success(),
            Err(error) => error.verdict(),
        }
    }
}

/// Takes every response as a success and every error as transient.
///
/// For services whose errors nobody can tell apart and that may always be repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllTransient;

impl<Req, Res, Err> Classify<Req, Res, Err> for AllTransient {
    type Call = ();

    fn begin(&self, _: &Req) {}

    fn verdict(&self, (): &(), outcome: Result<&Res, &Err>) -> Verdict {
        match outcome {
            Ok(_) => Verdict::success(),
            Err(_) => Verdict::transient(),
        }
    }
}

/// Ways to combine classifiers.
pub trait ClassifyExt: Sized {
    /// Asks `other` where this classifier answers [`Kind::Unknown`].
    fn or_else<D>(self, other: D) -> OrElse<Self, D> {
        OrElse { first: self, second: other }
    }

    /// Lets `refine` change the verdict in the light of the outcome.
    fn refine<F>(self, refine: F) -> Refine<Self, F> {
        Refine { classifier: self, refine }
    }

    /// Makes every failure of the requests that `forbidden` picks permanent, so that no layer
    /// with this classifier repeats them.
    fn forbid<F>(self, forbidden: F) -> Forbid<Self, F> {
        Forbid { classifier: self, forbidden }
    }
}

impl<C> ClassifyExt for C {}

/// The classifier of [`ClassifyExt::or_else`].
#[derive(Clone, Copy, Debug)]
pub struct OrElse<C, D> {
    first: C,
    second: D,
}

impl<C, D, Req, Res, Err> Classify<Req, Res, Err> for OrElse<C, D>
where
    C: Classify<Req, Res, Err>,
    D: Classify<Req, Res, Err>,
{
    type Call = (C::Call, D::Call);

    fn begin(&self, request: &Req) -> Self::Call {
        (self.first.begin(request), self.second.begin(request))
    }

    fn verdict(&self, call: &Self::Call, outcome: Result<&Res, &Err>) -> Verdict {
        let verdict = self.first.verdict(&call.0, outcome);
        match verdict.kind {
            Kind::Unknown => self.second.verdict(&call.1, outcome),
            _ => verdict,
        }
    }
}

/// The classifier of [`ClassifyExt::refine`].
#[derive(Clone, Copy)]
pub struct Refine<C, F> {
    classifier: C,
    refine: F,
}

impl<C: fmt::Debug, F> fmt::Debug for Refine<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refine").field("classifier", &self.classifier).finish_non_exhaustive()
    }
}

impl<C, F, Req, Res, Err> Classify<Req, Res, Err> for Refine<C, F>
where
    C: Classify<Req, Res, Err>,
    F: Fn(Verdict, Result<&Res, &Err>) -> Verdict,
{
    type Call = C::Call;

    fn begin(&self, request: &Req) -> Self::Call {
        self.classifier.begin(request)
    }

    fn verdict(&self, call: &Self::Call, outcome: Result<&Res, &Err>) -> Verdict {
        (self.refine)(self.classifier.verdict(call, outcome), outcome)
    }
}

/// The classifier of [`ClassifyExt::forbid`].
#[derive(Clone, Copy)]
pub struct Forbid<C, F> {
    classifier: C,
    forbidden: F,
}

impl<C: fmt::Debug, F> fmt::Debug for Forbid<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forbid").field("classifier", &self.classifier).finish_non_exhaustive()
    }
}

impl<C, F, Req, Res, Err> Classify<Req, Res, Err> for Forbid<C, F>
where
    C: Classify<Req, Res, Err>,
    F: Fn(&Req) -> bool,
{
    type Call = (bool, C::Call);

    fn begin(&self, request: &Req) -> Self::Call {
        ((self.forbidden)(request), self.classifier.begin(request))
    }

    fn verdict(&self, call: &Self::Call, outcome: Result<&Res, &Err>) -> Verdict {
        let verdict = self.classifier.verdict(&call.1, outcome);
        match verdict.kind {
            Kind::Success => verdict,
            _ if call.0 => Verdict::permanent().with_effect(verdict.effect),
            _ => verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge<C: Classify<u32, u32, io::Error>>(
        classifier: &C,
        request: u32,
        outcome: Result<u32, io::Error>,
    ) -> Kind {
        let call = classifier.begin(&request);
        classifier.verdict(&call, outcome.as_ref()).kind
    }

    fn reset() -> io::Error {
        io::ErrorKind::ConnectionReset.into()
    }

    #[test]
    fn or_else_is_asked_only_about_the_unknown() {
        let both = ByFault.or_else(|_: Result<&u32, &io::Error>| Verdict::throttled());
        assert_eq!(judge(&both, 1, Err(reset())), Kind::Transient);
        assert_eq!(judge(&both, 1, Err(io::Error::other("?"))), Kind::Throttled);
        assert_eq!(judge(&both, 1, Ok(1)), Kind::Success);
    }

    #[test]
    fn refine_sees_verdict_and_outcome() {
        let refined = ByFault.refine(|verdict, outcome: Result<&u32, &io::Error>| match outcome {
            Ok(0) => Verdict::transient(),
            _ => verdict,
        });
        assert_eq!(judge(&refined, 1, Ok(0)), Kind::Transient);
        assert_eq!(judge(&refined, 1, Ok(1)), Kind::Success);
    }

    #[test]
    fn forbid_remembers_the_request() {
        let forbidden = ByFault.forbid(|request: &u32| *request == 7);
        assert_eq!(judge(&forbidden, 7, Err(reset())), Kind::Permanent);
        assert_eq!(judge(&forbidden, 7, Ok(1)), Kind::Success);
        assert_eq!(judge(&forbidden, 8, Err(reset())), Kind::Transient);
    }
}
