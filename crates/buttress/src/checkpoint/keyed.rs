//! Requests that know which step they are.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use serde::Serialize;
use serde_json::Value;

use crate::store::{Digest, IdempotencyKey, StepId};

/// A request that knows which step of which workflow it is.
///
/// Implement it for your request, or wrap that in a [`Step`].
#[diagnostic::on_unimplemented(
    message = "a request of type `{Self}` does not say which step it is",
    label = "`{Self}` is not `Keyed`",
    note = "wrap the request: `buttress::checkpoint::Step::new(workflow, step, request)`, or implement `buttress::checkpoint::Keyed` for it"
)]
pub trait Keyed {
    /// Which step of which workflow it is.
    fn step(&self) -> Result<StepOf, Unkeyed>;

    /// A digest of what is asked, without anything that differs from one time to the next (a date, a
    /// trace). A step that was recorded for another is refused.
    fn fingerprint(&self) -> Result<Digest, Unkeyed>;

    /// Puts the key where the inner service sends it along, such as the header `Idempotency-Key`.
    fn place(&mut self, key: IdempotencyKey);
}

/// A step of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StepOf {
    /// The workflow, in the namespace of the journal.
    pub workflow: Arc<str>,
    /// The step: a name that stays when the program changes, and which time it is done.
    pub step: StepId,
}

impl StepOf {
    /// A step of a workflow.
    pub fn new(workflow: impl Into<Arc<str>>, step: impl Into<StepId>) -> Self {
        Self { workflow: workflow.into(), step: step.into() }
    }
}

/// Why a request cannot be told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unkeyed(Cow<'static, str>);

impl Unkeyed {
    /// Says what is missing and what to do.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Unkeyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Unkeyed {}

/// A request together with the step that it is.
///
/// The inner service gets it with the [key](Self::key) in place.
///
/// ```
/// use buttress::checkpoint::{Keyed, Step, StepOf};
///
/// let step = Step::new("order-17", "charge", serde_json::json!({"cents": 1200}));
/// assert_eq!(step.step(), Ok(StepOf::new("order-17", "charge")));
/// assert_eq!(step.fingerprint(), Step::new("x", "y", serde_json::json!({"cents": 1200})).fingerprint());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<R> {
    /// The workflow.
    pub workflow: Arc<str>,
    /// The step.
    pub step: StepId,
    /// What is asked.
    pub request: R,
    /// What a tool needs to recognise that it was asked before: in place when the inner service is called.
    pub key: Option<IdempotencyKey>,
}

impl<R> Step<R> {
    /// A request as a step of a workflow.
    pub fn new(workflow: impl Into<Arc<str>>, step: impl Into<StepId>, request: R) -> Self {
        Self { workflow: workflow.into(), step: step.into(), request, key: None }
    }

    /// The request alone.
    pub fn into_request(self) -> R {
        self.request
    }
}

impl<R: Serialize> Keyed for Step<R> {
    fn step(&self) -> Result<StepOf, Unkeyed> {
        Ok(StepOf { workflow: self.workflow.clone(), step: self.step.clone() })
    }

    /// The [fingerprint](fingerprint()) of the request.
    fn fingerprint(&self) -> Result<Digest, Unkeyed> {
        Ok(fingerprint(&self.request))
    }

    fn place(&mut self, key: IdempotencyKey) {
        self.key = Some(key);
    }
}

/// A digest of a value that does not depend on the order in which maps happen to be.
///
/// Made of its JSON with the keys of all maps sorted. (The order of a `HashSet` cannot be mended: it
/// is a list in JSON. Use a `BTreeSet`. The same goes for maps beside integers of more than 64 bits.)
/// What cannot be put into JSON has the digest of its error.
pub fn fingerprint<T: Serialize + ?Sized>(value: &T) -> Digest {
    let mut bytes = Vec::new();
    match serde_json::to_value(value) {
        Ok(value) => canonical(&value, &mut bytes),
        // A `Value` has no room for some numbers that JSON has.
        Err(_) => match serde_json::to_vec(value) {
            Ok(json) => bytes = json,
            Err(error) => bytes.extend_from_slice(error.to_string().as_bytes()),
        },
    }
    Digest::of(&bytes)
}

fn canonical(value: &Value, into: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            into.push(b'[');
            for item in items {
                canonical(item, into);
                into.push(b',');
            }
            into.push(b']');
        }
        // Sorted here, since another crate may have maps keep the order of insertion.
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(name, _)| *name);
            into.push(b'{');
            for (name, item) in entries {
                into.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
                into.push(b':');
                canonical(item, into);
                into.push(b',');
            }
            into.push(b'}');
        }
        simple => into.extend_from_slice(simple.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn the_order_of_a_map_does_not_count() {
        let one: HashMap<_, _> = (0..50).map(|n| (format!("k{n}"), n)).collect();
        let other: HashMap<_, _> = (0..50).rev().map(|n| (format!("k{n}"), n)).collect();
        assert_eq!(fingerprint(&one), fingerprint(&other));
    }

    #[test]
    fn different_values_differ() {
        let values = [
            serde_json::json!([[1], 2]),
            serde_json::json!([[1, 2]]),
            serde_json::json!({"a": 1}),
            serde_json::json!(["a", 1]),
            serde_json::json!("a"),
            serde_json::json!(null),
            serde_json::json!({"a": "1"}),
        ];
        for (n, one) in values.iter().enumerate() {
            for other in &values[n + 1..] {
                assert_ne!(fingerprint(one), fingerprint(other), "{one} {other}");
            }
        }
        assert_ne!(fingerprint(&u128::MAX), fingerprint(&(u128::MAX - 1)));
        assert_ne!(fingerprint(&i128::MIN), fingerprint(&u128::MAX));
    }
}
