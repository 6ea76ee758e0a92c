use std::{fmt, time::Duration};

use buttress::Name;

use crate::Fate;

/// The end of one call of a tool.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Outcome<'a> {
    /// The name of the tool, empty if it has none.
    pub tool: &'a Name,
    /// The number of the call, from 1.
    pub call: u64,
    /// The id of the instance that served it.
    pub instance: u64,
    /// What was decided about it when it was made, with exact times.
    pub fate: Fate,
    /// How it ended.
    pub ended: Ended,
    /// How long it ran, from its first poll, by tokio's clock (whose timers round up to 1 ms).
    pub ran: Duration,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// With an answer, right or wrong.
    Answered,
    /// With an error.
    Failed,
    /// Its future was dropped before it had ended.
    Cancelled,
}

impl Ended {
    /// The name in lower case, as it appears in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ended::Answered => "answered",
            Ended::Failed => "failed",
            Ended::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Listens to the ends of calls.
///
/// Called on the path of the call and from the drop of its future: be quick. Closures listen too.
pub trait OnOutcome: Send + Sync {
    /// Takes note of the end of a call.
    fn outcome(&self, outcome: &Outcome<'_>);
}

impl<F: Fn(&Outcome<'_>) + Send + Sync> OnOutcome for F {
    fn outcome(&self, outcome: &Outcome<'_>) {
        self(outcome);
    }
}

/// Writes the end of a call to `tracing`.
pub(super) fn trace(outcome: &Outcome<'_>) {
    tracing::debug!(
        target: "buttress_sim",
        pattern = "tool",
        name = outcome.tool.as_str(),
        call = outcome.call,
        instance = outcome.instance,
        fate = outcome.fate.as_str(),
        ended = outcome.ended.as_str(),
        seconds = outcome.ran.as_secs_f64(),
    );
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span,
    };

    use super::*;

    type Fields = BTreeMap<&'static str, String>;

    /// Keeps the fields of events of this crate.
    struct Keep(Arc<Mutex<Vec<Fields>>>);

    struct Reader(Fields);

    impl Visit for Reader {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0.insert(field.name(), format!("{value:?}"));
        }
    }

    impl Subscriber for Keep {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "buttress_sim"
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut reader = Reader(Fields::new());
            event.record(&mut reader);
            self.0.lock().expect("no test panics here").push(reader.0);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn an_outcome_is_one_event_with_fields() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        tracing::subscriber::with_default(Keep(kept.clone()), || {
            trace(&Outcome {
                tool: &Name::new("search"),
                call: 3,
                instance: 8871,
                fate: Fate::Pass { takes: Duration::from_millis(930) },
                ended: Ended::Cancelled,
                ran: Duration::from_millis(500),
            });
        });
        let expected = [
            ("pattern", "\"tool\""),
            ("name", "\"search\""),
            ("call", "3"),
            ("instance", "8871"),
            ("fate", "\"pass\""),
            ("ended", "\"cancelled\""),
            ("seconds", "0.5"),
        ];
        let expected: Fields =
            expected.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        assert_eq!(*kept.lock().expect("no test panics here"), [expected]);
    }
}
