//! The decisions of a store, without a store.
//!
//! Each operation is a function of what is kept of the workflow and of the step; it returns the answer
//! and what is to be written. A store reads the two under a lock or in a transaction, decides, writes
//! and syncs: memory, redb and PostgreSQL decide by the same code. Public for those who write another.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use super::{
    Append, Audit, Begin, Begun, Claim, Damage, Digest, Entry, Fence, Finding, Found, Head,
    IdempotencyKey, Lease, Life, MAX_NAME, MAX_PAYLOAD, Now, Record, Retention, Sealed, Settled,
    Status, StepId, StoreError, Term, Ticket, WorkflowId, head::lineage,
};

/// What is kept of a step: its newest record.
#[expect(clippy::large_enum_variant, reason = "read once an operation, and taken apart at once")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Nothing was written of it.
    Empty,
    /// Its newest record.
    Intact(Sealed),
    /// Its newest record is damaged.
    Damaged {
        /// The version at which it was kept.
        version: u64,
        /// What is wrong with it.
        damage: Damage,
    },
}

impl Slot {
    /// The version of the newest record, damaged or not.
    pub fn version(&self) -> Option<u64> {
        match self {
            Self::Empty => None,
            Self::Intact(record) => Some(record.version),
            Self::Damaged { version, .. } => Some(*version),
        }
    }
}

/// An answer, and what must be durable before it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided<T> {
    /// The answer.
    pub reply: T,
    /// The new head, if it changed.
    pub head: Option<Head>,
    /// A record to be added at the version that it carries, as it is to be stored; it becomes the newest of its step.
    pub record: Option<Written>,
    /// Versions that retention no longer protects: of these, drop each that is neither the newest of
    /// its step nor (if failures are kept) a failure.
    pub expired: Option<Range<u64>>,
}

/// A record and its stored form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The record.
    pub sealed: Sealed,
    /// Its stored form.
    pub bytes: Vec<u8>,
}

impl<T> Decided<T> {
    fn unchanged(reply: T) -> Self {
        Self { reply, head: None, record: None, expired: None }
    }
}

/// Refuses names that are too long.
pub fn check_names(workflow: &WorkflowId, step: Option<&StepId>) -> Result<(), StoreError> {
    let parts = [
        ("a namespace", workflow.namespace.len()),
        ("a workflow's name", workflow.workflow.len()),
        ("a step's name", step.map_or(0, |step| step.name.len())),
    ];
    match parts.into_iter().find(|(_, bytes)| *bytes > MAX_NAME) {
        Some((what, bytes)) => Err(StoreError::TooLarge { what, bytes, most: MAX_NAME }),
        None => Ok(()),
    }
}

fn check_payload(entry: &Entry) -> Result<(), StoreError> {
    let bytes = entry.payload.bytes.len();
    if bytes > MAX_PAYLOAD {
        return Err(StoreError::TooLarge { what: "a payload", bytes, most: MAX_PAYLOAD });
    }
    Ok(())
}

/// Takes the lease of a workflow, or takes it anew. `next` is an epoch that was not handed out yet.
///
/// An owner that holds it, or held it and was not followed by another, keeps its epoch.
pub fn acquire(
    head: Option<Head>,
    workflow: &WorkflowId,
    owner: &Arc<str>,
    ttl: Duration,
    now: Now,
    next: u64,
) -> Result<Decided<Lease>, StoreError> {
    check_names(workflow, None)?;
    if owner.len() > MAX_NAME {
        return Err(StoreError::TooLarge {
            what: "an owner's name",
            bytes: owner.len(),
            most: MAX_NAME,
        });
    }
    let head = take(head, workflow, owner, ttl, now, next)?;
    let lease = Lease::of(&head, owner, ttl);
    Ok(Decided { head: Some(head), ..Decided::unchanged(lease) })
}

fn take(
    head: Option<Head>,
    workflow: &WorkflowId,
    owner: &Arc<str>,
    ttl: Duration,
    now: Now,
    next: u64,
) -> Result<Head, StoreError> {
    let mut head = match head {
        Some(head) => alive(head)?,
        None => Head { touched: now.wall, ..Head::new(workflow.clone(), next, true) },
    };
    let ours = match &head.lease {
        // Of another start of the clock it may be another process that has our name.
        Some(term) if term.owner == *owner && term.boot == now.boot => true,
        Some(term) => match term.left(now) {
            Some(retry_after) => {
                let (workflow, owner) = (workflow.clone(), term.owner.clone());
                return Err(StoreError::Held { workflow, owner, retry_after });
            }
            None => false,
        },
        None => false,
    };
    if !ours {
        head.epoch = next;
    }
    head.lease = Some(Term { owner: owner.clone(), until: now.after(ttl), boot: now.boot });
    Ok(head)
}

/// Makes a lease last for another `ttl` from now, unless somebody else took the workflow since.
pub fn renew(
    head: Option<Head>,
    lease: &Lease,
    ttl: Duration,
    now: Now,
) -> Result<Decided<Lease>, StoreError> {
    let mut head = held(head, &lease.workflow, lease.epoch)?;
    head.lease = Some(Term { owner: lease.owner.clone(), until: now.after(ttl), boot: now.boot });
    let lease = Lease::of(&head, &lease.owner, ttl);
    Ok(Decided { head: Some(head), ..Decided::unchanged(lease) })
}

/// Gives a lease back. Whatever is still written under it is refused. To give back what was lost is no error.
pub fn release(head: Option<Head>, lease: &Lease) -> Decided<()> {
    match held(head, &lease.workflow, lease.epoch) {
        Ok(mut head) => {
            head.lease = None;
            Decided { head: Some(head), ..Decided::unchanged(()) }
        }
        Err(_) => Decided::unchanged(()),
    }
}

fn alive(head: Head) -> Result<Head, StoreError> {
    match head.life {
        Life::Open | Life::Finished => Ok(head),
        Life::Deleted => Err(StoreError::Deleted { workflow: head.workflow }),
    }
}

fn held(head: Option<Head>, workflow: &WorkflowId, epoch: u64) -> Result<Head, StoreError> {
    match head.map(alive).transpose()? {
        Some(head) if head.epoch == epoch && head.lease.is_some() => Ok(head),
        _ => Err(StoreError::Fenced { workflow: workflow.clone(), epoch }),
    }
}

/// Who writes, once it is known that they may.
struct Writer {
    head: Head,
    fence: Fence,
    /// Whether the head differs from the one that is stored.
    changed: bool,
}

fn admit(
    head: Option<Head>,
    workflow: &WorkflowId,
    claim: &Claim,
    now: Now,
    next: u64,
) -> Result<Writer, StoreError> {
    match claim {
        Claim::Held { epoch } => {
            let head = held(head, workflow, *epoch)?;
            Ok(Writer { head, fence: Fence::Epoch(*epoch), changed: false })
        }
        Claim::Take { owner, ttl } => {
            let head = take(head, workflow, owner, *ttl, now, next)?;
            let fence = Fence::Epoch(head.epoch);
            Ok(Writer { head, fence, changed: true })
        }
        Claim::Shared => match head.map(alive).transpose()? {
            Some(head) => {
                let fence = Fence::Born(Some(head.born));
                Ok(Writer { head, fence, changed: false })
            }
            None => {
                let head = Head::new(workflow.clone(), next, false);
                Ok(Writer { head, fence: Fence::Born(None), changed: false })
            }
        },
    }
}

/// Begins a step: says what became of it so far, or writes the intent to do it.
pub fn begin(
    head: Option<Head>,
    slot: Slot,
    begin: &Begin,
    now: Now,
    next: u64,
) -> Result<Decided<Begun>, StoreError> {
    let Begin { workflow, step, fingerprint, claim, intent, restart } = begin;
    check_names(workflow, Some(step))?;
    // What is done may be read by anybody but by one who was fenced: that one is to stop.
    if let Claim::Held { epoch } = claim {
        held(head.clone(), workflow, *epoch)?;
    }
    if let Some(head) = &head {
        alive(head.clone())?;
    }
    let key = |head: Option<&Head>| {
        let lineage = head.map_or_else(|| lineage(workflow, 0), |head| head.lineage);
        IdempotencyKey::new(&workflow.namespace, &lineage, step)
    };
    let again = restart.is_some() && *restart == slot.version();
    let counted = matches!(&slot, Slot::Intact(record) if record.status == Status::Intent);
    let attempt = match slot {
        Slot::Empty => 1,
        // Nothing was done with that request: it binds nobody.
        Slot::Intact(record) if record.status == Status::Withdrawn => {
            record.attempt.saturating_add(1)
        }
        Slot::Intact(record) => {
            if record.fingerprint != *fingerprint {
                return Ok(Decided::unchanged(Begun::Mismatch { record }));
            }
            match record.status {
                Status::State => return Ok(Decided::unchanged(Begun::Mismatch { record })),
                Status::Done => return Ok(Decided::unchanged(Begun::Completed { record })),
                Status::Failed => return Ok(Decided::unchanged(Begun::Failed { record })),
                Status::Intent if *intent && !again => {
                    // Whether it runs, or ran when its process died: those who hold the workflow know.
                    elsewhere(head.as_ref(), claim, now)?;
                    let key = key(head.as_ref());
                    return Ok(Decided::unchanged(Begun::Pending { record, key }));
                }
                Status::Intent | Status::Withdrawn => record.attempt.saturating_add(1),
            }
        }
        Slot::Damaged { version, damage } if *intent && !again => {
            elsewhere(head.as_ref(), claim, now)?;
            let key = key(head.as_ref());
            return Ok(Decided::unchanged(Begun::Damaged { version, damage, key }));
        }
        Slot::Damaged { .. } => 1,
    };
    let mut writer = admit(head, workflow, claim, now, next)?;
    let ticket = Ticket {
        workflow: workflow.clone(),
        step: step.clone(),
        fingerprint: *fingerprint,
        attempt,
        fence: writer.fence,
        intent: intent.then_some(writer.head.latest + 1),
        key: key(Some(&writer.head)),
    };
    if !intent {
        let head = writer.changed.then_some(writer.head);
        return Ok(Decided { head, ..Decided::unchanged(Begun::Fresh(ticket)) });
    }
    let written = write(
        &mut writer.head,
        now,
        Draft {
            step: step.clone(),
            parent: *restart,
            attempt,
            fence: ticket.fence,
            fingerprint: *fingerprint,
            entry: Entry {
                status: Status::Intent,
                payload: super::Payload::default(),
                finish: false,
            },
        },
    );
    // Of a damaged record nobody knows whether it was an intent: rather one too many than forgotten.
    if !counted {
        writer.head.pending = writer.head.pending.saturating_add(1);
    }
    Ok(Decided {
        reply: Begun::Fresh(ticket),
        head: Some(writer.head),
        record: Some(written),
        expired: None,
    })
}

/// Refuses one who would have to take the workflow from somebody who holds it.
fn elsewhere(head: Option<&Head>, claim: &Claim, now: Now) -> Result<(), StoreError> {
    let (Some(head), Claim::Take { owner, .. }) = (head, claim) else { return Ok(()) };
    match &head.lease {
        Some(term) if term.owner != *owner => match term.left(now) {
            Some(retry_after) => Err(StoreError::Held {
                workflow: head.workflow.clone(),
                owner: term.owner.clone(),
                retry_after,
            }),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Writes the outcome of a step, unless it has one: then that one is the answer.
pub fn complete(
    head: Option<Head>,
    slot: Slot,
    ticket: &Ticket,
    entry: Entry,
    now: Now,
    next: u64,
    retention: &Retention,
) -> Result<Decided<Settled>, StoreError> {
    check_payload(&entry)?;
    let fenced = |epoch| StoreError::Fenced { workflow: ticket.workflow.clone(), epoch };
    let mut head = match ticket.fence {
        Fence::Epoch(epoch) => held(head, &ticket.workflow, epoch)?,
        Fence::Born(born) => match (head.map(alive).transpose()?, born) {
            (Some(head), Some(born)) if head.born != born => return Err(fenced(born)),
            (Some(head), _) => head,
            (None, Some(born)) => return Err(fenced(born)),
            (None, None) => Head::new(ticket.workflow.clone(), next, false),
        },
    };
    let mut parent = ticket.intent;
    match slot {
        Slot::Intact(record) => match record.status {
            Status::Done | Status::Failed if record.fingerprint == ticket.fingerprint => {
                return Ok(Decided::unchanged(Settled { record, ours: false }));
            }
            // Of what was begun without an intent the first outcome counts, whatever was withdrawn.
            Status::Withdrawn if ticket.intent.is_none() => {}
            Status::Intent if record.fingerprint == ticket.fingerprint => {
                // Another attempt was begun since under the same fence: this one is late.
                if ticket.intent.is_some_and(|intent| intent != record.version) {
                    return Err(StoreError::Stale {
                        workflow: ticket.workflow.clone(),
                        latest: record.version,
                    });
                }
                parent = Some(record.version);
                head.pending = head.pending.saturating_sub(1);
            }
            _ => {
                return Err(StoreError::Stale {
                    workflow: ticket.workflow.clone(),
                    latest: record.version,
                });
            }
        },
        // The intent itself may have rotten during the call; the outcome is what counts.
        Slot::Damaged { version, .. } if ticket.intent == Some(version) => {
            head.pending = head.pending.saturating_sub(1);
        }
        Slot::Damaged { .. } | Slot::Empty => {}
    }
    let written = write(
        &mut head,
        now,
        Draft {
            step: ticket.step.clone(),
            parent,
            attempt: ticket.attempt,
            fence: ticket.fence,
            fingerprint: ticket.fingerprint,
            entry,
        },
    );
    let expired = expire(&mut head, retention);
    let reply = Settled { record: written.sealed.clone(), ours: true };
    Ok(Decided { reply, head: Some(head), record: Some(written), expired })
}

/// Adds a version of a state, if the newest is the expected one.
pub fn append(
    head: Option<Head>,
    slot: Slot,
    append: Append,
    now: Now,
    next: u64,
    retention: &Retention,
) -> Result<Decided<Sealed>, StoreError> {
    let Append { workflow, step, claim, expect, parent, fingerprint, entry } = append;
    check_names(&workflow, Some(&step))?;
    check_payload(&entry)?;
    let Writer { mut head, fence, .. } = admit(head, &workflow, &claim, now, next)?;
    if let Some(expected) = expect
        && expected != slot.version().unwrap_or(0)
    {
        return Err(StoreError::Stale { workflow, latest: slot.version().unwrap_or(0) });
    }
    let draft = Draft { step, parent, attempt: 1, fence, fingerprint, entry };
    let written = write(&mut head, now, draft);
    let expired = expire(&mut head, retention);
    let reply = written.sealed.clone();
    Ok(Decided { reply, head: Some(head), record: Some(written), expired })
}

/// Marks a workflow as ended, and gives its lease back.
pub fn finish(
    head: Option<Head>,
    workflow: &WorkflowId,
    claim: &Claim,
    now: Now,
    next: u64,
) -> Result<Decided<()>, StoreError> {
    let Writer { mut head, .. } = admit(head, workflow, claim, now, next)?;
    head.life = Life::Finished;
    head.lease = None;
    head.touched = now.wall;
    Ok(Decided { head: Some(head), ..Decided::unchanged(()) })
}

/// Deletes a workflow: all its records go, and a stone stays that keeps late writers from bringing it back.
///
/// The store removes every record of the workflow when there is a new head.
pub fn delete(
    head: Option<Head>,
    workflow: &WorkflowId,
    now: Now,
    next: u64,
) -> Result<Decided<()>, StoreError> {
    let head = alive(
        head.ok_or_else(|| StoreError::NotFound { workflow: workflow.clone(), version: None })?,
    )?;
    let stone = Head {
        life: Life::Deleted,
        lease: None,
        epoch: next,
        pending: 0,
        touched: now.wall,
        floor: head.latest + 1,
        ..head
    };
    Ok(Decided { head: Some(stone), ..Decided::unchanged(()) })
}

/// The copy of a workflow as it was at a version: a new life, with keys of its own.
///
/// `kept` are the intact records of the source, oldest first. What was done by then is done in the
/// copy; a step that was in doubt is not begun there.
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
    let mut newest: BTreeMap<u64, Sealed> = BTreeMap::new();
    let mut places: BTreeMap<StepId, u64> = BTreeMap::new();
    for record in kept.into_iter().filter(|record| record.version <= at && settled(record.status)) {
        if let Some(older) = places.insert(record.step.clone(), record.version) {
            newest.remove(&older);
        }
        newest.insert(record.version, record);
    }
    let written = newest
        .into_values()
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
    let mut expected = newest;
    for (version, bytes) in records {
        if version < expected && expected == newest {
            tell(newest, Damage::Missing);
        }
        expected = 0;
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

struct Draft {
    step: StepId,
    parent: Option<u64>,
    attempt: u32,
    fence: Fence,
    fingerprint: Digest,
    entry: Entry,
}

fn write(head: &mut Head, now: Now, draft: Draft) -> Written {
    let Draft { step, parent, attempt, fence, fingerprint, entry } = draft;
    let record = Record {
        workflow: head.workflow.clone(),
        version: head.latest + 1,
        parent,
        step,
        attempt,
        epoch: match fence {
            Fence::Epoch(epoch) => epoch,
            Fence::Born(_) => 0,
        },
        status: entry.status,
        created: now.wall,
        fingerprint,
        payload: entry.payload,
        previous: head.digest,
    };
    let (bytes, digest) = record.seal();
    head.latest = record.version;
    head.digest = digest;
    head.touched = now.wall;
    head.life = if entry.finish { Life::Finished } else { Life::Open };
    if entry.finish {
        head.lease = None;
    }
    Written { sealed: Sealed { record, digest }, bytes }
}

fn expire(head: &mut Head, retention: &Retention) -> Option<Range<u64>> {
    let floor = (head.latest + 1).saturating_sub(retention.versions.get());
    // Below the floor versions stand alone, so it only ever rises.
    (floor > head.floor).then(|| {
        let expired = head.floor..floor;
        head.floor = floor;
        expired
    })
}

/// Whether a version below the floor may be dropped. `newest` is what is kept as the newest of its step.
pub fn expires(record: &Record, newest: Option<u64>, retention: &Retention) -> bool {
    let failure = record.status == Status::Failed && retention.failures;
    newest.is_some_and(|newest| newest > record.version) && !failure
}

/// Whether a worker may take a workflow up.
pub fn claimable(head: &Head, now: Now) -> bool {
    head.life == Life::Open && head.lease.as_ref().is_none_or(|term| term.left(now).is_none())
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
    let mut newest: BTreeMap<StepId, u64> = BTreeMap::new();
    let mut seen = 0;
    for (version, bytes) in records {
        seen += 1;
        if version >= head.floor {
            (expected..version).for_each(|version| tell(version, Damage::Missing));
            if expected != version {
                before = None;
            }
            expected = version + 1;
        }
        match Record::open_at(&bytes, &head.workflow, version) {
            Ok(record) => {
                if version > head.floor && before.is_some_and(|before| before != record.previous)
                    || version == head.latest && record.digest != head.digest
                {
                    tell(version, Damage::Chain);
                }
                before = (version >= head.floor).then_some(record.digest);
                newest.insert(record.record.step, version);
            }
            Err(damage) => {
                tell(version, damage);
                before = None;
            }
        }
    }
    if head.life != Life::Deleted {
        (expected..=head.latest).for_each(|version| tell(version, Damage::Missing));
    }
    let mut kept: BTreeMap<StepId, u64> = steps.into_iter().collect();
    for (step, version) in newest {
        match kept.remove(&step) {
            Some(at) if at >= version => {}
            // A step that points to what is older, or to nothing, would be done again.
            _ => tell(version, Damage::Misplaced),
        }
    }
    audit.findings.sort_unstable_by_key(|finding| finding.version);
    audit.findings.dedup();
    audit.records = seen;
    audit
}

impl Lease {
    fn of(head: &Head, owner: &Arc<str>, ttl: Duration) -> Self {
        Self { workflow: head.workflow.clone(), epoch: head.epoch, owner: owner.clone(), ttl }
    }
}
