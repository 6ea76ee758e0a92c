//! The operations.

use std::{sync::Arc, time::Duration};

use buttress::store::{
    Append, Audit, Begin, Begun, Claim, Damage, Entry, Finding, Found, Head, Lease, Life, Pending,
    Pruned, Record, Sealed, Settled, StepId, Store, StoreError, Summary, Ticket, Version,
    WorkflowId, ledger,
};

use super::{
    RedbStore,
    look::{page, repaired},
    sound::sound,
    trouble::Stop,
};

fn missing(workflow: &WorkflowId, version: Option<u64>) -> StoreError {
    StoreError::NotFound { workflow: workflow.clone(), version }
}

impl Store for RedbStore {
    fn acquire<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Lease> {
        Box::pin(async move {
            let (workflow, owner, now) = (workflow.clone(), owner.clone(), self.now());
            self.write(0, move |view| {
                view.decide(&workflow, None, now, |head, _, next| {
                    ledger::acquire(head, &workflow, &owner, ttl, now, next)
                })
            })
            .await
        })
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> Pending<'a, Lease> {
        Box::pin(async move {
            let (lease, now) = (lease.clone(), self.now());
            self.write(0, move |view| {
                view.decide(&lease.workflow, None, now, |head, _, _| {
                    ledger::renew(head, &lease, ttl, now)
                })
            })
            .await
        })
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> Pending<'a, ()> {
        Box::pin(async move {
            let (lease, now) = (lease.clone(), self.now());
            self.write(0, move |view| {
                view.decide(&lease.workflow, None, now, |head, _, _| {
                    Ok(ledger::release(head, &lease))
                })
            })
            .await
        })
    }

    fn claim<'a>(
        &'a self,
        namespace: &'a str,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Option<Lease>> {
        Box::pin(async move {
            loop {
                let now = self.now();
                let free =
                    self.read_open(|rows, open| self.free(rows, open, namespace, now)).await?;
                let Some(Head { workflow, .. }) = free else { return Ok(None) };
                let owner = owner.clone();
                let lease = self.write(0, move |view| {
                    // Another may have been quicker, even one of the same name.
                    let claim = |head, _, next| ledger::claim(head, &owner, ttl, now, next);
                    view.decide(&workflow, None, now, claim)
                });
                if let Some(lease) = lease.await? {
                    return Ok(Some(lease));
                }
            }
        })
    }

    fn begin<'a>(&'a self, begin: &'a Begin) -> Pending<'a, Begun> {
        Box::pin(async move {
            if let Some(begun) = self.begun(begin).await? {
                return Ok(begun);
            }
            let (begin, now) = (begin.clone(), self.now());
            self.write(0, move |view| {
                view.decide(&begin.workflow, Some(&begin.step), now, |head, slot, next| {
                    ledger::begin(head, slot, &begin, now, next)
                })
            })
            .await
        })
    }

    fn complete<'a>(&'a self, ticket: &'a Ticket, entry: Entry) -> Pending<'a, Settled> {
        Box::pin(async move {
            let (ticket, now, bytes) = (ticket.clone(), self.now(), entry.payload.bytes.len());
            self.write(bytes, move |view| {
                let retention = &view.shared.retention;
                view.decide(&ticket.workflow, Some(&ticket.step), now, |head, slot, next| {
                    ledger::complete(head, slot, &ticket, entry, now, next, retention)
                })
            })
            .await
        })
    }

    fn append(&self, append: Append) -> Pending<'_, Sealed> {
        Box::pin(async move {
            let (now, bytes) = (self.now(), append.entry.payload.bytes.len());
            self.write(bytes, move |view| {
                let retention = &view.shared.retention;
                let (workflow, step) = (append.workflow.clone(), append.step.clone());
                view.decide(&workflow, Some(&step), now, |head, slot, next| {
                    ledger::append(head, slot, append, now, next, retention)
                })
            })
            .await
        })
    }

    fn finish<'a>(&'a self, workflow: &'a WorkflowId, claim: &'a Claim) -> Pending<'a, ()> {
        Box::pin(async move {
            let (workflow, claim, now) = (workflow.clone(), claim.clone(), self.now());
            self.write(0, move |view| {
                view.decide(&workflow, None, now, |head, _, next| {
                    ledger::finish(head, &workflow, &claim, now, next)
                })
            })
            .await
        })
    }

    fn latest<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        step: Option<&'a StepId>,
    ) -> Pending<'a, Option<Found>> {
        Box::pin(async move {
            self.read(|rows| {
                let newest = match step {
                    Some(step) => rows.slot(workflow, step)?.slot.version().unwrap_or(0),
                    None => match self.head(rows, workflow)? {
                        Some(head) if head.life != Life::Deleted => head.latest,
                        _ => 0,
                    },
                };
                if newest == 0 {
                    return Ok(None);
                }
                let rows = rows.raw(workflow, 0, newest)?.rev();
                let found = sound(rows, workflow, |records| {
                    ledger::latest(workflow, step, newest, records)
                })?;
                Ok(Some(found?))
            })
            .await
        })
    }

    fn get<'a>(&'a self, workflow: &'a WorkflowId, version: u64) -> Pending<'a, Sealed> {
        Box::pin(async move {
            self.read(|rows| match rows.record(workflow, version)? {
                None => Err(missing(workflow, Some(version)).into()),
                Some(Ok(record)) => Ok(record),
                Some(Err(damage)) => Err(StoreError::Corrupt {
                    workflow: workflow.clone(),
                    version: Some(version),
                    damage,
                }
                .into()),
            })
            .await
        })
    }

    fn history<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        after: u64,
        most: usize,
    ) -> Pending<'a, Vec<Version>> {
        Box::pin(async move {
            self.read(|rows| {
                if self.head(rows, workflow)?.is_none() {
                    return Err(missing(workflow, None).into());
                }
                let Some(from) = after.checked_add(1) else { return Ok(Vec::new()) };
                let rows = rows.raw(workflow, from, u64::MAX)?;
                let open = |(version, bytes): (u64, Vec<u8>)| match Record::open_at(
                    &bytes, workflow, version,
                ) {
                    Ok(record) => Version::Intact(record),
                    Err(damage) => Version::Damaged(Finding { version, damage }),
                };
                Ok(sound(rows, workflow, |records| records.take(most).map(open).collect())?)
            })
            .await
        })
    }

    fn list<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>> {
        Box::pin(async move {
            let now = self.now();
            self.read(|rows| page(self.heads(rows, namespace, after)?, most, now)).await
        })
    }

    fn unfinished<'a>(
        &'a self,
        namespace: &'a str,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>> {
        Box::pin(async move {
            let now = self.now();
            self.read_open(|rows, open| page(self.going(rows, open, namespace, after)?, most, now))
                .await
        })
    }

    fn summary<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Option<Summary>> {
        Box::pin(async move {
            let now = self.now();
            self.read(|rows| Ok(self.head(rows, workflow)?.map(|head| Summary::of(&head, now))))
                .await
        })
    }

    fn fork<'a>(
        &'a self,
        from: &'a WorkflowId,
        at: u64,
        to: &'a WorkflowId,
    ) -> Pending<'a, Summary> {
        Box::pin(async move {
            let (from, to, now) = (from.clone(), to.clone(), self.now());
            self.write(0, move |view| {
                let source = view.head(&from, now)?.ok_or_else(|| missing(&from, None))?;
                let target = view.head(&to, now)?;
                let rows = view.rows.raw(&from, 0, u64::MAX)?;
                let open =
                    |(version, bytes): (u64, Vec<u8>)| Record::open_at(&bytes, &from, version).ok();
                let kept: Vec<Sealed> =
                    sound(rows, &from, |records| records.filter_map(open).collect())?;
                let next = view.meta.next();
                let (head, written) = ledger::fork(target, &source, at, &to, kept, now, next)?;
                view.put(&head, true)?;
                for written in &written {
                    view.rows.put_record(written)?;
                }
                Ok(Summary::of(&head, now))
            })
            .await
        })
    }

    fn delete<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, ()> {
        Box::pin(async move {
            let (workflow, now) = (workflow.clone(), self.now());
            self.write(0, move |view| {
                let next = view.meta.next();
                let head = match view.head(&workflow, now) {
                    // Of a workflow that is beyond repair, what is left can still be deleted.
                    Err(Stop::Refused(StoreError::Corrupt { damage, .. }))
                        if !matches!(damage, Damage::Format(_)) =>
                    {
                        Some(Head::new(workflow.clone(), next, true))
                    }
                    head => head?,
                };
                if let Some(stone) = ledger::delete(head, &workflow, now, next)?.head {
                    view.put(&stone, false)?;
                    view.rows.clear(&workflow)?;
                }
                Ok(())
            })
            .await
        })
    }

    fn prune<'a>(&'a self, namespace: Option<&'a str>) -> Pending<'a, Pruned> {
        Box::pin(async move {
            let now = self.now();
            let (mut pruned, mut after) = (Pruned::default(), None);
            // A few at a time: others have the writer in between.
            loop {
                let retention = &self.open.shared.retention;
                let old: Vec<WorkflowId> = self
                    .read(|rows| {
                        let mut old = Vec::new();
                        for head in self.heads(rows, namespace, after.as_ref())? {
                            let Some(head) = repaired(head)? else { continue };
                            if head.outlived(retention, now) {
                                old.push(head.workflow);
                            }
                            if old.len() == PRUNED_AT_ONCE {
                                break;
                            }
                        }
                        Ok(old)
                    })
                    .await?;
                let Some(last) = old.last() else { return Ok(pruned) };
                after = Some(last.clone());
                let Pruned { workflows, records } = self
                    .write(0, move |view| {
                        let mut pruned = Pruned::default();
                        for workflow in &old {
                            // It may have been written to since.
                            let head = view.head(workflow, now)?;
                            if head.is_some_and(|head| head.outlived(&view.shared.retention, now)) {
                                pruned.workflows += 1;
                                pruned.records += view.rows.forget(workflow)?;
                            }
                        }
                        Ok(pruned)
                    })
                    .await?;
                pruned.workflows += workflows;
                pruned.records += records;
            }
        })
    }

    fn verify<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Audit> {
        Box::pin(async move {
            self.read(|rows| {
                let loaded = rows.head(workflow, self.now(), self.next())?;
                let head = loaded.head.ok_or_else(|| missing(workflow, None))?;
                let steps = rows.steps(workflow)?.into_iter();
                let steps = steps.filter_map(|(step, newest)| Some((step, newest?.version)));
                // What a head is put together from: without it the next damage would be beyond repair.
                let born = head.life == Life::Deleted || rows.is_born(workflow)?;
                let rows = rows.raw(workflow, 0, u64::MAX)?;
                let mut audit =
                    sound(rows, workflow, |records| ledger::audit(&head, records, steps))?;
                if loaded.rebuilt || !born {
                    audit.findings.insert(0, Finding { version: 0, damage: Damage::Digest });
                }
                Ok(audit)
            })
            .await
        })
    }
}

/// How many workflows go in one commit.
const PRUNED_AT_ONCE: usize = 64;
