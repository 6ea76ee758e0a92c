//! May this request be sent again, and how is it copied?

use std::fmt;

/// Whether a request may be sent more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repeat {
    /// Whatever became of the earlier attempt.
    Freely,
    /// Only if the earlier attempt provably had no effect.
    IfUnsent,
    /// Not at all: it is sent once and never copied.
    Never,
}

/// Says whether a request may be repeated, and copies it.
///
/// The default is [`ByClone`]. A closure that returns a copy, or `None` for requests that
/// must be sent once, is a replay rule too:
///
/// ```
/// use buttress::Replay;
///
/// let rule = |request: &String| (!request.starts_with("pay")).then(|| request.clone());
/// assert_eq!(rule.copy(&"pay 10".to_owned()), None);
/// assert_eq!(rule.copy(&"look up 10".to_owned()).as_deref(), Some("look up 10"));
/// ```
#[diagnostic::on_unimplemented(
    message = "a request of type `{Req}` cannot be sent twice",
    label = "`{Self}` cannot copy `{Req}`",
    note = "derive `Clone` for the request, or give the layer a rule with `.replay(..)`: a closure `|request| Option<copy>`, or `buttress::Once` to never repeat",
    note = "for `http::Request`, put `buttress::http::BufferBodyLayer` outside and use `.replay(buttress::http::Idempotent)`"
)]
pub trait Replay<Req> {
    /// Whether the request may be repeated, if it can be copied. Asked before [`copy`](Self::copy).
    fn repeat(&self, request: &Req) -> Repeat;

    /// Copies the request; `None` if it must be sent once.
    fn copy(&self, request: &Req) -> Option<Req>;
}

/// Copies by `Clone` and takes every request as repeatable: the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByClone;

impl<Req: Clone> Replay<Req> for ByClone {
    fn repeat(&self, _: &Req) -> Repeat {
        Repeat::Freely
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

/// Never repeats: for requests that cannot be copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Once;

impl<Req> Replay<Req> for Once {
    fn repeat(&self, _: &Req) -> Repeat {
        Repeat::Never
    }

    fn copy(&self, _: &Req) -> Option<Req> {
        None
    }
}

impl<F, Req> Replay<Req> for F
where
    F: Fn(&Req) -> Option<Req>,
{
    // Asking the closure here would make a copy only to drop it.
    fn repeat(&self, _: &Req) -> Repeat {
        Repeat::Freely
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        self(request)
    }
}

/// Copies by `Clone`; a predicate says which requests have effects and are repeated
/// only if the earlier attempt was provably not executed.
///
/// ```
/// use buttress::{EffectsIf, Repeat, Replay};
///
/// let rule = EffectsIf(|tool: &&str| tool.starts_with("send_"));
/// assert_eq!(rule.repeat(&"send_mail"), Repeat::IfUnsent);
/// assert_eq!(rule.repeat(&"search"), Repeat::Freely);
/// ```
#[derive(Clone, Copy)]
pub struct EffectsIf<F>(pub F);

impl<F> fmt::Debug for EffectsIf<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EffectsIf")
    }
}

impl<F, Req> Replay<Req> for EffectsIf<F>
where
    Req: Clone,
    F: Fn(&Req) -> bool,
{
    fn repeat(&self, request: &Req) -> Repeat {
        if (self.0)(request) { Repeat::IfUnsent } else { Repeat::Freely }
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}
