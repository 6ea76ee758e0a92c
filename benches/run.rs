//! How a subject is called, over and over.

use std::{
    fmt,
    future::Future,
    hint::black_box,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tokio::runtime::{Builder, Runtime};
use tower::Service;

/// The runtime that subjects must be built and called inside of, so that timers can be made.
///
/// Enter it rather than block on it: a task's budget of polls would distort the counts.
///
/// # Errors
/// If the system refuses to make one.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_time().build()
}

/// A subject, built and ready to be called.
pub struct Run(Box<dyn FnMut(u64, Lap)>);

#[derive(Clone, Copy)]
enum Lap {
    Plain,
    Counted,
}

impl Run {
    /// Makes so many calls.
    pub fn calls(&mut self, calls: u64) {
        (self.0)(calls, Lap::Plain);
    }

    /// Makes so many calls inside a function that callgrind finds by its name.
    pub fn calls_counted(&mut self, calls: u64) {
        (self.0)(calls, Lap::Counted);
    }

    /// A service whose calls succeed.
    pub(crate) fn service<S: Service<u64> + 'static>(mut service: S) -> Self {
        Self::succeeding(move |request| once(&mut service, request))
    }

    /// A service whose calls are refused.
    pub(crate) fn refusing_service<S: Service<u64> + 'static>(mut service: S) -> Self {
        Self::refusing(move |request| once(&mut service, request))
    }

    /// A call that succeeds.
    pub(crate) fn succeeding<T, E>(mut call: impl FnMut(u64) -> Result<T, E> + 'static) -> Self {
        assert!(call(1).is_ok(), "this subject is meant to succeed");
        Self::new(call)
    }

    /// A call that is refused.
    pub(crate) fn refusing<T, E>(mut call: impl FnMut(u64) -> Result<T, E> + 'static) -> Self {
        assert!(call(1).is_err(), "this subject is meant to refuse");
        Self::new(call)
    }

    fn new<T, E>(mut call: impl FnMut(u64) -> Result<T, E> + 'static) -> Self {
        Self(Box::new(move |calls, lap| match lap {
            Lap::Plain => repeat(&mut call, calls),
            Lap::Counted => measured(&mut call, calls),
        }))
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Run")
    }
}

/// `scripts/instructions` counts what happens in here.
#[inline(never)]
fn measured<T, E>(call: &mut impl FnMut(u64) -> Result<T, E>, calls: u64) {
    repeat(call, calls);
}

#[inline(always)]
fn repeat<T, E>(call: &mut impl FnMut(u64) -> Result<T, E>, calls: u64) {
    for request in 0..calls {
        black_box(&call(black_box(request)));
    }
}

/// One call of a service, from readiness to the response.
#[inline(always)]
pub(crate) fn once<S: Service<u64>>(
    service: &mut S,
    request: u64,
) -> Result<S::Response, S::Error> {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx)?.is_ready(), "every subject is ready");
    finish(pin!(service.call(request)))
}

/// Another instance of a service, ready to be called.
pub(crate) fn admitted<S: Service<u64> + Clone>(service: &S) -> S {
    let mut service = service.clone();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready(), "there is room for it");
    service
}

/// Polls until the outcome is there.
#[inline(always)]
pub(crate) fn finish<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    let mut cx = Context::from_waker(Waker::noop());
    let mut polls = 0;
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => polls += 1,
        }
        assert!(polls < 100, "every subject answers at once");
    }
}
