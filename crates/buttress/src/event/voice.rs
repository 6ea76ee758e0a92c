//! How a layer tells.

use std::{fmt, sync::Arc};

use super::{Event, Observe, Teller, Tracing};
use crate::Name;

/// The pattern that a layer follows, in the space of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Breaker,
    #[cfg_attr(not(feature = "serde"), allow(dead_code, reason = "its layer needs the feature"))]
    Checkpoint,
    Degrade,
    Failover,
    Fallback,
    Hedge,
    #[cfg(feature = "serde")]
    Leader,
    Limit,
    Quorum,
    Retry,
    Timeout,
}

impl Pattern {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::Checkpoint => "checkpoint",
            Self::Degrade => "degrade",
            Self::Failover => "failover",
            Self::Fallback => "fallback",
            Self::Hedge => "hedge",
            #[cfg(feature = "serde")]
            Self::Leader => "leader",
            Self::Limit => "limit",
            Self::Quorum => "quorum",
            Self::Retry => "retry",
            Self::Timeout => "timeout",
        }
    }
}

/// A layer's end of the line: its name and who listens.
///
/// Futures carry it, so what is seldom set is behind a pointer that is null until then.
#[derive(Clone)]
pub(crate) struct Voice {
    pattern: Pattern,
    own: Option<Arc<Own>>,
}

#[derive(Clone)]
struct Own {
    name: Name,
    observe: Option<Arc<dyn Observe>>,
}

impl Voice {
    pub(crate) const fn new(pattern: Pattern) -> Self {
        Self { pattern, own: None }
    }

    pub(crate) fn set_name(&mut self, name: Name) {
        self.own_mut().name = name;
    }

    pub(crate) fn set_observe(&mut self, observe: impl Observe + 'static) {
        self.own_mut().observe = Some(Arc::new(observe));
    }

    fn own_mut(&mut self) -> &mut Own {
        let own =
            self.own.get_or_insert_with(|| Arc::new(Own { name: Name::new(""), observe: None }));
        Arc::make_mut(own)
    }

    pub(crate) const fn pattern(&self) -> Pattern {
        self.pattern
    }

    /// The name that the layer was given.
    pub(crate) fn given_name(&self) -> Option<&str> {
        self.own.as_ref().map(|own| own.name.as_str()).filter(|name| !name.is_empty())
    }

    /// The name of the layer, or that of its pattern if it has none.
    pub(crate) fn name(&self) -> Name {
        match &self.own {
            Some(own) if !own.name.as_str().is_empty() => own.name.clone(),
            _ => Name::new(self.pattern.as_str()),
        }
    }

    #[cold]
    pub(crate) fn tell(&self, event: Event) {
        self.tell_of("", event);
    }

    /// Tells something of a workflow.
    #[cold]
    pub(crate) fn tell_of(&self, workflow: &str, event: Event) {
        let pattern = self.pattern.as_str();
        let Some(own) = &self.own else {
            return Tracing.event(Teller { pattern, name: "", workflow }, &event);
        };
        let teller = Teller { pattern, name: own.name.as_str(), workflow };
        match &own.observe {
            Some(observe) => observe.event(teller, &event),
            None => Tracing.event(teller, &event),
        }
    }
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.name(), f)
    }
}
