//! Several services called at once, each made ready by itself.
//!
//! What quorum and degrade have in common. A member that is slow to become ready, or never does,
//! holds up none of the others.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tower_service::Service;

/// Calls under way, in the order in which they were added.
///
/// A chain of boxes: one allocation per call and none besides. (A pinned slice would be a single
/// one, but cannot be polled without `unsafe`.)
pub(crate) struct Fan<S: Service<Req>, Req> {
    first: Link<S, Req>,
    running: usize,
}

type Link<S, Req> = Option<Pin<Box<Seat<S, Req>>>>;

#[pin_project]
struct Seat<S: Service<Req>, Req> {
    #[pin]
    stage: Stage<S, S::Future, Req>,
    place: usize,
    next: Link<S, Req>,
}

#[pin_project(project = StageProj)]
enum Stage<S, F, Req> {
    /// The service is made ready; the request waits.
    Readying { inner: S, request: Option<Req> },
    /// The service has been called, and is not needed any more.
    Calling {
        #[pin]
        future: F,
    },
    /// It has ended: what ran is gone.
    Done,
}

/// What became of one member.
pub(crate) struct Ended<T, E> {
    /// Its number.
    pub(crate) place: usize,
    pub(crate) outcome: Result<T, E>,
    /// Whether the request was sent; an error of readiness comes before that.
    pub(crate) sent: bool,
}

impl<S: Service<Req>, Req> Fan<S, Req> {
    pub(crate) const fn new() -> Self {
        Self { first: None, running: 0 }
    }

    /// Adds a call of the member with number `place`; nothing happens before it is polled.
    pub(crate) fn add(&mut self, place: usize, inner: S, request: Req) {
        let stage = Stage::Readying { inner, request: Some(request) };
        let mut link = &mut self.first;
        while let Some(seat) = link {
            link = seat.as_mut().project().next;
        }
        *link = Some(Box::pin(Seat { stage, place, next: None }));
        self.running += 1;
    }

    /// How many have not ended.
    pub(crate) const fn running(&self) -> usize {
        self.running
    }

    /// The numbers of those that have not ended.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        self.unfinished().map(|(place, _)| place)
    }

    /// The numbers of those that have not ended, and whether their requests were sent.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = (usize, bool)> {
        std::iter::successors(self.first.as_ref(), |seat| seat.next.as_ref()).filter_map(|seat| {
            match seat.stage {
                Stage::Readying { .. } => Some((seat.place, false)),
                Stage::Calling { .. } => Some((seat.place, true)),
                Stage::Done => None,
            }
        })
    }

    /// Drops all that run.
    pub(crate) fn clear(&mut self) {
        // Link by link, so that a long chain does not fill the stack.
        let mut link = self.first.take();
        while let Some(mut seat) = link {
            link = seat.as_mut().project().next.take();
        }
        self.running = 0;
    }

    /// Polls each member once, and hands over those that end.
    ///
    /// Goes no further once `ended` returns something, and returns it.
    pub(crate) fn poll<B>(
        &mut self,
        cx: &mut Context<'_>,
        ended: impl FnMut(Ended<S::Response, S::Error>) -> Option<B>,
    ) -> Option<B> {
        self.poll_from(0, cx, ended)
    }

    /// As [`poll`](Self::poll), but leaves out the members with lower numbers than `from`.
    #[inline]
    pub(crate) fn poll_from<B>(
        &mut self,
        from: usize,
        cx: &mut Context<'_>,
        mut ended: impl FnMut(Ended<S::Response, S::Error>) -> Option<B>,
    ) -> Option<B> {
        let mut link = &mut self.first;
        while let Some(seat) = link {
            let seat = seat.as_mut().project();
            let mut stage = seat.stage;
            if *seat.place >= from
                && let Poll::Ready((outcome, sent)) = advance(&mut stage, cx)
            {
                stage.set(Stage::Done);
                self.running -= 1;
                let stop = ended(Ended { place: *seat.place, outcome, sent });
                if stop.is_some() {
                    return stop;
                }
            }
            link = seat.next;
        }
        None
    }
}

/// Polls one member, from readiness on to the response.
fn advance<S: Service<Req>, Req>(
    stage: &mut Pin<&mut Stage<S, S::Future, Req>>,
    cx: &mut Context<'_>,
) -> Poll<(Result<S::Response, S::Error>, bool)> {
    loop {
        let future = match stage.as_mut().project() {
            StageProj::Readying { inner, request } => {
                match inner.poll_ready(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready((Err(error), false)),
                    Poll::Pending => return Poll::Pending,
                }
                let Some(request) = request.take() else { return Poll::Pending };
                inner.call(request)
            }
            StageProj::Calling { future } => return future.poll(cx).map(|outcome| (outcome, true)),
            StageProj::Done => return Poll::Pending,
        };
        stage.set(Stage::Calling { future });
    }
}

impl<S: Service<Req>, Req> Drop for Fan<S, Req> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<S: Service<Req>, Req> fmt::Debug for Fan<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.places()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn, time::Duration};

    use tokio::time::{Instant, sleep};
    use tower::service_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_ends_in_its_own_time_and_the_rest_is_dropped() {
        struct Alive<'a>(&'a Cell<u32>);
        impl Drop for Alive<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        let alive = Cell::new(0);
        let service = service_fn(|seconds: u64| {
            alive.set(alive.get() + 1);
            let guard = Alive(&alive);
            async move {
                sleep(Duration::from_secs(seconds)).await;
                drop(guard);
                if seconds == 2 { Err(seconds) } else { Ok(seconds) }
            }
        });
        let mut fan = Fan::new();
        for (place, seconds) in [3, 1, 2, 100_000].into_iter().enumerate() {
            fan.add(place, service, seconds);
        }
        assert_eq!(alive.get(), 0, "nothing happens before the first poll");
        let (start, mut log) = (Instant::now(), Vec::new());
        poll_fn(|cx| {
            let stop = fan.poll(cx, |Ended { place, outcome, sent }| {
                assert!(sent);
                log.push((start.elapsed().as_secs(), place, outcome));
                (log.len() == 3).then_some(())
            });
            stop.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        assert_eq!(log, [(1, 1, Ok(1)), (2, 2, Err(2)), (3, 0, Ok(3))]);
        assert_eq!((fan.running(), format!("{fan:?}").as_str()), (1, "[3]"));
        assert_eq!(alive.get(), 1);
        fan.clear();
        assert_eq!((fan.running(), alive.get()), (0, 0));
    }

    #[tokio::test]
    async fn an_error_of_readiness_is_told_from_an_answer() {
        struct Broken;
        impl Service<()> for Broken {
            type Response = ();
            type Error = ();
            type Future = std::future::Pending<Result<(), ()>>;
            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
                Poll::Ready(Err(()))
            }
            fn call(&mut self, (): ()) -> Self::Future {
                panic!("it was not ready")
            }
        }
        let mut fan = Fan::new();
        fan.add(7, Broken, ());
        let ended = poll_fn(|cx| {
            fan.poll(cx, |ended| Some((ended.place, ended.sent))).map_or(Poll::Pending, Poll::Ready)
        });
        assert_eq!(ended.await, (7, false));
    }

    #[test]
    fn a_long_chain_is_dropped_link_by_link() {
        let mut fan = Fan::new();
        let mut link = &mut fan.first;
        for place in 0..100_000 {
            let service = service_fn(async |(): ()| Ok::<_, ()>(()));
            let stage = Stage::Readying { inner: service, request: Some(()) };
            *link = Some(Box::pin(Seat { stage, place, next: None }));
            let Some(seat) = link else { unreachable!() };
            link = seat.as_mut().project().next;
        }
        drop(fan);
    }
}
