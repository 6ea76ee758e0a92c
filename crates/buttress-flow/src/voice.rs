//! How sagas and transactions tell what happens.

use std::{fmt, sync::Arc};

use buttress::{Event, Observe, Teller, Tracing};

/// Who listens, and to what.
#[derive(Clone)]
pub(crate) struct Voice {
    pattern: &'static str,
    observe: Option<Arc<dyn Observe>>,
}

impl Voice {
    pub(crate) const fn new(pattern: &'static str) -> Self {
        Self { pattern, observe: None }
    }

    pub(crate) fn set(&mut self, observe: impl Observe + 'static) {
        self.observe = Some(Arc::new(observe));
    }

    pub(crate) fn observer(&self) -> Option<Arc<dyn Observe>> {
        self.observe.clone()
    }

    /// Tells something of a step or a participant, in a workflow.
    pub(crate) fn tell(&self, name: &str, workflow: &str, event: Event) {
        let teller = Teller { pattern: self.pattern, name, workflow };
        match &self.observe {
            Some(observe) => observe.event(teller, &event),
            None => Tracing.event(teller, &event),
        }
    }
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.pattern)
    }
}
