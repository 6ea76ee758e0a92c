//! Two-phase commit.

mod coordinator;
mod desk;
mod drive;
mod log;
pub mod protocol;
mod report;
mod standing;

pub use self::{
    coordinator::Coordinator,
    protocol::{Decision, Outcome, Vote},
    report::{Participant, Refused, Report},
    standing::{Answer, Ask, Standing, Transaction},
};
