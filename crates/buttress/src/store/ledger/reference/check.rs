//! What is kept, held to what should be.

use std::collections::BTreeMap;

use super::{
    FLOWS,
    lines::{Flow, Line, Rot},
    machine::{Machine, id, payload, step},
};
use crate::store::{
    Damage, Digest, Finding, Head, Life, Payload, Record, Sealed, Status, StoreError,
};

impl Machine {
    /// What is stored of a workflow; `None` for what cannot be opened.
    pub(super) fn stored(&self, flow: usize) -> Result<BTreeMap<u64, Option<Sealed>>, String> {
        let kept = self.kept.workflows.get(&id(flow)).ok_or("it is gone")?;
        let open =
            |(at, bytes): (&u64, &Vec<u8>)| (*at, Record::open_at(bytes, &id(flow), *at).ok());
        Ok(kept.records.iter().map(open).collect())
    }

    /// Holds what is kept to what should be.
    pub(super) fn check(&self) -> Result<(), String> {
        for at in 0..FLOWS {
            match (&self.naive.flows[at], self.kept.workflows.get(&id(at))) {
                (None, None) => {}
                (Some(flow), Some(kept)) => {
                    let head = &kept.head;
                    let found = (head.life, head.born, head.epoch);
                    if found != (flow.life, flow.born, flow.epoch) {
                        return Err(format!("the head says {found:?} of {flow:?}"));
                    }
                    if Head::open(&head.seal()).as_ref() != Ok(head) {
                        return Err(format!("the head cannot be read back: {head:?}"));
                    }
                    if flow.life == Life::Deleted {
                        if !kept.records.is_empty() {
                            return Err("records are left of what was deleted".into());
                        }
                        let audit = self.kept.verify(&id(at)).map_err(|error| error.to_string())?;
                        if !audit.findings.is_empty() {
                            return Err(format!("of what was deleted is told {audit:?}"));
                        }
                    } else {
                        self.check_flow(at, flow, head)?;
                    }
                }
                (expected, found) => {
                    let (expected, found) = (expected.is_some(), found.is_some());
                    return Err(format!("{at} is there: {found}, and should be: {expected}"));
                }
            }
        }
        Ok(())
    }

    fn check_flow(&self, at: usize, flow: &Flow, head: &Head) -> Result<(), String> {
        let stored = self.stored(at)?;
        let versions: Vec<u64> = stored.keys().copied().collect();
        let expected: Vec<u64> = (1..=flow.latest()).filter(|at| flow.stored(*at)).collect();
        if (head.latest, head.floor) != (flow.latest(), flow.floor) || versions != expected {
            return Err(format!("{versions:?} are kept, where {expected:?} should be"));
        }
        for (version, sealed) in &stored {
            let line = flow.line(*version);
            match (sealed, line.rot) {
                (Some(sealed), None) => same_line(sealed, line)?,
                (None, Some(Rot::Flipped)) => {}
                _ => return Err(format!("version {version} is {sealed:?}, of {line:?}")),
            }
        }
        let (pending, in_doubt) = (head.pending as usize, flow.in_doubt());
        if pending != in_doubt {
            return Err(format!("{pending} steps are counted in doubt, {in_doubt} are"));
        }
        // What rotted is found, and the chain of all else is whole.
        let damaged: Vec<u64> = (1..=flow.latest())
            .filter(|version| match flow.line(*version).rot {
                None => false,
                Some(Rot::Flipped) => true,
                Some(Rot::Lost) => flow.kept(*version),
            })
            .collect();
        let audit = self.kept.verify(&id(at)).map_err(|error| error.to_string())?;
        let found: Vec<u64> = audit.findings.iter().map(|finding| finding.version).collect();
        if found != damaged {
            return Err(format!("{:?} was found, where {damaged:?} rotted", audit.findings));
        }
        // One after the other: to ask for all of them each time takes longer than all else.
        let of = [None, Some(0), Some(1), Some(2)][self.values as usize % 4];
        self.check_latest(at, flow, of)
    }

    fn check_latest(&self, at: usize, flow: &Flow, of: Option<usize>) -> Result<(), String> {
        let of_step = |version: &u64| of.is_none_or(|step| flow.line(*version).step == step);
        let newest = (1..=flow.latest()).rev().find(of_step);
        let intact = |version: &u64| {
            of_step(version) && flow.line(*version).rot.is_none() && flow.stored(*version)
        };
        let expected = (1..=flow.latest()).rev().find(intact);
        let found = self.kept.latest(&id(at), of.map(step).as_ref());
        match (found, newest, expected) {
            (Ok(None), None, _) | (Err(StoreError::Corrupt { .. }), Some(_), None) => Ok(()),
            (Ok(Some(found)), Some(newest), Some(expected))
                if (found.newest, found.record.version) == (newest, expected) =>
            {
                let told = |version: &u64| match flow.line(*version).rot {
                    Some(Rot::Flipped) => {
                        Some(Finding { version: *version, damage: Damage::Digest })
                    }
                    Some(Rot::Lost) if *version == newest => {
                        Some(Finding { version: *version, damage: Damage::Missing })
                    }
                    _ => None,
                };
                let skipped: Vec<Finding> =
                    (expected + 1..=newest).rev().filter_map(|version| told(&version)).collect();
                if found.skipped == skipped {
                    return Ok(());
                }
                Err(format!("{:?} were skipped, where {skipped:?} rotted", found.skipped))
            }
            (found, newest, expected) => Err(format!(
                "the newest of {of:?} is {expected:?} of {newest:?}, and not {found:?}"
            )),
        }
    }
}

pub(super) fn same_line(sealed: &Sealed, line: &Line) -> Result<(), String> {
    let value = match line.status {
        Status::Intent => Payload::default(),
        _ => payload(line.value),
    };
    let fingerprint = Digest::of(&[line.request]);
    let found = (&*sealed.step.name, sealed.status, sealed.attempt, sealed.parent, sealed.epoch);
    let name = line.step.to_string();
    let expected = (name.as_str(), line.status, line.attempt, line.parent, line.epoch);
    if found == expected && sealed.payload == value && sealed.fingerprint == fingerprint {
        return Ok(());
    }
    Err(format!("version {} is {sealed:?}, where {line:?} was written", sealed.version))
}
