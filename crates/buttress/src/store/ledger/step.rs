//! What becomes of a step, and of a state.

use super::{
    super::{
        Append, Begin, Begun, Claim, Entry, Fence, Head, IdempotencyKey, Life, Now, Payload,
        Retention, Sealed, Settled, Status, StoreError, Ticket, head::lineage,
    },
    Decided, Draft, Slot, alive, check_names, check_payload,
    lease::{Writer, admit, elsewhere, held},
    retention::{expire, superseded},
    write,
};

/// Begins a step: says what became of it so far, or writes the intent to do it.
pub fn begin(
    head: Option<Head>,
    slot: Slot,
    begin: &Begin,
    now: Now,
    next: u64,
) -> Result<Decided<Begun>, StoreError> {
    let Begin { workflow, step, fingerprint, claim, intent, restart, mark } = begin;
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
    let before = slot.version();
    let damaged = match &slot {
        Slot::Damaged { newest, .. } if !again => Some(newest.version),
        _ => None,
    };
    let counted = slot.is_begun();
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
        Slot::Damaged { newest, damage } if *intent && !again => {
            elsewhere(head.as_ref(), claim, now)?;
            let (version, key) = (newest.version, key(head.as_ref()));
            return Ok(Decided::unchanged(Begun::Damaged { version, damage, key }));
        }
        Slot::Damaged { .. } => 1,
    };
    let mut writer = admit(head, workflow, claim, now, next)?;
    let fence = match writer.fence {
        // With its intent the workflow comes into being: from then on it is this one and no other.
        Fence::Born(_) if *intent => Fence::Born(Some(writer.head.born)),
        fence => fence,
    };
    let ticket = Ticket {
        workflow: workflow.clone(),
        step: step.clone(),
        fingerprint: *fingerprint,
        attempt,
        fence,
        intent: intent.then_some(writer.head.latest + 1),
        damaged,
        key: key(Some(&writer.head)),
    };
    if !intent {
        let head = writer.changed.then_some(writer.head);
        return Ok(Decided { head, ..Decided::unchanged(Begun::Fresh(ticket)) });
    }
    let bytes = mark.map(|mark| format!("{mark:016x}").into_bytes()).unwrap_or_default();
    let payload = Payload { bytes, ..Payload::default() };
    let written = write(
        &mut writer.head,
        now,
        Draft {
            step: step.clone(),
            parent: restart.filter(|_| again),
            attempt,
            fence: ticket.fence,
            fingerprint: *fingerprint,
            entry: Entry { status: Status::Intent, payload, finish: false },
        },
    );
    if !counted {
        writer.head.pending = writer.head.pending.saturating_add(1);
    }
    let expired = superseded(&writer.head, before).into_iter().collect();
    Ok(Decided {
        reply: Begun::Fresh(ticket),
        head: Some(writer.head),
        record: Some(written),
        expired,
    })
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
    check_names(&ticket.workflow, Some(&ticket.step))?;
    check_payload(&entry)?;
    match entry.status {
        Status::Done | Status::Failed => {}
        Status::Withdrawn if ticket.intent.is_some() => {}
        // It would be another's intent that is withdrawn.
        Status::Withdrawn => {
            return Err(StoreError::Invalid { what: "a withdrawal", why: "is of no intent" });
        }
        Status::Intent | Status::State => {
            return Err(StoreError::Invalid { what: "an outcome", why: "says nothing of the end" });
        }
    }
    // Asked again by one who did not get the answer, and whose lease went with the end of the workflow.
    if let (Some(head), Fence::Epoch(epoch), Slot::Intact(record)) = (&head, ticket.fence, &slot)
        && head.life == Life::Finished
        && head.epoch == epoch
        && record.epoch == epoch
        && outcome(record, ticket)
    {
        return Ok(Decided::unchanged(Settled { record: record.clone(), ours: false }));
    }
    let fenced = |epoch| StoreError::Fenced { workflow: ticket.workflow.clone(), epoch };
    let stale = |latest| StoreError::Stale { workflow: ticket.workflow.clone(), latest };
    let mut head = match ticket.fence {
        Fence::Epoch(epoch) => held(head, &ticket.workflow, epoch)?,
        Fence::Born(born) => match (head.map(alive).transpose()?, born) {
            (Some(head), Some(born)) if head.born != born => return Err(fenced(born)),
            (Some(head), _) => head,
            (None, Some(born)) => return Err(fenced(born)),
            (None, None) => Head::new(ticket.workflow.clone(), next, false),
        },
    };
    let before = slot.version();
    // What a ticket names was an intent, whatever else is known of it.
    let counted = slot.is_begun() || before.is_some() && before == ticket.intent;
    let mut parent = ticket.intent;
    match slot {
        Slot::Intact(record) if outcome(&record, ticket) => {
            return Ok(Decided::unchanged(Settled { record, ours: false }));
        }
        // Of what was begun without an intent the first outcome counts, whatever was withdrawn.
        Slot::Intact(record) if record.status == Status::Withdrawn && ticket.intent.is_none() => {}
        Slot::Intact(record)
            if record.status == Status::Intent && record.fingerprint == ticket.fingerprint =>
        {
            // Another attempt was begun since under the same fence: this one is late.
            if ticket.intent.is_some_and(|intent| intent != record.version) {
                return Err(stale(record.version));
            }
            parent = Some(record.version);
        }
        Slot::Intact(record) => return Err(stale(record.version)),
        // The intent itself may have rotten during the call; the outcome is what counts. Anything else was
        // written after it: an outcome that was told, or a newer attempt.
        Slot::Damaged { newest, .. }
            if ticket.intent.is_some_and(|intent| intent != newest.version) =>
        {
            return Err(stale(newest.version));
        }
        Slot::Damaged { .. } | Slot::Empty => {}
    }
    if counted {
        head.pending = head.pending.saturating_sub(1);
    }
    // An outcome that comes late is kept, and a workflow that was ended stays so.
    let ended = head.life == Life::Finished && matches!(ticket.fence, Fence::Born(_));
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
    if ended {
        head.life = Life::Finished;
    }
    let expired = expire(&mut head, before, retention);
    let reply = Settled { record: written.sealed.clone(), ours: true };
    Ok(Decided { reply, head: Some(head), record: Some(written), expired })
}

/// Whether a record is the outcome that a ticket was to bring.
fn outcome(record: &Sealed, ticket: &Ticket) -> bool {
    record.fingerprint == ticket.fingerprint
        && match record.status {
            Status::Done | Status::Failed => true,
            // Its own withdrawal, asked for again.
            Status::Withdrawn => ticket.intent.is_some() && record.parent == ticket.intent,
            Status::Intent | Status::State => false,
        }
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
    if entry.status != Status::State {
        return Err(StoreError::Invalid { what: "an appended entry", why: "is not a state" });
    }
    let Writer { mut head, fence, .. } = admit(head, &workflow, &claim, now, next)?;
    let before = slot.version();
    if let Some(expected) = expect
        && expected != before.unwrap_or(0)
    {
        return Err(StoreError::Stale { workflow, latest: before.unwrap_or(0) });
    }
    if let Slot::Intact(record) = &slot
        && record.status != Status::State
    {
        return Err(StoreError::Invalid { what: "a state", why: "has the name of a step" });
    }
    if slot.is_begun() {
        head.pending = head.pending.saturating_sub(1);
    }
    let draft = Draft { step, parent, attempt: 1, fence, fingerprint, entry };
    let written = write(&mut head, now, draft);
    let expired = expire(&mut head, before, retention);
    let reply = written.sealed.clone();
    Ok(Decided { reply, head: Some(head), record: Some(written), expired })
}
