//! The tiers after the primary, each of a type of its own.

use std::{
    fmt,
    future::{Future, Pending},
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tower_service::Service;

use crate::Verdict;

/// The start of a chain: no tier but the primary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Primary;

/// A chain, and the tier that comes after it.
#[derive(Clone, Copy)]
pub struct Then<E, T> {
    pub(super) earlier: E,
    pub(super) tier: T,
}

/// A tier that is a service.
#[derive(Clone, Copy)]
pub struct ByService<S>(pub(super) S);

/// A tier that is a function of the request.
#[derive(Clone, Copy)]
pub struct ByFn<F>(pub(super) F);

/// A tier that is a value.
#[derive(Clone, Copy)]
pub struct ByValue<V>(pub(super) V);

/// A tier that makes a value of the verdict on the tier before.
#[derive(Clone, Copy)]
pub struct ByValueWith<F>(pub(super) F);

/// What comes of starting a tier.
#[derive(Debug)]
pub enum Start<Run, Res, Err> {
    /// It has to be made ready, and called.
    Run(Run),
    /// It is through.
    Ended(Result<Res, Err>),
    /// It has an answer that nobody need judge.
    Answer(Res),
}

/// The tiers after the primary. Implemented for every [`Then`] whose parts fit.
pub trait Tiers<Req, Res, Err>: sealed::Sealed {
    /// The tier that is being tried.
    type Run: Run<Req, Res, Err>;
    /// How many there are.
    const COUNT: usize;

    /// Starts the tier at this place, counted from 1; `None` if there is no such tier, or no
    /// request for it.
    fn start(
        &self,
        place: usize,
        request: Option<&Req>,
        last: Verdict,
    ) -> Option<Start<Self::Run, Res, Err>>;
}

/// One tier after the primary.
// Here rather than on `Tiers`: the compiler names the tier that does not fit.
#[diagnostic::on_unimplemented(
    message = "a tier of this fallback does not fit the service below it",
    label = "`{Self}` does not take `{Req}`, or does not give `{Res}` or `{Err}`",
    note = "all tiers have the request, response and error type of the primary: use `.map_request(..)`, `.map_response(..)` and `.map_err(..)` of `tower::ServiceExt` on a tier",
    note = "a service must be `Clone`; a function takes `&{Req}` and gives `Result<{Res}, {Err}>`; a value is a `{Res}`, and `Clone`"
)]
pub trait Step<Req, Res, Err>: sealed::Sealed {
    /// What it is while it is being tried.
    type Run: Run<Req, Res, Err>;

    /// Starts it; `None` if there is no request for it.
    fn start(&self, request: Option<&Req>, last: Verdict) -> Option<Start<Self::Run, Res, Err>>;
}

/// A tier that is being tried: made ready, then called once, then polled.
pub trait Run<Req, Res, Err>: Future<Output = Result<Res, Err>> {
    /// Makes it ready.
    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Err>>;

    /// Calls it.
    fn call(self: Pin<&mut Self>, request: Req);
}

impl<Req, Res, Err> Tiers<Req, Res, Err> for Primary {
    type Run = Pending<Result<Res, Err>>;
    const COUNT: usize = 0;

    fn start(&self, _: usize, _: Option<&Req>, _: Verdict) -> Option<Start<Self::Run, Res, Err>> {
        None
    }
}

impl<E, T, Req, Res, Err> Tiers<Req, Res, Err> for Then<E, T>
where
    E: Tiers<Req, Res, Err>,
    T: Step<Req, Res, Err>,
{
    type Run = Either<E::Run, T::Run>;
    const COUNT: usize = E::COUNT + 1;

    fn start(
        &self,
        place: usize,
        request: Option<&Req>,
        last: Verdict,
    ) -> Option<Start<Self::Run, Res, Err>> {
        if place < Self::COUNT {
            Some(self.earlier.start(place, request, last)?.map(Either::Earlier))
        } else {
            Some(self.tier.start(request, last)?.map(Either::Last))
        }
    }
}

impl<Run, Res, Err> Start<Run, Res, Err> {
    fn map<Other>(self, wrap: impl FnOnce(Run) -> Other) -> Start<Other, Res, Err> {
        match self {
            Self::Run(run) => Start::Run(wrap(run)),
            Self::Ended(outcome) => Start::Ended(outcome),
            Self::Answer(response) => Start::Answer(response),
        }
    }
}

impl<S, Req, Res, Err> Step<Req, Res, Err> for ByService<S>
where
    S: Service<Req, Response = Res, Error = Err> + Clone,
{
    type Run = Attempt<S, S::Future>;

    fn start(&self, _: Option<&Req>, _: Verdict) -> Option<Start<Self::Run, Res, Err>> {
        Some(Start::Run(Attempt::Readying { inner: self.0.clone() }))
    }
}

impl<F, Req, Res, Err> Step<Req, Res, Err> for ByFn<F>
where
    F: Fn(&Req) -> Result<Res, Err>,
{
    type Run = Pending<Result<Res, Err>>;

    fn start(&self, request: Option<&Req>, _: Verdict) -> Option<Start<Self::Run, Res, Err>> {
        Some(Start::Ended((self.0)(request?)))
    }
}

impl<V: Clone, Req, Err> Step<Req, V, Err> for ByValue<V> {
    type Run = Pending<Result<V, Err>>;

    fn start(&self, _: Option<&Req>, _: Verdict) -> Option<Start<Self::Run, V, Err>> {
        Some(Start::Answer(self.0.clone()))
    }
}

impl<F, Req, Res, Err> Step<Req, Res, Err> for ByValueWith<F>
where
    F: Fn(Verdict) -> Res,
{
    type Run = Pending<Result<Res, Err>>;

    fn start(&self, _: Option<&Req>, last: Verdict) -> Option<Start<Self::Run, Res, Err>> {
        Some(Start::Answer((self.0)(last)))
    }
}

/// For tiers that end when they start: never made.
impl<Req, Res, Err> Run<Req, Res, Err> for Pending<Result<Res, Err>> {
    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Err>> {
        Poll::Pending
    }

    fn call(self: Pin<&mut Self>, _: Req) {}
}

/// A service on its way from readiness to the response.
#[pin_project(project = AttemptProj)]
pub enum Attempt<S, F> {
    /// It is made ready.
    Readying {
        /// The service.
        inner: S,
    },
    /// It has been called, and is not needed any more.
    Calling {
        /// The call.
        #[pin]
        future: F,
    },
}

impl<S, F: Future> Future for Attempt<S, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            AttemptProj::Calling { future } => future.poll(cx),
            AttemptProj::Readying { .. } => Poll::Pending,
        }
    }
}

impl<S, Req> Run<Req, S::Response, S::Error> for Attempt<S, S::Future>
where
    S: Service<Req>,
{
    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self.project() {
            AttemptProj::Readying { inner } => inner.poll_ready(cx),
            AttemptProj::Calling { .. } => Poll::Ready(Ok(())),
        }
    }

    fn call(mut self: Pin<&mut Self>, request: Req) {
        if let AttemptProj::Readying { inner } = self.as_mut().project() {
            let future = inner.call(request);
            self.set(Self::Calling { future });
        }
    }
}

/// One of two.
#[pin_project(project = EitherProj)]
pub enum Either<A, B> {
    /// A tier before the last.
    Earlier(#[pin] A),
    /// The last tier.
    Last(#[pin] B),
}

impl<A, B> Future for Either<A, B>
where
    A: Future,
    B: Future<Output = A::Output>,
{
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        match self.project() {
            EitherProj::Earlier(tier) => tier.poll(cx),
            EitherProj::Last(tier) => tier.poll(cx),
        }
    }
}

impl<A, B, Req, Res, Err> Run<Req, Res, Err> for Either<A, B>
where
    A: Run<Req, Res, Err>,
    B: Run<Req, Res, Err>,
{
    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Err>> {
        match self.project() {
            EitherProj::Earlier(tier) => tier.poll_ready(cx),
            EitherProj::Last(tier) => tier.poll_ready(cx),
        }
    }

    fn call(self: Pin<&mut Self>, request: Req) {
        match self.project() {
            EitherProj::Earlier(tier) => tier.call(request),
            EitherProj::Last(tier) => tier.call(request),
        }
    }
}

macro_rules! debug_by_name {
    ($($name:ident<$($part:ident),+>),+ $(,)?) => {$(
        // What is inside may be a closure, which has nothing to show.
        impl<$($part),+> fmt::Debug for $name<$($part),+> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )+};
}
debug_by_name!(
    Then<E, T>, ByService<S>, ByFn<F>, ByValue<V>, ByValueWith<F>, Attempt<S, F>, Either<A, B>
);

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Primary {}
    impl<E, T> Sealed for super::Then<E, T> {}
    impl<S> Sealed for super::ByService<S> {}
    impl<F> Sealed for super::ByFn<F> {}
    impl<V> Sealed for super::ByValue<V> {}
    impl<F> Sealed for super::ByValueWith<F> {}
}
