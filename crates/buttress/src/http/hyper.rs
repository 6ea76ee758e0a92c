//! What hyper's errors mean.

use std::error::Error;

use ::hyper::Error as HyperError;
use hyper_util::client::legacy::Error as ClientError;

use super::unsent;
use crate::{Effect, Kind, Verdict};

/// Judges an error of hyper or of hyper-util's client; `None` if it is neither, or if its source
/// knows better.
///
/// | error | verdict | effect |
/// |---|---|---|
/// | no connection was made | as its cause says, else transient | none |
/// | cancelled or closed before the request was begun | transient | none |
/// | the client does not accept the request | permanent | none |
/// | the request's body, or other code of the caller's, failed | permanent | maybe |
/// | the connection ended, timed out or spoke nonsense | transient | maybe |
/// | another failure of a connection | as its cause says, else transient | maybe |
///
/// An HTTP/2 stream that the server refused to begin cannot be told from one that it broke off, and
/// counts as the latter.
///
/// Part of [`Verdict::of_chain`](crate::Verdict::of_chain).
pub fn of_hyper(error: &(dyn Error + 'static)) -> Option<Verdict> {
    if let Some(error) = error.downcast_ref::<HyperError>() {
        return Some(of_connection(error));
    }
    let error = error.downcast_ref::<ClientError>()?;
    if error.is_connect() {
        return Some(unsent(error.source()));
    }
    match error.source() {
        Some(_) => None,
        // Unsupported versions and methods, and relative URIs, are found out before anything is
        // sent, and have no cause.
        None => Some(Verdict::permanent().with_effect(Effect::None)),
    }
}

/// Judges an error of a connection that had been made.
fn of_connection(error: &HyperError) -> Verdict {
    // hyper keeps "cancelled" for requests that never reached the wire, and "closed" for
    // connections that ended before they accepted one.
    if error.is_canceled() || error.is_closed() {
        return Verdict::transient().with_effect(Effect::None);
    }
    if error.is_user() {
        return Verdict::permanent();
    }
    if error.is_incomplete_message() || error.is_timeout() || error.is_parse() {
        return Verdict::transient();
    }
    match error.source().map(Verdict::of_chain) {
        // An I/O error such as "host unreachable" tells of a request that was not sent only where
        // it befalls a connect; here it may have come after the request had left.
        Some(cause) if cause.kind != Kind::Unknown => cause.with_effect(Effect::Maybe),
        _ => Verdict::transient(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_left_to_others() {
        let io = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(of_hyper(&io), None);
    }
}
