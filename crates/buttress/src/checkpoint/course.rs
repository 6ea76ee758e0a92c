//! What is done about what the store says of a step, and what is kept of an outcome: pure.

use std::time::Duration;

use super::{Halt, InDoubt, Landing};
use crate::{
    Effect, Kind, Resolution, Verdict,
    store::{Begun, IdempotencyKey, Sealed, StepId, StoreError, Ticket},
};

/// What is done about what the store says of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// It is done now.
    Call(Ticket),
    /// What was recorded is the answer.
    Answer(Sealed),
    /// It was begun, and nobody is at it.
    Doubt(Doubt),
    /// Another process is at it, or at another step of the workflow.
    Wait { retry_after: Duration, halt: Halt },
    /// It cannot be done.
    Stop(Halt),
}

/// A step that was begun and whose outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// The version of its intent, or of its damaged outcome.
    pub(super) version: u64,
    /// The attempt, 0 if its record is damaged.
    pub(super) attempt: u32,
    pub(super) key: IdempotencyKey,
    /// By which whoever wrote the intent knows it.
    pub(super) mark: Option<u64>,
}

pub(super) fn course(begun: Result<Begun, StoreError>, step: &StepId) -> Course {
    match begun {
        Ok(Begun::Fresh(ticket)) => Course::Call(ticket),
        Ok(Begun::Completed { record } | Begun::Failed { record }) => Course::Answer(record),
        Ok(Begun::Pending { record, key }) => {
            let (version, attempt, mark) = (record.version, record.attempt, record.mark());
            Course::Doubt(Doubt { version, attempt, key, mark })
        }
        Ok(Begun::Damaged { version, key, .. }) => {
            Course::Doubt(Doubt { version, attempt: 0, key, mark: None })
        }
        Ok(Begun::Mismatch { .. }) => Course::Stop(Halt::Mismatch { step: step.clone() }),
        Err(StoreError::Held { owner, retry_after, .. }) => {
            Course::Wait { retry_after, halt: Halt::Held { owner, retry_after } }
        }
        Err(error) => Course::Stop(Halt::Store(error)),
    }
}

/// What is done about a step in doubt, in the light of what the world said if it was asked.
pub(super) fn resolve<Res>(rule: InDoubt, world: Option<&Landing<Res>>) -> Resolution {
    match (world, rule) {
        (Some(Landing::Landed(_)), _) => Resolution::Landed,
        (Some(Landing::Absent), _) => Resolution::Absent,
        (Some(Landing::Unknown) | None, InDoubt::Retry) => Resolution::Retry,
        (Some(Landing::Unknown) | None, InDoubt::Fail) => Resolution::Fail,
    }
}

/// What is kept of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// The response: the step is done.
    Result,
    /// That it failed for good.
    Failure,
    /// That nothing came of the intent.
    Withdrawal,
    /// Nothing: an intent stays in doubt.
    Nothing,
}

/// What is kept of an outcome of this verdict.
///
/// `failures`: whether failures are kept. `sole`: whether there is an intent, and it is all that
/// speaks for the step having been done: an earlier attempt in doubt stays so whatever became of this one.
pub(super) fn keep(verdict: Verdict, failures: bool, sole: bool) -> Keep {
    match (verdict.kind, verdict.effect) {
        (Kind::Success, _) => Keep::Result,
        (Kind::Permanent, _) if failures => Keep::Failure,
        (_, Effect::None) if sole => Keep::Withdrawal,
        _ => Keep::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::WorkflowId;

    #[test]
    fn doubt_is_resolved_by_the_world_and_else_as_declared() {
        use Resolution::{Absent, Fail, Landed, Retry};
        let table: [(Option<Landing<u8>>, Resolution, Resolution); 4] = [
            (None, Retry, Fail),
            (Some(Landing::Unknown), Retry, Fail),
            (Some(Landing::Absent), Absent, Absent),
            (Some(Landing::Landed(1)), Landed, Landed),
        ];
        for (world, retry, fail) in table {
            assert_eq!(resolve(InDoubt::Retry, world.as_ref()), retry, "{world:?}");
            assert_eq!(resolve(InDoubt::Fail, world.as_ref()), fail, "{world:?}");
        }
    }

    #[test]
    fn only_what_is_certain_is_kept() {
        use Keep::{Failure, Nothing, Result, Withdrawal};
        let unsent = |verdict: Verdict| verdict.with_effect(Effect::None);
        // (failures, sole): (no, no), (no, yes), (yes, no), (yes, yes)
        let table = [
            (Verdict::success(), [Result; 4]),
            (Verdict::permanent(), [Nothing, Nothing, Failure, Failure]),
            (unsent(Verdict::permanent()), [Nothing, Withdrawal, Failure, Failure]),
            (Verdict::transient(), [Nothing; 4]),
            (unsent(Verdict::transient()), [Nothing, Withdrawal, Nothing, Withdrawal]),
            (Verdict::unknown(), [Nothing; 4]),
            (Verdict::throttled(), [Nothing, Withdrawal, Nothing, Withdrawal]),
            (Verdict::reroute(), [Nothing, Withdrawal, Nothing, Withdrawal]),
            (Verdict::rejected(), [Nothing, Withdrawal, Nothing, Withdrawal]),
            (Verdict::rejected().with_effect(Effect::Applied), [Nothing; 4]),
        ];
        for (verdict, kept) in table {
            let cases = [(false, false), (false, true), (true, false), (true, true)];
            for ((failures, sole), kept) in cases.into_iter().zip(kept) {
                assert_eq!(keep(verdict, failures, sole), kept, "{verdict:?} {failures} {sole}");
            }
        }
    }

    #[test]
    fn one_who_is_held_off_may_wait_and_others_stop() {
        let step = StepId::new("s");
        let workflow = WorkflowId::new("a", "b");
        let (owner, retry_after) = ("other".into(), Duration::from_secs(3));
        let held = Err(StoreError::Held { workflow: workflow.clone(), owner, retry_after });
        let halt = Halt::Held { owner: "other".into(), retry_after };
        assert_eq!(course(held, &step), Course::Wait { retry_after, halt });
        let fenced = StoreError::Fenced { workflow, epoch: 4 };
        assert_eq!(course(Err(fenced.clone()), &step), Course::Stop(Halt::Store(fenced)));
    }
}
