//! Who may write a workflow, and whether it goes on.

use std::{sync::Arc, time::Duration};

use super::{
    super::{Claim, Fence, Head, Lease, Life, Now, StoreError, Term, WorkflowId},
    Decided, alive, check_name, check_names,
};

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
    check_name("an owner's name", owner)?;
    let mut head = match head {
        Some(head) => alive(head)?,
        None => Head::new(workflow.clone(), next, true),
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
        // One that nobody gets done goes to the end of the queue, so that others have their turn.
        head.touched = now.wall;
    }
    head.lease = Some(Term { owner: owner.clone(), until: now.after(ttl), boot: now.boot });
    Ok(head)
}

/// Takes up a workflow that nobody holds, always with a new epoch; `None` if it is not [free](claimable).
///
/// Even of the same owner's name it may be another task: what was let run out is taken over.
pub fn claim(
    head: Option<Head>,
    owner: &Arc<str>,
    ttl: Duration,
    now: Now,
    next: u64,
) -> Result<Decided<Option<Lease>>, StoreError> {
    let Some(free) = head.filter(|head| claimable(head, now)) else {
        return Ok(Decided::unchanged(None));
    };
    let workflow = free.workflow.clone();
    let free = Head { lease: None, ..free };
    let Decided { reply, head, .. } = acquire(Some(free), &workflow, owner, ttl, now, next)?;
    Ok(Decided { head, ..Decided::unchanged(Some(reply)) })
}

/// Makes a lease last for another `ttl` from now, unless somebody else took the workflow since.
pub fn renew(
    head: Option<Head>,
    lease: &Lease,
    ttl: Duration,
    now: Now,
) -> Result<Decided<Lease>, StoreError> {
    let mut head = held(head, &lease.workflow, lease.epoch)?;
    // Whoever has the epoch is the owner that took it, under whatever name it comes now.
    let owner = head.lease.as_ref().map_or_else(|| lease.owner.clone(), |term| term.owner.clone());
    let renewed = Lease::of(&head, &owner, ttl);
    head.lease = Some(Term { owner, until: now.after(ttl), boot: now.boot });
    Ok(Decided { head: Some(head), ..Decided::unchanged(renewed) })
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

/// Marks a workflow as ended, and gives back the lease by which that is done.
pub fn finish(
    head: Option<Head>,
    workflow: &WorkflowId,
    claim: &Claim,
    now: Now,
    next: u64,
) -> Result<Decided<()>, StoreError> {
    check_names(workflow, None)?;
    // Asked again by one who did not get the answer: the lease went with the first.
    if let (Some(head), Claim::Held { epoch }) = (&head, claim)
        && head.life == Life::Finished
        && head.epoch == *epoch
        && head.lease.is_none()
    {
        return Ok(Decided::unchanged(()));
    }
    let Writer { mut head, fence, .. } = admit(head, workflow, claim, now, next)?;
    head.life = Life::Finished;
    if matches!(fence, Fence::Epoch(_)) {
        head.lease = None;
    }
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
        // None of its versions is missing: they are not to be there.
        floor: head.latest + 1,
        ..head
    };
    Ok(Decided { head: Some(stone), ..Decided::unchanged(()) })
}

/// Whether a worker may take a workflow up.
pub fn claimable(head: &Head, now: Now) -> bool {
    head.life == Life::Open && head.lease.as_ref().is_none_or(|term| term.left(now).is_none())
}

pub(super) fn held(
    head: Option<Head>,
    workflow: &WorkflowId,
    epoch: u64,
) -> Result<Head, StoreError> {
    match head.map(alive).transpose()? {
        Some(head) if head.epoch == epoch && head.lease.is_some() => Ok(head),
        _ => Err(StoreError::Fenced { workflow: workflow.clone(), epoch }),
    }
}

/// Who writes, once it is known that they may.
pub(super) struct Writer {
    pub(super) head: Head,
    pub(super) fence: Fence,
    /// Whether the head differs from the one that is stored.
    pub(super) changed: bool,
}

pub(super) fn admit(
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

/// Refuses one who would have to take the workflow from somebody who holds it.
pub(super) fn elsewhere(head: Option<&Head>, claim: &Claim, now: Now) -> Result<(), StoreError> {
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

impl Lease {
    fn of(head: &Head, owner: &Arc<str>, ttl: Duration) -> Self {
        Self { workflow: head.workflow.clone(), epoch: head.epoch, owner: owner.clone(), ttl }
    }
}
