//! Draws what was measured.

mod headline;
mod html;
mod json;
mod number;
mod table;

pub use self::{html::html, json::json, table::table};
