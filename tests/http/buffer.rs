//! Request bodies that are read in advance.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use buttress::http::{BufferBodyLayer, ReplayBody};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, channel::Channel};
use proptest::prelude::*;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use super::{Script, data, trailers};
use crate::support::poll_once;

/// What the inner service reads.
#[derive(Debug, PartialEq)]
struct Seen<E> {
    bytes: Bytes,
    trailers: Option<HeaderMap>,
    error: Option<E>,
    /// The same of a copy, if there was one.
    copy: Option<(Bytes, Option<HeaderMap>)>,
    exact: Option<u64>,
    frames: usize,
}

async fn read_all<B: Body<Data = Bytes> + Unpin>(
    mut body: B,
) -> (Bytes, Option<HeaderMap>, Option<B::Error>, usize) {
    let (mut bytes, mut trailers, mut frames) = (Vec::new(), None, 0);
    while let Some(frame) = body.frame().await {
        frames += 1;
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
            Err(error) => return (bytes.into(), trailers, Some(error), frames),
        }
    }
    (bytes.into(), trailers, None, frames)
}

async fn through<B>(limit: usize, body: B) -> Seen<B::Error>
where
    B: Body + Unpin + 'static,
{
    let inner = service_fn(async |request: Request<ReplayBody<B>>| {
        let body = request.into_body();
        let exact = body.size_hint().exact();
        let copy = body.copy();
        let (bytes, trailers, error, frames) = read_all(body).await;
        let copy = match copy {
            Some(copy) => {
                let (bytes, trailers, ..) = read_all(copy).await;
                Some((bytes, trailers))
            }
            None => None,
        };
        Ok::<_, Infallible>(Seen { bytes, trailers, error, copy, exact, frames })
    });
    let Ok(seen) = BufferBodyLayer::new(limit).layer(inner).oneshot(Request::new(body)).await;
    seen
}

#[tokio::test]
async fn a_body_at_the_limit_is_buffered() {
    let seen = through(8, Script::new([data("four"), data(""), data("more")])).await;
    assert_eq!(seen.bytes, "fourmore");
    assert_eq!(seen.copy, Some(("fourmore".into(), None)));
    assert_eq!((seen.exact, seen.frames), (Some(8), 1));
}

#[tokio::test]
async fn a_body_one_over_the_limit_is_passed_once() {
    let steps = [data("four"), data("more!"), data("rest"), Ok(Frame::trailers(trailers()))];
    let seen = through(8, Script::new(steps)).await;
    assert_eq!(seen.bytes, "fourmore!rest");
    assert_eq!((seen.copy, seen.exact, seen.error), (None, None, None));
    assert_eq!(seen.trailers, Some(trailers()));
}

#[tokio::test]
async fn trailers_are_kept_and_copied() {
    let seen = through(4, Script::new([data("four"), Ok(Frame::trailers(trailers()))])).await;
    assert_eq!((seen.bytes, seen.trailers), ("four".into(), Some(trailers())));
    assert_eq!(seen.copy, Some(("four".into(), Some(trailers()))));
    let seen = through(0, Script::new([Ok(Frame::trailers(trailers()))])).await;
    assert_eq!((seen.exact, seen.trailers), (Some(0), Some(trailers())));
}

#[tokio::test]
async fn a_failure_is_found_in_its_place() {
    let seen = through(8, Script::new([data("four"), Err("broken"), data("never")])).await;
    assert_eq!((&*seen.bytes, seen.error), (&b"four"[..], Some("broken")));
    assert_eq!((seen.copy, seen.exact), (None, None));
}

#[tokio::test]
async fn a_body_that_says_it_is_larger_is_not_read() {
    let polls = Arc::new(AtomicU32::new(0));
    let body = Script { lower: 9, polls: polls.clone(), ..Script::new([data("nine byte")]) };
    let inner = service_fn(async |request: Request<ReplayBody<Script>>| {
        let body = request.into_body();
        assert_eq!(body.size_hint().lower(), 9);
        Ok::<_, Infallible>((body.copy().is_some(), read_all(body).await.0))
    });
    let mut service = BufferBodyLayer::new(8).layer(inner);
    let call = service.ready().await.unwrap().call(Request::new(body));
    assert_eq!(polls.load(Ordering::Relaxed), 0);
    assert_eq!(call.await.unwrap(), (false, "nine byte".into()));
}

#[tokio::test]
async fn a_body_that_turns_out_larger_by_its_own_word_is_read_no_further() {
    /// Says how much is to come only after its first frame.
    struct Late(Script);
    impl Body for Late {
        type Data = Bytes;
        type Error = &'static str;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            let frame = Pin::new(&mut self.0).poll_frame(cx);
            self.0.lower = if self.0.steps.is_empty() { 0 } else { 6 };
            frame
        }
        fn size_hint(&self) -> SizeHint {
            self.0.size_hint()
        }
    }
    let script = Script::new([data("abc"), data("defghi")]);
    let polls = script.polls.clone();
    let inner = service_fn(move |request: Request<ReplayBody<Late>>| {
        let (polls, hint) = (polls.load(Ordering::Relaxed), request.body().size_hint().lower());
        async move { Ok::<_, Infallible>((polls, hint, read_all(request.into_body()).await.0)) }
    });
    let service = BufferBodyLayer::new(8).layer(inner);
    // Asked twice before the call: not ready, then the first frame.
    let seen = service.oneshot(Request::new(Late(script))).await.unwrap();
    assert_eq!(seen, (2, 9, "abcdefghi".into()));
}

#[tokio::test]
async fn a_copy_is_never_cut_short() {
    let inner = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
        let mut body = request.into_body();
        assert!(body.copy().and_then(|copy| copy.copy()).is_some());
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        assert!(body.copy().is_none());
        Ok::<_, Infallible>(())
    });
    let request = Request::new(Full::from("body"));
    BufferBodyLayer::new(8).layer(inner).oneshot(request).await.unwrap();
}

/// Counts its clones and panics when it is called without having been made ready.
struct Strict {
    clones: Arc<AtomicU32>,
    calls: Arc<AtomicU32>,
    ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        self.clones.fetch_add(1, Ordering::Relaxed);
        Self { clones: self.clones.clone(), calls: self.calls.clone(), ready: false }
    }
}

impl<B> Service<Request<B>> for Strict {
    type Response = ();
    type Error = Infallible;
    type Future = std::future::Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been made ready");
        self.calls.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(()))
    }
}

fn strict() -> (Strict, Arc<AtomicU32>, Arc<AtomicU32>) {
    let (clones, calls) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    (Strict { clones: clones.clone(), calls: calls.clone(), ready: false }, clones, calls)
}

#[tokio::test]
async fn the_readied_instance_is_called_again_and_again() {
    let (inner, clones, calls) = strict();
    let mut service = BufferBodyLayer::new(8).layer(inner);
    for _ in 0..3 {
        let request = Request::new(Full::<Bytes>::from("body"));
        let service = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap();
        service.call(request).await.unwrap();
    }
    assert_eq!((clones.load(Ordering::Relaxed), calls.load(Ordering::Relaxed)), (3, 3));
}

#[tokio::test]
async fn an_empty_body_goes_straight_through() {
    let (inner, clones, calls) = strict();
    let mut service = BufferBodyLayer::new(8).layer(inner);
    let request = Request::new(Empty::<Bytes>::new());
    let service = ServiceExt::<Request<Empty<Bytes>>>::ready(&mut service).await.unwrap();
    let call = service.call(request);
    // Called at once, on the instance itself.
    assert_eq!((clones.load(Ordering::Relaxed), calls.load(Ordering::Relaxed)), (0, 1));
    call.await.unwrap();
    let seen = through(0, Empty::<Bytes>::new()).await;
    assert_eq!((seen.exact, seen.copy, seen.frames), (Some(0), Some((Bytes::new(), None)), 0));
}

#[tokio::test]
async fn a_call_dropped_while_it_reads_leaves_nothing() {
    let held = Arc::new(());
    let token = held.clone();
    let mut service = ServiceBuilder::new()
        .layer(BufferBodyLayer::new(64))
        .concurrency_limit(1)
        .service(service_fn(move |request: Request<ReplayBody<Channel<Bytes, BoxError>>>| {
            let token = token.clone();
            async move {
                let _token = token;
                read_all(request.into_body()).await;
                Ok::<_, Infallible>(())
            }
        }));
    // Dropped before its first poll, and after every number of chunks.
    for chunks in 0..4 {
        let (mut send, body) = Channel::<Bytes, BoxError>::new(4);
        let call = service.ready().await.unwrap().call(Request::new(body));
        let mut call = Box::pin(call);
        for _ in 0..chunks {
            send.send_data("chunk".into()).await.unwrap();
            assert!(poll_once(call.as_mut()).await.is_pending());
        }
        drop(call);
        assert!(send.send_data("more".into()).await.is_err(), "the body is still there");
    }
    // The permit is back: another clone becomes ready.
    assert!(poll_once(std::pin::pin!(service.clone().ready())).await.is_ready());
    drop(service);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test]
async fn bodies_that_cannot_be_moved_are_pinned_by_the_caller() {
    struct Fixed(Mutex<Option<Bytes>>, std::marker::PhantomPinned);
    impl Body for Fixed {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.lock().unwrap().take().map(|data| Ok(Frame::data(data))))
        }
    }
    let body = Fixed(Mutex::new(Some("fixed".into())), std::marker::PhantomPinned);
    assert_eq!(through(8, Box::pin(body)).await.copy, Some(("fixed".into(), None)));
}

proptest! {
    #[test]
    fn every_body_arrives_as_it_was_sent(
        chunks: Vec<Vec<u8>>, limit in 0_usize..300, with_trailers: bool, fails: bool
    ) {
        let sent = chunks.concat();
        let steps = chunks.into_iter().map(|chunk| Ok(Frame::data(Bytes::from(chunk))));
        let end = match (fails, with_trailers) {
            (true, _) => Some(Err("broken")),
            (false, true) => Some(Ok(Frame::trailers(trailers()))),
            (false, false) => None,
        };
        let body = Script::new(steps.chain(end));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let seen = runtime.block_on(through(limit, body));
        let whole = sent.len() <= limit && !fails;
        let trailers = (with_trailers && !fails).then(trailers);
        prop_assert_eq!(seen.exact, whole.then_some(sent.len() as u64));
        let copy = whole.then(|| (Bytes::from(sent.clone()), trailers.clone()));
        prop_assert_eq!(seen.copy, copy);
        prop_assert_eq!(seen.bytes, sent);
        prop_assert_eq!(seen.trailers, trailers);
        prop_assert_eq!(seen.error, fails.then_some("broken"));
    }
}
