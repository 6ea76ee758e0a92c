//! What a stack is made of, as a list that can be printed and checked.
//!
//! `tower`'s stacks do not show what is in them, but they are put together by calls of
//! `Layer::layer`, from the inside out: a layer that is put around something while an outline is
//! taken in the same thread adds itself to it.

use std::{cell::RefCell, fmt, time::Duration};

use tower_layer::Layer;

use super::order::{self, Disorder};
use crate::event::{Pattern, Voice};

/// The layers of this crate in a stack, outermost first.
///
/// Prints as a numbered list, a line each.
#[derive(Clone, Debug, Default)]
pub struct Parts(Vec<Part>);

/// One layer of a stack.
#[derive(Clone, Debug)]
pub struct Part {
    pattern: Pattern,
    title: String,
    detail: String,
    limit: Option<Duration>,
    /// Whether it is there so that something happens once.
    effect: bool,
    /// Whether that goes on when the call is dropped.
    detached: bool,
}

impl Part {
    pub(super) fn new(pattern: Pattern, name: Option<&str>, detail: String) -> Self {
        let title = match name {
            Some(name) => format!("{} `{name}`", pattern.as_str()),
            None => pattern.as_str().to_owned(),
        };
        Self { pattern, title, detail, limit: None, effect: false, detached: false }
    }

    pub(super) fn within(self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self }
    }

    #[cfg(any(test, feature = "serde"))]
    pub(super) fn with_effect(self, effect: bool, detached: bool) -> Self {
        Self { effect, detached, ..self }
    }

    /// What it is called: the pattern, with the name of the layer if it has one.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Its settings, in words.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The time that it allows a call to take, if that is what it is for.
    pub const fn limit(&self) -> Option<Duration> {
        self.limit
    }

    pub(super) const fn pattern(&self) -> Pattern {
        self.pattern
    }

    pub(super) const fn effect(&self) -> bool {
        self.effect
    }

    pub(super) const fn detached(&self) -> bool {
        self.detached
    }
}

impl Parts {
    /// Each part in turn.
    pub fn iter(&self) -> std::slice::Iter<'_, Part> {
        self.0.iter()
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Looks for pairs of layers whose order does harm.
    ///
    /// It knows the order, not the purpose: what it finds is worth a second look, and a stack
    /// that is meant so need not be checked.
    ///
    /// # Errors
    /// Every pair found, with what it does and what to do about it.
    pub fn check(&self) -> Result<(), Disorder> {
        order::check(&self.0)
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.iter().map(|part| part.title.chars().count()).max().unwrap_or(0);
        for (place, Part { title, detail, .. }) in self.iter().enumerate() {
            writeln!(f, "{}. {title:width$}  {detail}", place + 1)?;
        }
        Ok(())
    }
}

impl<'a> IntoIterator for &'a Parts {
    type Item = &'a Part;
    type IntoIter = std::slice::Iter<'a, Part>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Puts `layer` around `inner`, and says which layers of this crate were put there, the outermost
/// first.
///
/// Layers of others do their work and are not listed.
pub fn outline<S, L: Layer<S> + ?Sized>(layer: &L, inner: S) -> (L::Service, Parts) {
    /// Puts back what an outline around this one had, also when a layer panics.
    struct Restore(Option<Vec<Part>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            OPEN.set(self.0.take());
        }
    }
    let _restore = Restore(OPEN.replace(Some(Vec::new())));
    let service = layer.layer(inner);
    let mut parts = OPEN.take().unwrap_or_default();
    // They were put around each other from the inside out.
    parts.reverse();
    (service, Parts(parts))
}

thread_local! {
    /// The outline that is being taken in this thread.
    static OPEN: RefCell<Option<Vec<Part>>> = const { RefCell::new(None) };
}

/// Adds a layer to the outline that is being taken, if one is.
pub(crate) fn note(voice: &Voice, detail: impl FnOnce() -> String) {
    add(voice, detail, |part| part);
}

/// Adds a layer that limits the time of a call.
pub(crate) fn note_limit(voice: &Voice, limit: Duration, detail: impl FnOnce() -> String) {
    add(voice, detail, |part| part.within(limit));
}

/// Adds a layer that does something once, if that has an `effect`, and whether it goes on when dropped.
#[cfg(feature = "serde")]
pub(crate) fn note_effect(
    voice: &Voice,
    (effect, detached): (bool, bool),
    detail: impl FnOnce() -> String,
) {
    add(voice, detail, |part| part.with_effect(effect, detached));
}

fn add(voice: &Voice, detail: impl FnOnce() -> String, with: impl FnOnce(Part) -> Part) {
    if OPEN.with_borrow(Option::is_none) {
        return;
    }
    let part = with(Part::new(voice.pattern(), voice.given_name(), detail()));
    OPEN.with_borrow_mut(|open| open.get_or_insert_default().push(part));
}
