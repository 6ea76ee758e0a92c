//! Draws what was measured.

mod headline;
mod html;
mod json;
mod number;
mod table;
mod text;

pub use self::{html::html, json::json, table::table, text::wrapped};
