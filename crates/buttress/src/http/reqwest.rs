//! What reqwest's errors mean.

use std::error::Error;

use super::{of_status, unsent};
use crate::{Effect, Kind, Verdict};

/// Judges an error of reqwest; `None` if it is none, or if its source knows better.
///
/// | error | verdict | effect |
/// |---|---|---|
/// | the request could not be built | permanent | none |
/// | no connection was made | as its cause says, else transient | none |
/// | `error_for_status` | as [`of_status`] says; the headers are lost | as there |
/// | timeout | transient | maybe |
/// | too many redirects, a refused redirect, no upgrade | permanent | maybe |
/// | the answer cannot be decoded | as its cause says, else permanent | maybe |
/// | another failure of the request or of a body | its cause decides | as there |
///
/// A connection that could not be made counts as nothing sent. Where a redirect led there, an
/// earlier request was sent, and reqwest does not tell: switch redirects off
/// (`redirect::Policy::none()`) for requests with effects.
///
/// Part of [`Verdict::of_chain`](crate::Verdict::of_chain).
pub fn of_reqwest(error: &(dyn Error + 'static)) -> Option<Verdict> {
    let error = error.downcast_ref::<::reqwest::Error>()?;
    if error.is_builder() {
        return Some(Verdict::permanent().with_effect(Effect::None));
    }
    if let Some(status) = error.status() {
        return Some(of_status(status, None));
    }
    if error.is_redirect() {
        return Some(Verdict::permanent());
    }
    // Before the timeout, which it may be as well.
    if error.is_connect() {
        return Some(unsent(error.source()));
    }
    if error.is_timeout() {
        return Some(Verdict::transient());
    }
    if error.is_decode() || error.is_upgrade() {
        // A connection that breaks in the midst of the answer is told as "cannot be decoded" too.
        return Some(match error.source().map(Verdict::of_chain) {
            Some(cause) if cause.kind != Kind::Unknown => cause.with_effect(Effect::Maybe),
            _ => Verdict::permanent(),
        });
    }
    None
}
