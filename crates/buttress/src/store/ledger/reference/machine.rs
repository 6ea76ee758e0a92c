//! The ledger and the reference, side by side.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::sample::Index;

use super::{
    FLOWS,
    naive::{self, Flow, Line, Naive, Rot, Slip, Told},
};
use crate::store::{
    Append, Begin, Begun, Claim, Damage, Digest, Entry, Fence, Finding, Head, IdempotencyKey,
    Lease, Life, Now, Payload, Record, Retention, Sealed, Settled, Status, StepId, StoreError,
    Ticket, WorkflowId,
    ledger::{self, Decided, Slot},
    memory::Kept,
};

#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Shared,
    Take {
        owner: usize,
        ttl: u64,
    },
    /// By any lease that was ever told to anybody, of whatever workflow.
    Held(Index),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    Nothing,
    Newest,
    Version(u64),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Done,
    Failed,
    Withdrawn,
    DoneAndEnd,
}

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Acquire {
        flow: usize,
        owner: usize,
        ttl: u64,
    },
    Renew {
        lease: Index,
        ttl: u64,
    },
    Release {
        lease: Index,
    },
    Claim {
        owner: usize,
        ttl: u64,
    },
    Begin {
        flow: usize,
        step: usize,
        request: u8,
        by: By,
        intent: bool,
        restart: Expect,
    },
    Complete {
        ticket: Index,
        outcome: Outcome,
    },
    Append {
        flow: usize,
        step: usize,
        by: By,
        expect: Expect,
    },
    Finish {
        flow: usize,
        by: By,
    },
    Delete {
        flow: usize,
    },
    Prune,
    /// To the last flow, which is forgotten before, as if it were pruned, or not.
    Fork {
        from: usize,
        at: Index,
        forget: bool,
    },
    Pass(u64),
    Crash,
    Rot {
        flow: usize,
        version: Index,
        lose: bool,
    },
}

type Decision<A, T> = fn(Option<Head>, Slot, A, Now, u64) -> Result<Decided<T>, StoreError>;

/// The decisions under test: the ledger's, or some with something wrong.
#[derive(Clone, Copy)]
pub(super) struct Decide {
    pub(super) renew: fn(Option<Head>, &Lease, Duration, Now) -> Result<Decided<Lease>, StoreError>,
    pub(super) claim: Decision<(Arc<str>, Duration), Option<Lease>>,
    pub(super) begin: Decision<Begin, Begun>,
    pub(super) complete: Decision<(Ticket, Entry), Settled>,
    pub(super) append: Decision<Append, Sealed>,
}

impl Default for Decide {
    fn default() -> Self {
        Self {
            renew: ledger::renew,
            claim: |head, _, (owner, ttl), now, next| ledger::claim(head, &owner, ttl, now, next),
            begin: |head, slot, begin, now, next| ledger::begin(head, slot, &begin, now, next),
            complete: |head, slot, (ticket, entry), now, next| {
                ledger::complete(head, slot, &ticket, entry, now, next, &RETENTION)
            },
            append: |head, slot, append, now, next| {
                ledger::append(head, slot, append, now, next, &RETENTION)
            },
        }
    }
}

pub(super) const RETENTION: Retention = Retention {
    versions: std::num::NonZeroU64::new(3).expect("3 is not 0"),
    failures: true,
    ended: Some(Duration::from_millis(60)),
    open: Some(Duration::from_millis(200)),
};

const NAMESPACE: &str = "shop";

pub(super) struct Machine {
    kept: Kept,
    naive: Naive,
    decide: Decide,
    leases: Vec<Lease>,
    tickets: Vec<(Ticket, Slip)>,
    /// The newest epoch that was granted of each workflow, and of all.
    granted: [u64; FLOWS],
    epochs: BTreeSet<u64>,
    /// Whose keys they are: no two of the same, and never another for the same.
    keys: BTreeMap<(usize, u64, usize), IdempotencyKey>,
    /// Where copies come from: the n-th fork.
    lineages: BTreeMap<Digest, u64>,
    values: u64,
}

fn id(flow: usize) -> WorkflowId {
    WorkflowId::new(NAMESPACE, flow.to_string())
}

fn step(step: usize) -> StepId {
    StepId::new(step.to_string())
}

fn owner(owner: usize) -> Arc<str> {
    owner.to_string().into()
}

fn refusal(error: &StoreError) -> &'static str {
    match error {
        StoreError::Fenced { .. } => "fenced",
        StoreError::Deleted { .. } => "deleted",
        StoreError::Held { .. } => "held",
        StoreError::Stale { .. } => "stale",
        StoreError::NotFound { .. } => "not found",
        StoreError::Exists { .. } => "exists",
        StoreError::Corrupt { .. } => "corrupt",
        StoreError::Invalid { .. } => "invalid",
        _ => "another refusal",
    }
}

fn told<T>(result: Result<T, StoreError>, told: impl FnOnce(T) -> Told) -> Told {
    match result {
        Ok(reply) => told(reply),
        Err(error) => Told::Refused(refusal(&error)),
    }
}

impl Machine {
    pub(super) fn new(decide: Decide) -> Self {
        Self {
            kept: Kept::new(RETENTION),
            naive: Naive::default(),
            decide,
            leases: Vec::new(),
            tickets: Vec::new(),
            granted: [0; FLOWS],
            epochs: BTreeSet::new(),
            keys: BTreeMap::new(),
            lineages: BTreeMap::new(),
            values: 0,
        }
    }

    fn now(&self) -> Now {
        let Naive { boot, clock, wall, .. } = self.naive;
        Now { boot, clock, wall }
    }

    /// Does one operation with both.
    pub(super) fn act(&mut self, operation: &Operation) -> Result<(), String> {
        let now = self.now();
        self.values += 1;
        let value = self.values;
        let (found, expected) = match *operation {
            Operation::Pass(time) => {
                self.naive.pass(time);
                return Ok(());
            }
            Operation::Crash => {
                self.naive.crash();
                return Ok(());
            }
            Operation::Rot { flow, version, lose } => {
                self.rot(flow, version, lose);
                return Ok(());
            }
            Operation::Fork { from, at, forget } => {
                if forget {
                    self.naive.flows[FLOWS - 1] = None;
                    self.kept.workflows.remove(&id(FLOWS - 1));
                }
                // Mostly of a version that there is.
                let latest = self.naive.flows[from].as_ref().map_or(0, Flow::latest);
                let at = at.index(latest as usize + 2) as u64;
                return self.fork(from, at, now);
            }
            Operation::Acquire { flow, owner: who, ttl } => {
                let workflow = id(flow);
                let lease = self.kept.decide(&workflow, None, now, |head, _, now, next, _| {
                    ledger::acquire(head, &workflow, &owner(who), millis(ttl), now, next)
                });
                let found = self.granted(lease)?;
                (found, self.naive.act(|all| all.acquire(flow, who, ttl)))
            }
            Operation::Claim { owner: who, ttl } => {
                let claim = self.decide.claim;
                let (flow, expected) = self.naive.claim(who, ttl);
                // The choice among the free is the engine's; here it is what is decided of one.
                let Some(flow) = flow else { return self.nothing_to_claim(now) };
                let lease = self.kept.decide(&id(flow), None, now, |head, slot, now, next, _| {
                    claim(head, slot, (owner(who), millis(ttl)), now, next)
                });
                let lease = lease.and_then(|lease| {
                    lease.ok_or(StoreError::NotFound { workflow: id(flow), version: None })
                });
                (self.granted(lease)?, expected)
            }
            Operation::Renew { lease, ttl } => {
                let Some(lease) = self.lease(lease) else { return Ok(()) };
                let renew = self.decide.renew;
                let found = self.kept.decide(&lease.workflow, None, now, |head, _, now, _, _| {
                    renew(head, &lease, millis(ttl), now)
                });
                let found = told(found, |lease| Told::Epoch(lease.epoch));
                let flow = flow(&lease.workflow);
                (found, self.naive.act(|all| all.renew(flow, lease.epoch, ttl)))
            }
            Operation::Release { lease } => {
                let Some(lease) = self.lease(lease) else { return Ok(()) };
                let found = self.kept.decide(&lease.workflow, None, now, |head, _, _, _, _| {
                    Ok(ledger::release(head, &lease))
                });
                let flow = flow(&lease.workflow);
                let found = told(found, |()| Told::Ok);
                (found, self.naive.act(|all| all.release(flow, lease.epoch)))
            }
            Operation::Begin { flow, step: at, request, by, intent, restart } => {
                let Some((claim, by)) = self.by(by) else { return Ok(()) };
                let restart = self.expected(flow, at, restart);
                let asked = Begin {
                    workflow: id(flow),
                    step: step(at),
                    fingerprint: Digest::of(&[request]),
                    claim,
                    intent,
                    restart,
                    mark: None,
                };
                let begin = self.decide.begin;
                let begun = self.kept.decide(
                    &id(flow),
                    Some(&step(at)),
                    now,
                    |head, slot, now, next, _| begin(head, slot, asked, now, next),
                );
                let expected =
                    self.naive.act(|all| all.begin(flow, at, request, by, intent, restart));
                (self.begun(begun, flow, at, request)?, expected)
            }
            Operation::Complete { ticket, outcome } => {
                if self.tickets.is_empty() {
                    return Ok(());
                }
                let (ticket, slip) = ticket.get(&self.tickets).clone();
                let (status, finish) = match outcome {
                    Outcome::Done => (Status::Done, false),
                    Outcome::Failed => (Status::Failed, false),
                    Outcome::Withdrawn => (Status::Withdrawn, false),
                    Outcome::DoneAndEnd => (Status::Done, true),
                };
                let entry = Entry { status, payload: payload(value), finish };
                let complete = self.decide.complete;
                let (workflow, step) = (ticket.workflow.clone(), ticket.step.clone());
                let settled =
                    self.kept.decide(&workflow, Some(&step), now, |head, slot, now, next, _| {
                        complete(head, slot, (ticket, entry), now, next)
                    });
                let found = told(settled, |settled| Told::Settled {
                    version: settled.record.version,
                    ours: settled.ours,
                });
                let expected =
                    self.naive.act(|all| all.complete(&slip, status, value, finish, &RETENTION));
                if let (Told::Settled { ours: true, .. }, Fence::Epoch(epoch)) =
                    (&found, slip.fence)
                {
                    self.newest(slip.flow, epoch)?;
                }
                (found, expected)
            }
            Operation::Append { flow, step: at, by, expect } => {
                let Some((claim, by)) = self.by(by) else { return Ok(()) };
                let expect = self.expected(flow, at, expect);
                let asked = Append {
                    workflow: id(flow),
                    step: step(at),
                    claim,
                    expect,
                    parent: expect.filter(|version| *version > 0),
                    fingerprint: Digest::of(&[0]),
                    entry: Entry::state(payload(value)),
                };
                let append = self.decide.append;
                let found = self.kept.decide(
                    &id(flow),
                    Some(&step(at)),
                    now,
                    |head, slot, now, next, _| append(head, slot, asked, now, next),
                );
                let found = told(found, |record| Told::Version(record.version));
                let expected =
                    self.naive.act(|all| all.append(flow, at, by, expect, value, &RETENTION));
                if let (Told::Version(_), naive::By::Held { epoch }) = (&found, by) {
                    self.newest(flow, epoch)?;
                }
                (found, expected)
            }
            Operation::Finish { flow, by } => {
                let Some((claim, by)) = self.by(by) else { return Ok(()) };
                let found = self.kept.decide(&id(flow), None, now, |head, _, now, next, _| {
                    ledger::finish(head, &id(flow), &claim, now, next)
                });
                let expected = self.naive.act(|all| all.finish(flow, by));
                (told(found, |()| Told::Ok), expected)
            }
            Operation::Delete { flow } => {
                let found = told(self.kept.delete(&id(flow), now), |()| Told::Ok);
                (found, self.naive.act(|all| all.delete(flow)))
            }
            Operation::Prune => {
                let doubt =
                    |flow| self.kept.workflows.get(&id(flow)).map_or(0, |kept| kept.head.pending);
                let in_doubt = std::array::from_fn(doubt);
                let found = Told::Pruned(self.kept.prune(Some(NAMESPACE), now).workflows);
                (found, self.naive.act(|all| all.prune(in_doubt, &RETENTION)))
            }
        };
        if found != expected {
            return Err(format!("told {found:?}, where {expected:?} is right"));
        }
        // An epoch may have been granted with any write.
        for flow in 0..FLOWS {
            if let Some(kept) = self.kept.workflows.get(&id(flow)) {
                self.granted[flow] = self.granted[flow].max(kept.head.epoch);
            }
        }
        Ok(())
    }

    fn nothing_to_claim(&mut self, now: Now) -> Result<(), String> {
        match self.kept.claim(NAMESPACE, &owner(0), millis(1), now) {
            Ok(None) => Ok(()),
            other => Err(format!("nothing is free, and {other:?} was claimed")),
        }
    }

    fn lease(&self, index: Index) -> Option<Lease> {
        (!self.leases.is_empty()).then(|| index.get(&self.leases).clone())
    }

    fn by(&self, by: By) -> Option<(Claim, naive::By)> {
        Some(match by {
            By::Shared => (Claim::Shared, naive::By::Shared),
            By::Take { owner: who, ttl } => (
                Claim::Take { owner: owner(who), ttl: millis(ttl) },
                naive::By::Take { owner: who, ttl },
            ),
            By::Held(index) => {
                let epoch = self.lease(index)?.epoch;
                (Claim::Held { epoch }, naive::By::Held { epoch })
            }
        })
    }

    fn expected(&self, flow: usize, step: usize, expect: Expect) -> Option<u64> {
        match expect {
            Expect::Nothing => None,
            Expect::Version(version) => Some(version),
            Expect::Newest => {
                let newest = self.naive.flows[flow].as_ref().and_then(|flow| flow.newest(step));
                Some(newest.unwrap_or(0))
            }
        }
    }

    /// Whoever writes under a lease must be the last who was granted one.
    fn newest(&self, flow: usize, epoch: u64) -> Result<(), String> {
        match self.granted[flow] {
            newest if newest == epoch => Ok(()),
            newest => Err(format!("epoch {epoch} wrote after {newest} was granted")),
        }
    }

    fn granted(&mut self, lease: Result<Lease, StoreError>) -> Result<Told, String> {
        if let Ok(lease) = &lease {
            let flow = flow(&lease.workflow);
            let newer = self.epochs.last().is_none_or(|newest| lease.epoch > *newest);
            if !newer && lease.epoch != self.granted[flow] {
                return Err(format!("epoch {} was handed out twice", lease.epoch));
            }
            self.epochs.insert(lease.epoch);
            self.granted[flow] = lease.epoch;
            self.leases.push(lease.clone());
        }
        Ok(told(lease, |lease| Told::Epoch(lease.epoch)))
    }

    fn begun(
        &mut self,
        begun: Result<Begun, StoreError>,
        flow: usize,
        at: usize,
        request: u8,
    ) -> Result<Told, String> {
        if let Ok(Begun::Fresh(ticket)) = &begun {
            let slip = Slip {
                flow,
                step: at,
                request,
                attempt: ticket.attempt,
                fence: ticket.fence,
                intent: ticket.intent,
            };
            self.tickets.push((ticket.clone(), slip));
            if let Fence::Epoch(epoch) = ticket.fence {
                self.epochs.insert(epoch);
                // What was taken by beginning may be used to hold it.
                let lease = Lease { workflow: id(flow), epoch, owner: owner(0), ttl: millis(1) };
                if !self.leases.contains(&lease) {
                    self.leases.push(lease);
                }
            }
        }
        let key = match &begun {
            Ok(Begun::Fresh(ticket)) => Some(ticket.key),
            Ok(Begun::Pending { key, .. } | Begun::Damaged { key, .. }) => Some(*key),
            _ => None,
        };
        let lineage = self.naive.flows[flow].as_ref().map_or(0, |flow| flow.lineage);
        if let Some(key) = key {
            let known = *self.keys.entry((flow, lineage, at)).or_insert(key);
            if known != key {
                return Err(format!("step {at} of {flow} has key {key} after {known}"));
            }
            if self.keys.values().filter(|other| **other == key).count() > 1 {
                return Err(format!("key {key} is that of two steps"));
            }
        }
        Ok(told(begun, |begun| match begun {
            Begun::Fresh(Ticket { attempt, intent, fence, .. }) => {
                Told::Fresh { attempt, intent, fence, lineage }
            }
            Begun::Completed { record } => Told::Completed(record.version),
            Begun::Failed { record } => Told::Failed(record.version),
            Begun::Pending { record, .. } => Told::Pending(record.version),
            Begun::Damaged { version, .. } => Told::Damaged(version),
            Begun::Mismatch { record } => Told::Mismatch(record.version),
        }))
    }

    fn rot(&mut self, at: usize, version: Index, lose: bool) {
        let Some(flow) = &mut self.naive.flows[at] else { return };
        let stored: Vec<u64> =
            (1..=flow.latest()).filter(|version| flow.stored(*version)).collect();
        let Some(kept) = self.kept.workflows.get_mut(&id(at)).filter(|_| !stored.is_empty()) else {
            return;
        };
        let version = *version.get(&stored);
        let line = &mut flow.lines[version as usize - 1];
        if lose {
            line.rot = Some(Rot::Lost);
            kept.records.remove(&version);
        } else if line.rot.is_none() {
            line.rot = Some(Rot::Flipped);
            if let Some(byte) = kept.records.get_mut(&version).and_then(|bytes| bytes.get_mut(70)) {
                *byte ^= 4;
            }
        }
    }

    /// A copy is the truth of then, or it is refused, and then with a reason.
    fn fork(&mut self, from: usize, at: u64, now: Now) -> Result<(), String> {
        let to = FLOWS - 1;
        let forked = self.kept.fork(&id(from), at, &id(to), now);
        let source = match (&self.naive.flows[from], &self.naive.flows[to]) {
            (None, _) => Err("not found"),
            (_, Some(_)) => Err("exists"),
            (Some(source), None) if source.life == Life::Deleted => Err("deleted"),
            (Some(source), None) if at == 0 || at > source.latest() => Err("not found"),
            (Some(source), None) => Ok(source),
        };
        let source = match (source, &forked) {
            (Err(expected), Err(error)) if refusal(error) == expected => return Ok(()),
            (Err(expected), told) => return Err(format!("told {told:?}, {expected} is right")),
            (Ok(source), _) => source,
        };
        let whole =
            (1..=at).all(|version| source.kept(version) && source.line(version).rot.is_none());
        let truth: Vec<u64> = {
            let steps: BTreeSet<usize> = source.lines.iter().map(|line| line.step).collect();
            let settled = |version: &u64| {
                let line = source.line(*version);
                line.rot.is_none() && !matches!(line.status, Status::Intent | Status::Withdrawn)
            };
            let newest = |step: usize| {
                (1..=at).rev().filter(|at| source.line(*at).step == step).find(settled)
            };
            let truth: BTreeSet<u64> = steps.into_iter().filter_map(newest).collect();
            truth.into_iter().collect()
        };
        if let Err(error) = forked {
            let expected = match source.line(at).rot {
                Some(_) if at >= source.floor => "corrupt",
                _ => "not found",
            };
            // Never without need: of what is all kept a copy can be made.
            return if !whole && refusal(&error) == expected {
                Ok(())
            } else {
                Err(format!("a copy of {truth:?} was refused by: {error}"))
            };
        }
        let rotten = source.lines.iter().any(|line| line.rot.is_some());
        let head = self.kept.workflows.get(&id(to)).ok_or("no copy was kept")?.head.clone();
        let forks = self.lineages.len() as u64;
        if self.lineages.insert(head.lineage, forks).is_some() {
            return Err("two copies have the same lineage".into());
        }
        let mut lines = Vec::new();
        for sealed in self.stored(to)?.into_values().flatten() {
            let parent = sealed.parent.ok_or("a copy says not of what")?;
            if !rotten && !truth.contains(&parent) || parent > at {
                return Err(format!("version {parent} was copied, where {truth:?} was the truth"));
            }
            let line = source.line(parent);
            let copied = Line { parent: Some(parent), epoch: 0, rot: None, ..line.clone() };
            same_line(&sealed, &copied)?;
            lines.push(copied);
        }
        if !rotten && lines.len() != truth.len() {
            return Err(format!("{} records were copied of {truth:?}", lines.len()));
        }
        // A label that no epoch is.
        self.naive.forked(to, lines, u64::MAX - forks);
        Ok(())
    }

    /// What is stored of a workflow; `None` for what cannot be opened.
    fn stored(&self, flow: usize) -> Result<BTreeMap<u64, Option<Sealed>>, String> {
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

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn flow(workflow: &WorkflowId) -> usize {
    workflow.workflow.parse().expect("they are numbered")
}

fn payload(value: u64) -> Payload {
    Payload { codec: 0, schema: 0, bytes: value.to_le_bytes().to_vec() }
}

fn same_line(sealed: &Sealed, line: &Line) -> Result<(), String> {
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
