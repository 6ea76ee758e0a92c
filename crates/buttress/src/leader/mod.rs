//! Lets calls in while this process leads: of several processes one does.
//!
//! ```text
//!   process a ─ campaign ── renews ──▶ ┌─────────────────┐
//!                                      │ the lease, 7    │   one row of a store that
//!   process b ─ campaign ── waits ───▶ └─────────────────┘   all of them reach
//!
//!   a call in a ──▶ led for sure? ──yes──▶ sent with fence 7 ──▶ tool: 7 ≥ the greatest seen
//!   a call in b ──▶ led for sure? ──no───▶ refused: another leads, come back in ..
//! ```
//!
//! An office is a [lease](crate::store::Lease) in a [store](crate::store) that several processes share, on
//! PostgreSQL for example. [`LeaderLayer::campaign`] gets and keeps it; the layer lets calls in by a look
//! at the clock, and never asks the store.
//!
//! ```
//! use std::{future::pending, time::Duration};
//! use buttress::{CallError, LeaderLayer, Rejection, leader::Led, store::{Journal, MemoryStore}};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let store = MemoryStore::new(); // several processes have one on PostgreSQL
//! let candidate = || {
//!     LeaderLayer::new(Journal::new(store.clone()).ttl(Duration::from_secs(10)), "scheduler")
//! };
//! let (a, b) = (candidate(), candidate());
//! let running = tokio::spawn(a.campaign(pending()));
//! let fence = a.handle().wait_until_leader().await;
//! tokio::spawn(b.campaign(pending()));
//!
//! let tool = service_fn(async |call: Led<&str>| Ok::<_, CallError<()>>(call.token.unwrap().get()));
//! let service = |layer| ServiceBuilder::new().map_request(Led::new).layer(layer).service(tool);
//! assert_eq!(service(a.clone()).oneshot("tick").await.unwrap(), fence);
//! tokio::task::yield_now().await;
//! let refused = service(b.clone()).oneshot("tick").await.unwrap_err();
//! assert!(matches!(refused.rejection(), Some(Rejection::NotLeader { retry_after: Some(_), .. })));
//!
//! // The process of `a` dies. When its lease has run out, `b` leads, with a greater fence.
//! running.abort();
//! assert!(b.handle().wait_until_leader().await > fence);
//! # }
//! ```
//!
//! # Who leads when
//! A lease counts from *before* the request for it, or for its renewal, was sent, and ends a
//! [margin](LeaderLayer::margin) earlier than the store ends it. So two processes never let calls in at the same
//! time, whatever requests, answers and processes are delayed by, as long as their clocks do not drift apart by more
//! than the margin. Clocks are compared by their rate alone, never by what they show.
//!
//! | | what happens |
//! |---|---|
//! | the process dies | another leads after the lease's time at most, and a [poll](LeaderLayer::poll) |
//! | it is stopped, or its campaign is not polled | calls are refused once the lease's time is over, without the campaign |
//! | the store fails | calls are let in until then; renewals are tried again twelve times in a lease's time |
//! | nobody took over meanwhile | the next renewal makes it lead again, with the same fence |
//! | [`step_down`](LeaderHandle::step_down), `shutdown` | calls are refused, then the lease is given back: another leads after a poll |
//!
//! # The fence
//! No clock can keep a call back that was let in and is late: one that waits in a queue, or whose process
//! is stopped. Therefore each carries the [number](FencingToken) of the leadership. The tool keeps the
//! greatest that it has seen and refuses those that are smaller; what is written to the store
//! [under the lease](LeaderHandle::journal) is fenced by the store itself. Without such a tool two leaders
//! can have an effect at the same time, if one of them is slow. A machine that sleeps (a suspended laptop,
//! a virtual machine that is moved) stops its clock too: there is nothing but the fence then. The same goes for
//! a PostgreSQL server whose clock, by which it ends leases, is set forward by more than the margin.
//!
//! The request says where the number goes by [`Fenced`]: a header `fencing-token` and an extension of
//! `http::Request` with the feature `http`, a field of [`Led`] for all others.
//!
//! # Defaults
//! Leases last as long as the [journal's](crate::store::Journal::ttl), 30 s; margin and poll are a tenth of that;
//! renewals come after a third.
//!
//! # Clone
//! One layer value is one office: its clones, and all services that they make, share it. Setters make a new
//! one. Campaigns for one office in one process are candidates like any others.
//!
//! # Cancellation
//! Calls that were let in go on when the leadership ends: the fence is what protects the tool from them. A
//! dropped campaign leads no more at once, and does not give its lease back: nothing is left that could.
//!
//! # Errors
//! [`Rejection::NotLeader`](crate::Rejection::NotLeader) with the name of the office, and with the time after which
//! the lease of the other ends unless it is renewed, as far as it is known.
//!
//! # Telemetry
//! [`Elected`](crate::Event::Elected), [`Deposed`](crate::Event::Deposed) with
//! [`LeaseLost`](crate::Why::LeaseLost) or [`Command`](crate::Why::Command), [`Rejected`](crate::Event::Rejected),
//! and [`StoreFailed`](crate::Event::StoreFailed) for each request that the store did not answer. A campaign that is not
//! polled tells late.
//!
//! # Order in the stack
//! Inside of retry and hedge, so that every attempt is let in by itself and carries the fence of its time; outside
//! of what keeps calls waiting, such as a limit, only if those may be late.
//!
//! # When not to use
//! To do each piece of work once: leases on the work itself, as workers take them, spread the work and need no
//! leader. Over a store that answers before it is durable: two leaders with one fence become possible.

mod campaign;
mod fenced;
mod future;
mod handle;
mod layer;
mod office;
mod service;

pub use self::{
    fenced::{Fenced, FencingToken, Led},
    future::ResponseFuture,
    handle::LeaderHandle,
    layer::{LeaderLayer, NAMESPACE},
    service::Leader,
};
