//! The rules as one would tell them, of who may write: questions to a list of all that was ever written.

use super::{
    FLOWS,
    lines::{Flow, Grip, Line},
};
use crate::store::{Fence, Life, Retention};

/// What an operation is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Fresh { attempt: u32, intent: Option<u64>, fence: Fence, lineage: u64 },
    Completed(u64),
    Failed(u64),
    Pending(u64),
    Damaged(u64),
    Mismatch(u64),
    Epoch(u64),
    Nothing,
    Settled { version: u64, ours: bool },
    Version(u64),
    Ok,
    Pruned(u64),
    Refused(&'static str),
}

/// By what right somebody writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Shared,
    Take { owner: usize, ttl: u64 },
    Held { epoch: u64 },
}
/// What a ticket says, but for what nobody decides by.
#[derive(Clone, Debug)]
pub(super) struct Slip {
    pub(super) flow: usize,
    pub(super) step: usize,
    pub(super) request: u8,
    pub(super) attempt: u32,
    pub(super) fence: Fence,
    pub(super) intent: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Naive {
    pub(super) flows: [Option<Flow>; FLOWS],
    /// The last epoch that was handed out.
    epoch: u64,
    pub(super) boot: u64,
    pub(super) clock: u64,
    pub(super) wall: u64,
}

pub(super) type Answer = Result<Told, &'static str>;

impl Naive {
    /// Does an operation, whole or not at all.
    pub(super) fn act(&mut self, operation: impl FnOnce(&mut Self) -> Answer) -> Told {
        let mut after = self.clone();
        match operation(&mut after) {
            Ok(told) => {
                *self = after;
                told
            }
            Err(refusal) => Told::Refused(refusal),
        }
    }

    pub(super) fn pass(&mut self, time: u64) {
        self.clock += time;
        self.wall += time;
    }

    /// All processes die, and the clock of the leases starts anew.
    pub(super) fn crash(&mut self) {
        self.boot += 1;
        self.clock = 0;
    }

    fn next(&mut self) -> u64 {
        self.epoch += 1;
        self.epoch
    }

    fn in_force(&self, grip: &Grip) -> bool {
        grip.boot == self.boot && grip.until > self.clock
    }

    pub(super) fn born(&mut self, leased: bool) -> Flow {
        let born = self.next();
        Flow {
            life: Life::Open,
            born,
            lineage: if leased { born } else { 0 },
            epoch: if leased { born } else { 0 },
            grip: None,
            lines: Vec::new(),
            floor: 1,
            touched: 0,
        }
    }

    pub(super) fn alive(&self, flow: usize) -> Result<Option<&Flow>, &'static str> {
        match &self.flows[flow] {
            Some(flow) if flow.life == Life::Deleted => Err("deleted"),
            flow => Ok(flow.as_ref()),
        }
    }

    /// Refused while another has it.
    pub(super) fn free_for(&self, flow: usize, owner: usize) -> Result<(), &'static str> {
        let grip = self.flows[flow].as_ref().and_then(|flow| flow.grip.as_ref());
        match grip {
            Some(grip) if self.in_force(grip) && grip.owner != owner => Err("held"),
            _ => Ok(()),
        }
    }

    pub(super) fn acquire(&mut self, at: usize, owner: usize, ttl: u64) -> Answer {
        self.alive(at)?;
        self.free_for(at, owner)?;
        let mut flow = match self.flows[at].take() {
            Some(mut flow) => {
                let mine =
                    flow.grip.is_some_and(|grip| grip.owner == owner && grip.boot == self.boot);
                if !mine {
                    flow.epoch = self.next();
                    flow.touched = self.wall;
                }
                flow
            }
            None => Flow { touched: self.wall, ..self.born(true) },
        };
        flow.grip = Some(Grip { owner, until: self.clock + ttl, boot: self.boot });
        let epoch = flow.epoch;
        self.flows[at] = Some(flow);
        Ok(Told::Epoch(epoch))
    }

    pub(super) fn claim(&mut self, owner: usize, ttl: u64) -> (Option<usize>, Told) {
        let free = |flow: &Flow| {
            flow.life == Life::Open && !flow.grip.as_ref().is_some_and(|grip| self.in_force(grip))
        };
        let free = (0..self.flows.len())
            .filter(|at| self.flows[*at].as_ref().is_some_and(free))
            .min_by_key(|at| self.flows[*at].as_ref().map(|flow| flow.touched));
        let Some(at) = free else { return (None, Told::Nothing) };
        if let Some(flow) = &mut self.flows[at] {
            flow.grip = None;
        }
        (Some(at), self.act(|all| all.acquire(at, owner, ttl)))
    }

    /// The right of one who says to hold it.
    pub(super) fn holds(&self, at: usize, epoch: u64) -> Result<(), &'static str> {
        match self.alive(at)? {
            Some(flow) if flow.epoch == epoch && flow.grip.is_some() => Ok(()),
            _ => Err("fenced"),
        }
    }

    pub(super) fn renew(&mut self, at: usize, epoch: u64, ttl: u64) -> Answer {
        self.holds(at, epoch)?;
        let (clock, boot) = (self.clock, self.boot);
        let grip = self.flows[at].as_mut().and_then(|flow| flow.grip.as_mut()).ok_or("fenced")?;
        (grip.until, grip.boot) = (clock + ttl, boot);
        Ok(Told::Epoch(epoch))
    }

    pub(super) fn release(&mut self, at: usize, epoch: u64) -> Answer {
        if self.holds(at, epoch).is_ok()
            && let Some(flow) = &mut self.flows[at]
        {
            flow.grip = None;
        }
        Ok(Told::Ok)
    }

    /// Lets a writer in, and says under which epoch it writes; the workflow is there afterwards.
    pub(super) fn admit(&mut self, at: usize, by: By) -> Result<Option<u64>, &'static str> {
        match by {
            By::Held { epoch } => self.holds(at, epoch).map(|()| Some(epoch)),
            By::Take { owner, ttl } => match self.acquire(at, owner, ttl)? {
                Told::Epoch(epoch) => Ok(Some(epoch)),
                _ => Err("no epoch"),
            },
            By::Shared => {
                if self.alive(at)?.is_none() {
                    self.flows[at] = Some(self.born(false));
                }
                Ok(None)
            }
        }
    }

    pub(super) fn finish(&mut self, at: usize, by: By) -> Answer {
        if let (By::Held { epoch }, Some(flow)) = (by, &self.flows[at])
            && flow.life == Life::Finished
            && flow.epoch == epoch
            && flow.grip.is_none()
        {
            return Ok(Told::Ok);
        }
        let epoch = self.admit(at, by)?;
        let wall = self.wall;
        if let Some(flow) = &mut self.flows[at] {
            (flow.life, flow.touched) = (Life::Finished, wall);
            if epoch.is_some() {
                flow.grip = None;
            }
        }
        Ok(Told::Ok)
    }

    pub(super) fn delete(&mut self, at: usize) -> Answer {
        self.alive(at)?.ok_or("not found")?;
        let (next, wall) = (self.next(), self.wall);
        if let Some(flow) = &mut self.flows[at] {
            (flow.life, flow.epoch, flow.touched) = (Life::Deleted, next, wall);
            flow.grip = None;
            flow.lines.clear();
        }
        Ok(Told::Ok)
    }

    /// `in_doubt`: how many steps are taken for being in doubt.
    pub(super) fn prune(&mut self, in_doubt: [u32; FLOWS], retention: &Retention) -> Answer {
        let mut pruned = 0;
        for (at, in_doubt) in in_doubt.into_iter().enumerate() {
            let Some(flow) = &self.flows[at] else { continue };
            let most = match flow.life {
                Life::Open => retention.open,
                Life::Finished | Life::Deleted => retention.ended,
            };
            let old = most.is_some_and(|most| {
                u128::from(self.wall.saturating_sub(flow.touched)) > most.as_millis()
            });
            let held = flow.grip.as_ref().is_some_and(|grip| self.in_force(grip));
            if old && !held && (in_doubt == 0 || flow.life == Life::Deleted) {
                self.flows[at] = None;
                pruned += 1;
            }
        }
        Ok(Told::Pruned(pruned))
    }

    /// Takes over a copy that was found to be a true one.
    pub(super) fn forked(&mut self, to: usize, lines: Vec<Line>, lineage: u64) {
        let mut copy = self.born(false);
        (copy.lines, copy.touched, copy.lineage) = (lines, self.wall, lineage);
        self.flows[to] = Some(copy);
    }
}
