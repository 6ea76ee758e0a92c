//! The rules as one would tell them: a list of all that was ever written, and questions to the list.

use super::FLOWS;
use crate::store::{Fence, Life, Retention, Status};

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rot {
    Flipped,
    Lost,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) step: usize,
    pub(super) status: Status,
    pub(super) request: u8,
    pub(super) attempt: u32,
    pub(super) parent: Option<u64>,
    pub(super) epoch: u64,
    pub(super) value: u64,
    pub(super) rot: Option<Rot>,
}

#[derive(Clone, Copy, Debug)]
struct Grip {
    owner: usize,
    until: u64,
    boot: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) life: Life,
    pub(super) born: u64,
    pub(super) lineage: u64,
    pub(super) epoch: u64,
    grip: Option<Grip>,
    /// All that was ever written, dropped or not.
    pub(super) lines: Vec<Line>,
    pub(super) floor: u64,
    touched: u64,
}

impl Flow {
    pub(super) fn latest(&self) -> u64 {
        self.lines.len() as u64
    }

    pub(super) fn line(&self, version: u64) -> &Line {
        &self.lines[version as usize - 1]
    }

    pub(super) fn newest(&self, step: usize) -> Option<u64> {
        (1..=self.latest()).rev().find(|version| self.line(*version).step == step)
    }

    /// Whether it is to be kept, by retention.
    pub(super) fn kept(&self, version: u64) -> bool {
        version >= self.floor || self.newest(self.line(version).step) == Some(version)
    }

    /// Whether there are bytes of it: what rotted is not dropped, since nobody knows what it is.
    pub(super) fn stored(&self, version: u64) -> bool {
        match self.line(version).rot {
            None => self.kept(version),
            Some(Rot::Flipped) => true,
            Some(Rot::Lost) => false,
        }
    }

    pub(super) fn in_doubt(&self) -> usize {
        let steps = self.lines.iter().map(|line| line.step).max().map_or(0, |most| most + 1);
        let newest = (0..steps).filter_map(|step| self.newest(step));
        newest.filter(|version| self.line(*version).status == Status::Intent).count()
    }
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

type Answer = Result<Told, &'static str>;

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

    fn born(&mut self, leased: bool) -> Flow {
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

    fn alive(&self, flow: usize) -> Result<Option<&Flow>, &'static str> {
        match &self.flows[flow] {
            Some(flow) if flow.life == Life::Deleted => Err("deleted"),
            flow => Ok(flow.as_ref()),
        }
    }

    /// Refused while another has it.
    fn free_for(&self, flow: usize, owner: usize) -> Result<(), &'static str> {
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
    fn holds(&self, at: usize, epoch: u64) -> Result<(), &'static str> {
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
    fn admit(&mut self, at: usize, by: By) -> Result<Option<u64>, &'static str> {
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

    fn write(&mut self, at: usize, line: Line, finish: bool, epoch: Option<u64>) -> u64 {
        let wall = self.wall;
        let Some(flow) = &mut self.flows[at] else { return 0 };
        flow.lines.push(line);
        flow.touched = wall;
        flow.life = if finish { Life::Finished } else { Life::Open };
        if finish && epoch.is_some() {
            flow.grip = None;
        }
        flow.latest()
    }

    fn raise_floor(&mut self, at: usize, retention: &Retention) {
        if let Some(flow) = &mut self.flows[at] {
            let floor = (flow.latest() + 1).saturating_sub(retention.versions.get());
            flow.floor = flow.floor.max(floor);
        }
    }

    pub(super) fn begin(
        &mut self,
        at: usize,
        step: usize,
        request: u8,
        by: By,
        intent: bool,
        restart: Option<u64>,
    ) -> Answer {
        if let By::Held { epoch } = by {
            self.holds(at, epoch)?;
        }
        self.alive(at)?;
        let newest = self.flows[at].as_ref().and_then(|flow| flow.newest(step));
        let again = newest.is_some() && newest == restart;
        let mut attempt = 1;
        if let (Some(version), Some(flow)) = (newest, &self.flows[at]) {
            let line = flow.line(version);
            let doubtful = line.rot.is_some() || line.status == Status::Intent;
            if line.rot.is_none() && line.status != Status::Withdrawn && line.request != request {
                return Ok(Told::Mismatch(version));
            }
            if doubtful && intent && !again {
                if let By::Take { owner, .. } = by {
                    self.free_for(at, owner)?;
                }
                return Ok(match line.rot {
                    Some(_) => Told::Damaged(version),
                    None => Told::Pending(version),
                });
            }
            if line.rot.is_none() {
                match line.status {
                    Status::Done => return Ok(Told::Completed(version)),
                    Status::Failed => return Ok(Told::Failed(version)),
                    Status::State => return Ok(Told::Mismatch(version)),
                    Status::Intent | Status::Withdrawn => attempt = line.attempt + 1,
                }
            }
        }
        let existed = self.flows[at].is_some();
        // One that asks without writing leaves nothing.
        if !intent && !existed && matches!(by, By::Shared) {
            let fence = Fence::Born(None);
            return Ok(Told::Fresh { attempt, intent: None, fence, lineage: 0 });
        }
        let epoch = self.admit(at, by)?;
        let flow = self.flows[at].as_ref().ok_or("gone")?;
        let fence = epoch.map_or(Fence::Born(Some(flow.born)), Fence::Epoch);
        let lineage = flow.lineage;
        let intent = intent.then(|| {
            let line = Line {
                step,
                status: Status::Intent,
                request,
                attempt,
                parent: restart.filter(|_| again),
                epoch: epoch.unwrap_or(0),
                value: 0,
                rot: None,
            };
            self.write(at, line, false, epoch)
        });
        Ok(Told::Fresh { attempt, intent, fence, lineage })
    }

    pub(super) fn complete(
        &mut self,
        slip: &Slip,
        status: Status,
        value: u64,
        finish: bool,
        retention: &Retention,
    ) -> Answer {
        let Slip { flow: at, step, request, attempt, fence, intent } = *slip;
        if status == Status::Withdrawn && intent.is_none() {
            return Err("invalid");
        }
        let newest = self.flows[at].as_ref().and_then(|flow| flow.newest(step));
        let line = newest.zip(self.flows[at].as_ref()).map(|(at, flow)| flow.line(at).clone());
        let settles = |line: &Line| {
            line.rot.is_none()
                && line.request == request
                && match line.status {
                    Status::Done | Status::Failed => true,
                    Status::Withdrawn => intent.is_some() && line.parent == intent,
                    Status::Intent | Status::State => false,
                }
        };
        let settled = line.as_ref().is_some_and(settles);
        let there = self.flows[at].as_ref();
        let epoch = match fence {
            // The lease went with the end, by this very epoch.
            Fence::Epoch(epoch)
                if settled
                    && there
                        .is_some_and(|flow| flow.life == Life::Finished && flow.epoch == epoch)
                    && line.as_ref().is_some_and(|line| line.epoch == epoch) =>
            {
                Some(epoch)
            }
            Fence::Epoch(epoch) => {
                self.holds(at, epoch)?;
                Some(epoch)
            }
            Fence::Born(born) => {
                let found = self.alive(at)?.map(|flow| flow.born);
                if born.is_some() && born != found {
                    return Err("fenced");
                }
                None
            }
        };
        if let (true, Some(version)) = (settled, newest) {
            return Ok(Told::Settled { version, ours: false });
        }
        let mut parent = intent;
        match &line {
            None => {}
            // What rotted came after the intent, or it is the intent.
            Some(line) if line.rot.is_some() && intent.is_some() && intent != newest => {
                return Err("stale");
            }
            Some(line) if line.rot.is_some() => {}
            Some(line) if line.status == Status::Withdrawn && intent.is_none() => {}
            Some(line) if line.status == Status::Intent && line.request == request => {
                if intent.is_some() && intent != newest {
                    return Err("stale");
                }
                parent = newest;
            }
            Some(_) => return Err("stale"),
        }
        let ended = there.is_some_and(|flow| flow.life == Life::Finished) && epoch.is_none();
        if self.flows[at].is_none() {
            self.flows[at] = Some(self.born(false));
        }
        let epoch_or_none = epoch.unwrap_or(0);
        let line =
            Line { step, status, request, attempt, parent, epoch: epoch_or_none, value, rot: None };
        let version = self.write(at, line, finish, epoch);
        if let (true, Some(flow)) = (ended, &mut self.flows[at]) {
            flow.life = Life::Finished;
        }
        self.raise_floor(at, retention);
        Ok(Told::Settled { version, ours: true })
    }

    pub(super) fn append(
        &mut self,
        at: usize,
        step: usize,
        by: By,
        expect: Option<u64>,
        value: u64,
        retention: &Retention,
    ) -> Answer {
        let newest = self.flows[at].as_ref().and_then(|flow| flow.newest(step));
        let epoch = self.admit(at, by)?;
        if expect.is_some_and(|expect| expect != newest.unwrap_or(0)) {
            return Err("stale");
        }
        if let (Some(version), Some(flow)) = (newest, &self.flows[at]) {
            let line = flow.line(version);
            if line.rot.is_none() && line.status != Status::State {
                return Err("invalid");
            }
        }
        let line = Line {
            step,
            status: Status::State,
            request: 0,
            attempt: 1,
            parent: expect.filter(|version| *version > 0),
            epoch: epoch.unwrap_or(0),
            value,
            rot: None,
        };
        let version = self.write(at, line, false, epoch);
        self.raise_floor(at, retention);
        Ok(Told::Version(version))
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
