//! Does each step of a workflow once: what was done is answered from a store, in this process or the
//! next.
//!
//! Put it around any service whose requests [say which step they are](Keyed) and whose responses can be
//! put into [bytes](Codec). Before a call it looks what became of the step; after it the response is
//! recorded, and only then returned.
//!
//! ```
//! use buttress::{CheckpointLayer, checkpoint::{Effects, InDoubt, Step}, store::{Journal, MemoryStore}};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
//! let store = MemoryStore::new(); // one that outlives the process is in `buttress-store`
//! let charge = || Step::new("order-17", "charge", 1_200_u32);
//!
//! let journal = Journal::new(store.clone()).namespace("shop");
//! let pay = ServiceBuilder::new()
//!     .layer(CheckpointLayer::new(journal, Effects::SideEffect(InDoubt::Retry)))
//!     .service(service_fn(async |step: Step<u32>| {
//!         let key = step.key.ok_or("the checkpoint places one")?;
//!         Ok::<_, BoxError>(format!("{} cents, {key:.8}", step.request)) // the key goes along
//!     }));
//! let receipt = pay.oneshot(charge()).await?;
//!
//! // The next process finds the bank away, and the step done.
//! let journal = Journal::new(store).namespace("shop");
//! let pay = ServiceBuilder::new()
//!     .layer(CheckpointLayer::new(journal, Effects::SideEffect(InDoubt::Retry)))
//!     .service(service_fn(async |_: Step<u32>| Err::<String, BoxError>("away".into())));
//! assert_eq!(pay.oneshot(charge()).await?, receipt);
//! # Ok(()) }
//! ```
//!
//! Results are exactly once. Effects are at most once ([`InDoubt::Fail`]), at least once
//! ([`InDoubt::Retry`]), effectively once (`Retry` and a tool that honours the idempotency key).
//!
//! # What a step does to the world
//! is [declared](Effects), without a default. One that only reads, or may be done twice, is written
//! once: its result. A side effect is written twice: the intent before the call, the result after it,
//! and the workflow is held by a lease, so that no other process is at it meanwhile.
//!
//! | the process ends | stored | the next one, of a side effect |
//! |---|---|---|
//! | before the intent is durable | nothing | calls |
//! | while it is written | either | as what it finds |
//! | after that, before or during the call | the intent | is in doubt: does as declared, or [asks the world](CheckpointLayer::probe) |
//! | while the result is written | either | as what it finds |
//! | after that | the result | answers with it; the tool is not called |
//! | and the result is damaged later | a wrong digest | is in doubt |
//! | it loses its lease during the call | the intent | takes over; what the first writes late is refused |
//!
//! Steps that may be done twice are simply done again in all of these cases but the fifth. If two
//! processes are at one, the result that is written first is the answer to both.
//!
//! The lease lasts beyond the call, until its [time](crate::store::Journal::ttl) is over: until then, 30 s by
//! default, a side effect of the same workflow in another process is refused, or waits if
//! [so it was set](CheckpointLayer::wait_in_flight).
//!
//! Steps alone do not end a workflow: it is remembered for 90 days after it was last written, by default
//! ([`Retention`](crate::store::Retention)). Whoever is done with it may end it, and give the lease back:
//!
//! ```
//! # use buttress::{CheckpointLayer, checkpoint::{Effects, InDoubt, Step}};
//! # use buttress::store::{Journal, Life, MemoryStore, Store};
//! # use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! # let journal = Journal::new(MemoryStore::new());
//! # let pay = ServiceBuilder::new()
//! #     .layer(CheckpointLayer::new(journal.clone(), Effects::SideEffect(InDoubt::Retry)))
//! #     .service(service_fn(async |step: Step<u32>| Ok::<_, BoxError>(step.request)));
//! pay.oneshot(Step::new("order-17", "charge", 1_200)).await?;
//! let order = journal.workflow("order-17");
//! journal.store().finish(&order, &journal.claim(&order, true)?).await?;
//! # let summary = journal.store().summary(&order).await?.ok_or("it is there")?;
//! # assert_eq!((summary.life, summary.held), (Life::Finished, None));
//! # Ok(()) }
//! ```
//!
//! # The idempotency key
//! is made of the namespace, the workflow's lineage and the step: the same for every attempt, in every
//! process; another after a fork. It is [placed](Keyed::place) in the request of every mode: for
//! HTTP into the header `Idempotency-Key`.
//!
//! # Around an HTTP client
//! The request says by a [`StepOf`] in its extensions which step it is. Responses are kept by `.codec(Http)`, with a
//! body that was collected inside of the layer, and judged by `.classify(ByStatus)`, so that no 503 is kept. The
//! example `checkpoint_http` is such a client, of hyper, in processes that are killed. A request of reqwest is made of
//! one of `http` by `try_into()`, inside of the layer too.
//!
//! # What is recorded
//!
//! | outcome | what is written |
//! |---|---|
//! | a [success](crate::Kind::Success) | the response |
//! | a failure that [changed nothing](crate::Effect::None) | of a side effect: that the intent is withdrawn, so that nothing is in doubt |
//! | a [permanent](crate::Kind::Permanent) failure | nothing; with [`record_failures`](CheckpointLayer::record_failures) its text |
//! | any other failure | nothing: a side effect stays in doubt |
//!
//! A later attempt does not clear up an earlier one: what was in doubt before a call that failed is in
//! doubt after it, unless its failure is recorded.
//!
//! # Defaults
//! [`Json`], schema 1; the error itself says what it means; failures are not recorded; a step that is
//! being done is refused.
//!
//! # Clone
//! Clones share the journal, and by it which steps are being done in this process. Layers over the
//! same workflows should share one [`Journal`](crate::store::Journal): two are to each other as two processes.
//!
//! # Cancellation
//! A call that is dropped before its intent is written leaves nothing; so does one that waits for the service to become
//! ready, since a side effect writes its intent only then. While it is written, and when the store fails to say whether
//! it was, nothing is called: that journal knows, and does the step when it is asked again; others find it in doubt.
//! Dropped later it is in doubt, by design: nobody can tell how far it got. [`detach_on_drop`](CheckpointLayer::detach_on_drop) lets it go on instead.
//! While a call runs under a lease, its future renews the lease each third of its time; one that is not
//! polled for longer than that may be taken over.
//!
//! # Errors
//! [`Rejection::Halted`](crate::Rejection) with a [`Halt`] that says why: in doubt, in flight, within itself, held
//! elsewhere, another request, failed before, unreadable, unwritable, not recorded, the store, no step. What
//! cannot be read is never a default and never a reason to call again. If recording a failure fails,
//! the failure is returned.
//!
//! # Telemetry
//! `replayed`, `intended`, `recorded`, `withdrawn` (debug); `in_doubt`, `damaged`, `fenced` (warn);
//! `rejected` for steps that are in flight, within themselves or held.
//!
//! # Order in the stack
//! Inside of a fallback and outside of all else. What repeats stands inside, so that one intent covers all
//! attempts and all of them carry the key: with it even a payment may be retried and hedged.
//! Outside, each attempt would begin the step anew; [`stack`](crate::stack) finds such orders.
//! The service is not asked whether it is ready, and a replay works while it is down.
//!
//! # When not to use
//! For answers that may be old or lost: a cache costs no commit. A step whose response is large is
//! recorded as a whole; let it return a reference.
//!
//! Requires the feature `serde`.

mod clerk;
mod codec;
mod course;
mod detach;
mod effects;
mod future;
mod halt;
#[cfg(feature = "http")]
mod http;
mod instance;
mod keyed;
mod layer;
mod memo;
mod probe;
mod service;
mod tenure;
mod turns;

#[cfg(feature = "http")]
pub use self::http::{AtHand, Http};
pub use self::{
    codec::{Codec, Json},
    detach::{Detach, DetachFuture, DetachLayer},
    effects::{Effects, InDoubt},
    future::ResponseFuture,
    halt::Halt,
    keyed::{Keyed, Step, StepOf, Unkeyed, fingerprint},
    layer::CheckpointLayer,
    memo::{Forget, Memo, Remember},
    probe::{Ask, Landing, Unasked},
    service::Checkpoint,
};
