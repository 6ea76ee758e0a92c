//! Requests that carry the fence.

use std::fmt;

/// The number of a leadership: greater than those of all before it.
///
/// A tool that keeps the greatest that it has seen, and refuses requests with a smaller one, is safe
/// from a leader that does not know yet that it is none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FencingToken(u64);

impl FencingToken {
    /// The token of an epoch of the office's lease.
    pub const fn new(epoch: u64) -> Self {
        Self(epoch)
    }

    /// The epoch.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A request that carries the fence of the leader who sends it.
#[diagnostic::on_unimplemented(
    message = "a request of type `{Self}` has no place for the leader's fence",
    label = "`{Self}` is not `Fenced`",
    note = "wrap the request: `.map_request(buttress::leader::Led::new)` above the layer, or implement `buttress::leader::Fenced` for it"
)]
pub trait Fenced {
    /// Puts the token where the tool finds it, in place of any that is there.
    fn attach(&mut self, token: FencingToken);
}

/// A request together with the fence of the leader who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led<R> {
    /// What is asked.
    pub request: R,
    /// The fence: in place when the inner service is called.
    pub token: Option<FencingToken>,
}

impl<R> Led<R> {
    /// A request that has no fence yet.
    pub const fn new(request: R) -> Self {
        Self { request, token: None }
    }

    /// The request alone.
    pub fn into_request(self) -> R {
        self.request
    }
}

impl<R> Fenced for Led<R> {
    fn attach(&mut self, token: FencingToken) {
        self.token = Some(token);
    }
}
