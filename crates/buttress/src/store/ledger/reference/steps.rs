//! What becomes of a step, and of a state, as the rules say.

use super::{
    lines::Line,
    naive::{Answer, By, Naive, Slip, Told},
};
use crate::store::{Fence, Life, Retention, Status};

impl Naive {
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
}
