//! A strict service that catches layers which break Tower's contract.
//!
//! It hands out real permits that its clones share, does what a script says, counts what is
//! alive, and panics when it is misused, naming the law that was broken. Put it below a layer,
//! drive the layer through a scenario, and ask the [`ProbeHandle`]:
//!
//! ```
//! use buttress::Verdict;
//! use buttress_sim::probe::{Act, ProbeService};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let probe = ProbeService::new(1);
//! let handle = probe.handle();
//! handle.script([Act::fail(Verdict::transient())]);
//! let service = ServiceBuilder::new().map_request(|id: u64| handle.request(id)).service(probe);
//! assert!(service.oneshot(7).await.is_err());
//! assert_eq!(handle.counts().calls, 1);
//! handle.assert_gone();
//! # }
//! ```
//!
//! # The laws
//! 1. An instance is called only after it was readied, and once; not while it is pending, not
//!    after its readiness failed. A clone of a ready instance is not ready.
//! 2. Readiness lasts until the call, and reserves one permit however often it is asked for.
//!    What is dropped releases what it held.
//! 4. A readied instance is not left unused.
//! 5. One readiness at a time; no instance is left pending with nobody to poll it.
//! 6. What lost, or was dropped, leaves nothing running and nothing kept.
//!
//! And the law of every future: it is not polled after it has ended.
//!
//! # Permits
//! Given in the order in which instances asked. As with Tokio's semaphore, a permit that comes
//! free belongs at once to the instance that has waited longest, even if nobody polls it again:
//! an abandoned instance keeps all others waiting.

mod future;
mod handle;
mod ledger;
mod service;

pub use self::{
    future::ProbeFuture,
    handle::{Alarm, ProbeHandle},
    ledger::{Act, Counts, Hold, Readiness},
    service::{ProbeError, ProbeReply, ProbeRequest, ProbeService},
};
