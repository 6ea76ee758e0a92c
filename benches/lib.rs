//! What the layers cost, beside their peers.
//!
//! A [`Subject`] is one way to make a call: bare, through a layer of ours, or through a peer's
//! layer of the same kind. Four programs look at them:
//!
//! - `cargo run --release -p buttress-benches --bin overhead` compares all of them in one run:
//!   time, allocations, ratios.
//! - `cargo test -p buttress-benches` asserts how often our layers allocate.
//! - `scripts/instructions` counts instructions under callgrind and compares them with the
//!   budgets in `benches/instructions.txt`.
//! - `cargo bench -p buttress-benches --bench retry` (or another pattern) runs criterion.
//!
//! What a durable step costs, beside a commit of its engine, two others measure with the same [`steps`]: `--bin durable`
//! (redb) and `--bin durable_postgres`.
//!
//! Every call is made of readiness, `call` and polls until the response is there, on a service
//! built once, over an inner service that is ready and answers in the first poll. Time is never
//! asserted: it is this machine's.

mod bare;
mod ours;
mod peers;
mod run;
pub mod steps;
mod subject;

pub use self::{
    bare::{Bare, Failed},
    run::{Run, runtime},
    subject::{Kind, Subject},
};
