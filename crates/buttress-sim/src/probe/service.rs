use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use buttress::{Fault, Rejection, Verdict};
use tower_service::Service;

use super::{
    ProbeFuture, ProbeHandle,
    ledger::{Ledger, Shared},
};

/// A request to a [`ProbeService`]: a number.
///
/// Those of [`ProbeHandle::request`] count their clones.
pub struct ProbeRequest {
    id: u64,
    counted: Option<Arc<Shared>>,
}

impl ProbeRequest {
    /// A request with a number.
    pub const fn new(id: u64) -> Self {
        Self { id, counted: None }
    }

    pub(super) const fn counted(id: u64, shared: Arc<Shared>) -> Self {
        Self { id, counted: Some(shared) }
    }

    /// The number.
    pub const fn id(&self) -> u64 {
        self.id
    }
}

impl From<u64> for ProbeRequest {
    fn from(id: u64) -> Self {
        Self::new(id)
    }
}

impl Clone for ProbeRequest {
    fn clone(&self) -> Self {
        if let Some(shared) = &self.counted {
            shared.with(|ledger, _| ledger.counts.copies += 1);
        }
        Self { id: self.id, counted: self.counted.clone() }
    }
}

impl fmt::Debug for ProbeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProbeRequest").field(&self.id).finish()
    }
}

/// The reply of a [`ProbeService`]. Counted while it lives; may hold a permit.
#[derive(Debug)]
pub struct ProbeReply {
    id: u64,
    call: u64,
    permit: Option<Permit>,
    shared: Arc<Shared>,
}

impl ProbeReply {
    pub(super) fn new(id: u64, call: u64, permit: Option<Permit>, shared: Arc<Shared>) -> Self {
        shared.with(|ledger, _| ledger.counts.replies += 1);
        Self { id, call, permit, shared }
    }

    /// The number of the request.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The number of the call that gave the reply, from 1.
    pub const fn call(&self) -> u64 {
        self.call
    }

    /// Whether the reply holds a permit; see [`Hold::Reply`](super::Hold::Reply).
    pub const fn holds_a_permit(&self) -> bool {
        self.permit.is_some()
    }
}

impl Drop for ProbeReply {
    fn drop(&mut self) {
        self.shared.with(|ledger, _| ledger.counts.replies -= 1);
    }
}

/// The error of a [`ProbeService`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// A call failed as planned.
    #[error("planned failure: {}", .0.kind)]
    Failed(Verdict),
    /// Readiness failed as planned.
    #[error("planned failure of readiness: {}", .0.kind)]
    Unready(Verdict),
    /// A layer refused or ended the call.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Fault for ProbeError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Failed(verdict) | Self::Unready(verdict) => *verdict,
            Self::Rejected(rejection) => rejection.verdict(),
        }
    }
}

/// A strict service for tests. See the [module](super).
///
/// # Clone
/// Clones share permits, script and counts; a clone is not ready.
///
/// # Panics
/// When it is misused, with the law that was broken.
#[derive(Debug)]
pub struct ProbeService {
    shared: Arc<Shared>,
    instance: u64,
}

impl ProbeService {
    /// A probe with so many permits; with none it never becomes ready.
    pub fn new(permits: u32) -> Self {
        Self::instance(Arc::new(Shared::new(Ledger::new(permits.into()))))
    }

    fn instance(shared: Arc<Shared>) -> Self {
        let instance = shared.with(|ledger, _| ledger.add_instance());
        Self { shared, instance }
    }

    /// A handle to script and question the probe with.
    pub fn handle(&self) -> ProbeHandle {
        ProbeHandle::new(self.shared.clone())
    }
}

impl Clone for ProbeService {
    fn clone(&self) -> Self {
        self.shared.with(|ledger, _| ledger.counts.clones += 1);
        Self::instance(self.shared.clone())
    }
}

impl Drop for ProbeService {
    fn drop(&mut self) {
        self.shared.with(|ledger, after| ledger.remove_instance(self.instance, after));
    }
}

impl Service<ProbeRequest> for ProbeService {
    type Response = ProbeReply;
    type Error = ProbeError;
    type Future = ProbeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        let waker = cx.waker().clone();
        self.shared
            .with(|ledger, after| ledger.poll_ready(self.instance, waker, after))
            .map_err(ProbeError::Unready)
    }

    #[track_caller]
    #[expect(clippy::panic, reason = "misuse must fail the test")]
    fn call(&mut self, request: ProbeRequest) -> ProbeFuture {
        match self.shared.with(|ledger, _| ledger.call(self.instance)) {
            Ok((call, act, hold)) => {
                let permit = Permit(self.shared.clone());
                ProbeFuture::new(self.shared.clone(), request.id, call, act, hold, permit)
            }
            Err(misuse) => panic!("{misuse}"),
        }
    }
}

/// One of the permits, out of the books until it is dropped.
#[derive(Debug)]
pub(super) struct Permit(Arc<Shared>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.with(|ledger, after| ledger.release(after));
    }
}
