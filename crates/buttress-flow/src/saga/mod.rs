//! Sagas.

mod action;
mod bench;
mod drive;
pub mod plan;
mod report;
mod script;

pub use self::{
    action::{Action, Undoable},
    plan::{Outcome, Standing},
    report::{Refused, Report, StepReport},
    script::{Back, Forward, Saga},
};
