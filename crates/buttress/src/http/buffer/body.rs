use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use ::http::HeaderMap;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use crate::http::CopyBody;

/// A request body that was read in advance, wholly or in part.
///
/// What [`BufferBodyLayer`](super::BufferBodyLayer) gives to the service inside. Buffered whole,
/// its length is known exactly and it [can be copied](Self::copy), without copying its bytes.
/// Frames are [`Bytes`], whatever those of the inner body are.
pub struct ReplayBody<B: Body> {
    /// What was read, then the frame that was too much; sent in this order.
    read: Bytes,
    next: Bytes,
    tail: Tail<B>,
    /// Whether a frame has been taken.
    begun: bool,
}

/// What comes after the bytes that were read.
enum Tail<B: Body> {
    End,
    Trailers(HeaderMap),
    Rest(B),
    Error(B::Error),
}

impl<B: Body> ReplayBody<B> {
    const fn new(read: Bytes, next: Bytes, tail: Tail<B>) -> Self {
        Self { read, next, tail, begun: false }
    }

    pub(super) const fn empty() -> Self {
        Self::new(Bytes::new(), Bytes::new(), Tail::End)
    }

    pub(super) const fn unread(body: B) -> Self {
        Self::large(Bytes::new(), Bytes::new(), body)
    }

    pub(super) fn whole(read: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self::new(read, Bytes::new(), trailers.map_or(Tail::End, Tail::Trailers))
    }

    pub(super) const fn large(read: Bytes, next: Bytes, rest: B) -> Self {
        Self::new(read, next, Tail::Rest(rest))
    }

    pub(super) const fn failed(read: Bytes, error: B::Error) -> Self {
        Self::new(read, Bytes::new(), Tail::Error(error))
    }

    /// Copies the body.
    ///
    /// `None` if it was not buffered whole, or if a frame of it has been taken, so that a copy is
    /// never cut short.
    pub fn copy(&self) -> Option<Self> {
        let tail = match &self.tail {
            _ if self.begun => return None,
            Tail::End => Tail::End,
            Tail::Trailers(trailers) => Tail::Trailers(trailers.clone()),
            Tail::Rest(_) | Tail::Error(_) => return None,
        };
        Some(Self::new(self.read.clone(), self.next.clone(), tail))
    }
}

impl<B: Body> CopyBody for ReplayBody<B> {
    fn copy_body(&self) -> Option<Self> {
        self.copy()
    }
}

/// Empty; for clients that make their own bodies.
impl<B: Body> Default for ReplayBody<B> {
    fn default() -> Self {
        Self::empty()
    }
}

// Of what is inside, only the rest of a body is ever pinned.
impl<B: Body + Unpin> Unpin for ReplayBody<B> {}

impl<B: Body + Unpin> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        this.begun = true;
        for data in [&mut this.read, &mut this.next] {
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(mem::take(data)))));
            }
        }
        if let Tail::Rest(rest) = &mut this.tail {
            let frame = Pin::new(rest).poll_frame(cx);
            return frame
                .map_ok(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())));
        }
        Poll::Ready(match mem::replace(&mut this.tail, Tail::End) {
            Tail::End | Tail::Rest(_) => None,
            Tail::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
            Tail::Error(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        let tail = match &self.tail {
            Tail::End => true,
            Tail::Rest(rest) => rest.is_end_stream(),
            Tail::Trailers(_) | Tail::Error(_) => false,
        };
        tail && self.read.is_empty() && self.next.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        // Lengths in memory fit in 64 bits.
        let read = (self.read.len() + self.next.len()) as u64;
        match &self.tail {
            Tail::End | Tail::Trailers(_) => SizeHint::with_exact(read),
            Tail::Rest(rest) => {
                let rest = rest.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(read.saturating_add(rest.lower()));
                if let Some(upper) = rest.upper().and_then(|upper| read.checked_add(upper)) {
                    hint.set_upper(upper);
                }
                hint
            }
            // Its length will never be known.
            Tail::Error(_) => {
                let mut hint = SizeHint::new();
                hint.set_lower(read);
                hint
            }
        }
    }
}

impl<B: Body> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = match &self.tail {
            Tail::End => "end",
            Tail::Trailers(_) => "trailers",
            Tail::Rest(_) => "rest",
            Tail::Error(_) => "error",
        };
        f.debug_struct("ReplayBody")
            .field("read", &(self.read.len() + self.next.len()))
            .field("then", &tail)
            .field("begun", &self.begun)
            .finish()
    }
}
