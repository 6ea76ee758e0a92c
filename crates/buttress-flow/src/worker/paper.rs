//! What workers write down of a workflow, and how it is read back.

use buttress::store::{MAX_PAYLOAD, Payload, StepId, WorkflowId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::WorkError;

/// The step under which the input of a workflow is recorded.
pub const INPUT: &str = "worker/input";
/// The step under which the result of a workflow is recorded, or why it failed.
pub const RESULT: &str = "worker/result";
/// The step under which the attempts at a workflow are counted.
pub const ATTEMPTS: &str = "worker/attempts";

/// The version of what is written here. The values of users are versioned by themselves.
const SCHEMA: u32 = 1;

pub(super) fn input() -> StepId {
    StepId::new(INPUT)
}

pub(super) fn result() -> StepId {
    StepId::new(RESULT)
}

pub(super) fn attempts() -> StepId {
    StepId::new(ATTEMPTS)
}

/// The attempts at a workflow, as counted in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempts {
    /// Whose they are: those at a workflow do not count for a copy of it.
    of: String,
    /// How many were begun.
    pub(super) begun: u32,
    /// How many of those do not count: the worker was shut down.
    pub(super) spared: u32,
    pub(super) phase: Phase,
    /// What the last failure said.
    pub(super) error: Option<String>,
}

/// What became of the last attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// It was begun. If nobody holds the workflow, its process died.
    #[default]
    Begun,
    /// It failed, and another will be made.
    Failed,
    /// Its worker was shut down.
    Interrupted,
}

/// What the worker is to do next about a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Make this attempt, after writing down that it is made.
    Attempt(u32, Attempts),
    /// Record it as failed, after so many attempts.
    GiveUp(u32, String),
}

impl Attempts {
    fn none(workflow: &WorkflowId) -> Self {
        Self { of: workflow.workflow.to_string(), ..Self::default() }
    }

    /// The attempts at a workflow, of which this was recorded.
    pub(super) fn at(workflow: &WorkflowId, recorded: Option<&Payload>) -> Result<Self, WorkError> {
        let recorded = recorded.map(|payload| read::<Self>("count of attempts", payload));
        let ours = |attempts: &Self| *attempts.of == *workflow.workflow;
        Ok(recorded.transpose()?.filter(ours).unwrap_or_else(|| Self::none(workflow)))
    }

    /// How many count.
    pub(super) const fn count(&self) -> u32 {
        self.begun.saturating_sub(self.spared)
    }

    /// Whether there is an attempt left.
    pub(super) fn next(&self, most: u32) -> Next {
        let made = self.count();
        if made >= most.max(1) {
            let message = match (&self.phase, &self.error) {
                (Phase::Failed, Some(error)) => error.clone(),
                (_, None) => "its workers died or lost their leases".to_owned(),
                (_, Some(error)) => {
                    format!("its worker died or lost its lease; the failure before that: {error}")
                }
            };
            return Next::GiveUp(made, message);
        }
        let begun =
            Self { begun: self.begun.saturating_add(1), phase: Phase::Begun, ..self.clone() };
        Next::Attempt(made + 1, begun)
    }

    pub(super) fn failed(self, error: String) -> Self {
        Self { phase: Phase::Failed, error: Some(error), ..self }
    }

    pub(super) fn interrupted(self) -> Self {
        Self { phase: Phase::Interrupted, spared: self.spared.saturating_add(1), ..self }
    }
}

/// Why a workflow failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) attempts: u32,
}

pub(super) fn write<T: Serialize + ?Sized>(
    what: &'static str,
    value: &T,
) -> Result<Payload, WorkError> {
    match serde_json::to_vec(value) {
        Ok(bytes) if bytes.len() > MAX_PAYLOAD => {
            let message =
                format!("it takes {} bytes, where {MAX_PAYLOAD} are allowed", bytes.len());
            Err(WorkError::Unwritable { what, message })
        }
        Ok(bytes) => Ok(Payload { codec: Payload::JSON, schema: SCHEMA, bytes }),
        Err(error) => Err(WorkError::Unwritable { what, message: error.to_string() }),
    }
}

pub(super) fn read<T: DeserializeOwned>(
    what: &'static str,
    payload: &Payload,
) -> Result<T, WorkError> {
    let found = (payload.codec, payload.schema);
    if found != (Payload::JSON, SCHEMA) {
        let message = format!("codec {} and schema {SCHEMA} are wanted", Payload::JSON);
        return Err(WorkError::Unreadable { what, found, message });
    }
    serde_json::from_slice(&payload.bytes).map_err(|error| WorkError::Unreadable {
        what,
        found,
        message: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_counted_until_none_is_left() {
        let Next::Attempt(1, first) = Attempts::default().next(2) else { panic!("the first") };
        // The process died: what is stored is that it was begun.
        let Next::Attempt(2, second) = first.next(2) else { panic!("the second") };
        assert_eq!(
            second.next(2),
            Next::GiveUp(2, "its workers died or lost their leases".to_owned())
        );
        assert_eq!(second.clone().failed("boom".into()).next(2), Next::GiveUp(2, "boom".into()));
        let Next::GiveUp(3, message) = ({
            let Next::Attempt(3, third) = second.failed("boom".into()).next(3) else { panic!() };
            third.next(3)
        }) else {
            panic!("none is left")
        };
        assert!(message.ends_with("before that: boom"), "{message}");
    }

    #[test]
    fn an_attempt_that_a_shutdown_cut_short_does_not_count() {
        let mut attempts = Attempts::default();
        for _ in 0..100 {
            let Next::Attempt(1, begun) = attempts.next(1) else { panic!("it is spared") };
            attempts = begun.interrupted();
        }
        assert_eq!((attempts.count(), attempts.begun), (0, 100));
    }

    #[test]
    fn no_attempts_is_one() {
        assert!(matches!(Attempts::default().next(0), Next::Attempt(1, _)));
    }

    #[test]
    fn what_another_release_wrote_is_told() {
        let payload = Payload { schema: 2, ..write("input", &7).unwrap() };
        let Err(WorkError::Unreadable { found, .. }) = read::<u32>("input", &payload) else {
            panic!("it is not to be read");
        };
        assert_eq!(found, (Payload::JSON, 2));
        assert_eq!(read("input", &write("input", &7).unwrap()), Ok(7));
        assert!(read::<String>("input", &write("input", &7).unwrap()).is_err());
    }
}
