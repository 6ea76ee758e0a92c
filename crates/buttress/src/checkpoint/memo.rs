//! What is written down of failures.

use std::fmt::Display;

/// What is written down of an error that is final.
pub trait Memo<E> {
    /// Whether failures are kept at all.
    const KEEPS: bool;

    /// The words of an error.
    fn words(&self, error: &E) -> String;
}

/// Failures are not recorded: the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forget;

/// Failures are recorded by their text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remember;

impl<E> Memo<E> for Forget {
    const KEEPS: bool = false;

    fn words(&self, _: &E) -> String {
        String::new()
    }
}

impl<E: Display> Memo<E> for Remember {
    const KEEPS: bool = true;

    fn words(&self, error: &E) -> String {
        error.to_string()
    }
}
