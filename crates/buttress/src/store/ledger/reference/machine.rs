//! The ledger and the reference, side by side.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::sample::Index;

use super::{
    FLOWS,
    lines::{Flow, Rot},
    naive::{self, Naive, Slip, Told},
    operation::{By, Expect, Operation, Outcome},
    told::told,
};
use crate::store::{
    Append, Begin, Begun, Claim, Digest, Entry, Fence, Head, IdempotencyKey, Lease, Now, Payload,
    Retention, Sealed, Settled, Status, StepId, StoreError, Ticket, WorkflowId,
    ledger::{self, Decided, Slot},
    memory::Kept,
};

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
    pub(super) kept: Kept,
    pub(super) naive: Naive,
    pub(super) decide: Decide,
    pub(super) leases: Vec<Lease>,
    pub(super) tickets: Vec<(Ticket, Slip)>,
    /// The newest epoch that was granted of each workflow, and of all.
    pub(super) granted: [u64; FLOWS],
    pub(super) epochs: BTreeSet<u64>,
    /// Whose keys they are: no two of the same, and never another for the same.
    pub(super) keys: BTreeMap<(usize, u64, usize), IdempotencyKey>,
    /// Where copies come from: the n-th fork.
    pub(super) lineages: BTreeMap<Digest, u64>,
    pub(super) values: u64,
}

pub(super) fn id(flow: usize) -> WorkflowId {
    WorkflowId::new(NAMESPACE, flow.to_string())
}

pub(super) fn step(step: usize) -> StepId {
    StepId::new(step.to_string())
}

pub(super) fn owner(owner: usize) -> Arc<str> {
    owner.to_string().into()
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
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn flow(workflow: &WorkflowId) -> usize {
    workflow.workflow.parse().expect("they are numbered")
}

pub(super) fn payload(value: u64) -> Payload {
    Payload { codec: 0, schema: 0, bytes: value.to_le_bytes().to_vec() }
}
