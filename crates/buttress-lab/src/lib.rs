//! Experiments on stacks of Buttress layers around an unreliable tool.
//!
//! A [`Plan`](plan::Plan) says which tools there are and which arms call them through which
//! layers; [`run`](run::run) makes the requests, in virtual time unless told otherwise, and
//! measures; [`report`] draws what was measured as JSON, as a table or as a page.
//!
//! ```
//! use buttress_lab::{plan::Plan, run::{self, Settings, Stop}};
//!
//! let plan = Plan::parse("example.toml", r#"
//!     name = "example"
//!     [tools.search]
//!     fail = 0.2
//!     fast_takes = [0.5, 1.0]
//!     [[arms]]
//!     name = "bare"
//!     [[arms]]
//!     name = "retried"
//!     stack = [{ retry = { attempts = 3 } }]
//! "#)?;
//! let settings = Settings { requests: 1_000, ..Settings::of(&plan) };
//! let measured = run::run(&plan, settings, &Stop::new(), &mut ())?;
//! let [bare, retried] = &measured.arms[..] else { panic!("two arms") };
//! assert!(bare.numbers.success.value < 0.85);
//! assert!(retried.numbers.success.value > 0.97);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod drill;
mod meter;
pub mod plan;
pub mod plans;
pub mod report;
pub mod run;
mod seed;
pub mod series;
mod stack;
pub mod stats;
pub mod store;
mod wire;
