//! What the lab promises, from plan to report.

mod experiment;
mod plan;
mod program;
