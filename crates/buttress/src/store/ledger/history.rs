//! What is made of a whole history: a copy, the newest of it, a look through it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        Audit, Damage, Digest, Entry, Fence, Finding, Found, Head, Now, Record, Sealed, Status,
        StepId, StoreError, WorkflowId,
    },
    Draft, Written, alive, check_names, write,
};

/// The copy of a workflow as it was at a version: a new life, with keys of its own.
///
/// `kept` are the intact records of the source. What was done by then is done in the copy; a step that was
/// in doubt is not begun there. Refused if the version is damaged, or if a state may have been dropped that
/// was the newest then.
pub fn fork(
    target: Option<Head>,
    source: &Head,
    at: u64,
    to: &WorkflowId,
    kept: impl IntoIterator<Item = Sealed>,
    now: Now,
    next: u64,
) -> Result<(Head, Vec<Written>), StoreError> {
    check_names(to, None)?;
    if let Some(target) = target {
        return Err(StoreError::Exists { workflow: target.workflow });
    }
    let source = alive(source.clone())?;
    if at == 0 || at > source.latest {
        return Err(StoreError::NotFound { workflow: source.workflow, version: Some(at) });
    }
    let mut head = Head {
        lineage: Digest::of_parts(&[
            b"buttress fork 1",
            &source.lineage.0,
            &at.to_le_bytes(),
            to.namespace.as_bytes(),
            to.workflow.as_bytes(),
            &next.to_le_bytes(),
        ]),
        forked: Some((source.workflow.workflow.clone(), at)),
        ..Head::new(to.clone(), next, true)
    };
    let mut kept: BTreeMap<u64, Sealed> =
        kept.into_iter().map(|record| (record.version, record)).collect();
    let later = kept.split_off(&(at + 1));
    if at >= source.floor && !kept.contains_key(&at) {
        let damage = Damage::Missing;
        return Err(StoreError::Corrupt { workflow: source.workflow, version: Some(at), damage });
    }
    let whole = kept.len() as u64 == at;
    let mut newest: BTreeMap<StepId, Sealed> = BTreeMap::new();
    for record in kept.into_values().filter(|record| settled(record.status)) {
        newest.insert(record.step.clone(), record);
    }
    // A version of a state that was followed by another may have been dropped.
    let lost = |record: &Sealed| {
        record.status == Status::State && !whole && !newest.contains_key(&record.step)
    };
    if later.values().any(lost) {
        return Err(StoreError::NotFound { workflow: source.workflow, version: Some(at) });
    }
    let mut newest: Vec<Sealed> = newest.into_values().collect();
    newest.sort_unstable_by_key(|record| record.version);
    let written = newest
        .into_iter()
        .map(|Sealed { record, .. }| {
            let draft = Draft {
                step: record.step,
                parent: Some(record.version),
                attempt: record.attempt,
                fence: Fence::Born(None),
                fingerprint: record.fingerprint,
                entry: Entry { status: record.status, payload: record.payload, finish: false },
            };
            write(&mut head, now, draft)
        })
        .collect();
    head.touched = now.wall;
    Ok((head, written))
}

const fn settled(status: Status) -> bool {
    matches!(status, Status::Done | Status::Failed | Status::State)
}

/// The newest intact record of a step, or of the workflow (`None`).
///
/// `newest` is the version that is kept as the newest; `records` what is stored from there on backwards.
/// [`StoreError::Corrupt`] if nothing intact is left.
pub fn latest(
    workflow: &WorkflowId,
    step: Option<&StepId>,
    newest: u64,
    records: impl IntoIterator<Item = (u64, Vec<u8>)>,
) -> Result<Found, StoreError> {
    let mut skipped = Vec::new();
    let mut tell = |version, damage| skipped.push(Finding { version, damage });
    let mut first = true;
    for (version, bytes) in records {
        if first && version < newest {
            tell(newest, Damage::Missing);
        }
        first = false;
        match Record::open_at(&bytes, workflow, version) {
            Ok(record) if step.is_none_or(|step| record.step == *step) => {
                return Ok(Found { record, newest, skipped });
            }
            Ok(_) if version == newest => tell(version, Damage::Misplaced),
            // Of another step.
            Ok(_) => {}
            Err(damage) => tell(version, damage),
        }
    }
    let damage = skipped.first().map_or(Damage::Missing, |finding| finding.damage);
    Err(StoreError::Corrupt { workflow: workflow.clone(), version: Some(newest), damage })
}

/// Looks through all that is kept of a workflow.
///
/// `records` are what is stored, oldest first; `steps` which version is kept as the newest of each step.
pub fn audit(
    head: &Head,
    records: impl IntoIterator<Item = (u64, Vec<u8>)>,
    steps: impl IntoIterator<Item = (StepId, u64)>,
) -> Audit {
    let mut audit = Audit::default();
    let mut tell = |version, damage| audit.findings.push(Finding { version, damage });
    let mut expected = head.floor;
    let mut before: Option<Digest> = None;
    let mut intact: BTreeMap<u64, StepId> = BTreeMap::new();
    let mut damaged: BTreeSet<u64> = BTreeSet::new();
    let mut seen = 0;
    for (version, bytes) in records {
        seen += 1;
        if version > head.latest {
            tell(version, Damage::Misplaced);
            damaged.insert(version);
            continue;
        }
        if version >= head.floor {
            (expected..version).for_each(|version| tell(version, Damage::Missing));
            damaged.extend(expected..version);
            if expected != version {
                before = None;
            }
            expected = version + 1;
        }
        match Record::open_at(&bytes, &head.workflow, version) {
            Ok(record) => {
                if before.is_some_and(|before| before != record.previous)
                    || version == head.latest && record.digest != head.digest
                {
                    tell(version, Damage::Chain);
                }
                before = (version >= head.floor).then_some(record.digest);
                intact.insert(version, record.record.step);
            }
            Err(damage) => {
                tell(version, damage);
                damaged.insert(version);
                before = None;
            }
        }
    }
    (expected..=head.latest).for_each(|version| tell(version, Damage::Missing));
    damaged.extend(expected..=head.latest);
    let kept: BTreeMap<StepId, u64> = steps.into_iter().collect();
    for (step, version) in &kept {
        match intact.get(version) {
            Some(found) if found == step => {}
            Some(_) => tell(*version, Damage::Misplaced),
            None if damaged.contains(version) => {}
            None => tell(*version, Damage::Missing),
        }
    }
    for (version, step) in &intact {
        // A step that points to what is older, or to nothing, would be done again.
        if kept.get(step).is_none_or(|newest| newest < version) {
            tell(*version, Damage::Misplaced);
        }
    }
    audit.findings.sort_by_key(|finding| finding.version);
    audit.findings.dedup();
    audit.records = seen;
    audit
}
