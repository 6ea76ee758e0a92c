//! A workflow as a list of all that was ever written of it.

use crate::store::{Life, Status};

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
pub(super) struct Grip {
    pub(super) owner: usize,
    pub(super) until: u64,
    pub(super) boot: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) life: Life,
    pub(super) born: u64,
    pub(super) lineage: u64,
    pub(super) epoch: u64,
    pub(super) grip: Option<Grip>,
    /// All that was ever written, dropped or not.
    pub(super) lines: Vec<Line>,
    pub(super) floor: u64,
    pub(super) touched: u64,
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
