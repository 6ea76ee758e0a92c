//! The store in a file: what it keeps, what it makes of damage, and what it says when it cannot go on.

#![expect(clippy::panic, reason = "how a test says that it failed")]

mod behaviour;
mod conformance;
mod damage;
mod disk;
mod export;
mod kill;
mod layout;
mod power;
mod rot;
mod support;
mod trouble;
