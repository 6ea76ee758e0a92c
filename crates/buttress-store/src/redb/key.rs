//! Keys of rows: bytes that sort as the names and numbers in them do.
//!
//! Plain bytes and not redb's texts and tuples: those panic when they read back what is no text, and
//! a disk may return anything.

use buttress::store::{StepId, WorkflowId};

/// Ends a name: sorts before all that may go on, a zero in the name included.
const END: [u8; 2] = [0, 1];
/// A zero within a name.
const ZERO: [u8; 2] = [0, 0xff];

pub(super) fn namespace(namespace: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(namespace.len() + 2);
    push(&mut key, namespace);
    key
}

pub(super) fn workflow(id: &WorkflowId) -> Vec<u8> {
    // Room for what follows in the key of a record.
    let mut key = Vec::with_capacity(id.namespace.len() + id.workflow.len() + 12);
    push(&mut key, &id.namespace);
    push(&mut key, &id.workflow);
    key
}

pub(super) fn record(mut workflow: Vec<u8>, version: u64) -> Vec<u8> {
    workflow.extend_from_slice(&version.to_be_bytes());
    workflow
}

pub(super) fn step(mut workflow: Vec<u8>, step: &StepId) -> Vec<u8> {
    push(&mut workflow, &step.name);
    workflow.extend_from_slice(&step.occurrence.to_be_bytes());
    workflow
}

/// The first key after all that begin with this one.
pub(super) fn after(mut prefix: Vec<u8>) -> Vec<u8> {
    prefix.push(0xff);
    prefix
}

fn push(key: &mut Vec<u8>, name: &str) {
    for byte in name.bytes() {
        match byte {
            0 => key.extend_from_slice(&ZERO),
            _ => key.push(byte),
        }
    }
    key.extend_from_slice(&END);
}

/// The workflow at the beginning of a key, and what follows.
pub(super) fn split(key: &[u8]) -> Option<(WorkflowId, &[u8])> {
    let (namespace, rest) = pop(key)?;
    let (workflow, rest) = pop(rest)?;
    Some((WorkflowId::new(namespace, workflow), rest))
}

/// The version in the key of a record.
pub(super) fn version(key: &[u8], workflow: &[u8]) -> Option<u64> {
    let number = key.strip_prefix(workflow)?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

/// The step in what follows the workflow.
pub(super) fn split_step(rest: &[u8]) -> Option<StepId> {
    let (name, rest) = pop(rest)?;
    Some(StepId::new(name).occurrence(u32::from_be_bytes(rest.try_into().ok()?)))
}

fn pop(key: &[u8]) -> Option<(String, &[u8])> {
    let mut name = Vec::new();
    let mut rest = key;
    loop {
        let zero = rest.iter().position(|byte| *byte == 0)?;
        let (part, tail) = rest.split_at_checked(zero)?;
        name.extend_from_slice(part);
        let (mark, tail) = tail.split_first_chunk::<2>()?;
        rest = tail;
        match *mark {
            ZERO => name.push(0),
            END => return Some((String::from_utf8(name).ok()?, rest)),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "[\\x00-\\x01a\u{ff}]{0,4}"]
    }

    fn ids() -> impl Strategy<Value = WorkflowId> {
        (names(), names()).prop_map(|(namespace, name)| WorkflowId::new(namespace, name))
    }

    proptest! {
        #[test]
        fn keys_sort_as_names_do(a in ids(), b in ids()) {
            prop_assert_eq!(workflow(&a).cmp(&workflow(&b)), a.cmp(&b));
        }

        #[test]
        fn keys_of_steps_sort_within_their_workflow(a in ids(), b in ids(), x in names(), n in any::<u32>()) {
            let key = step(workflow(&a), &StepId::new(x.as_str()).occurrence(n));
            prop_assert!(key > workflow(&a) && key < after(workflow(&a)));
            let inside = (workflow(&b)..after(workflow(&b))).contains(&key);
            prop_assert_eq!(inside, a == b);
        }

        #[test]
        fn a_key_is_taken_apart(id in ids(), name in names(), number in any::<u64>(), n in any::<u32>()) {
            let prefix = workflow(&id);
            prop_assert_eq!(version(&record(prefix.clone(), number), &prefix), Some(number));
            let at = StepId::new(name.as_str()).occurrence(n);
            let key = step(prefix, &at);
            let (found, rest) = split(&key).expect("a key of ours");
            prop_assert_eq!(found, id);
            prop_assert_eq!(split_step(rest), Some(at));
        }

        #[test]
        fn noise_is_refused_quietly(noise in any::<Vec<u8>>()) {
            if let Some((_, rest)) = split(&noise) {
                let _ = split_step(rest);
            }
        }
    }
}
