//! A copy is the truth of then, or it is refused.

use std::collections::BTreeSet;

use super::{
    FLOWS,
    check::same_line,
    lines::Line,
    machine::{Machine, id},
    told::refusal,
};
use crate::store::{Life, Now, Status};

impl Machine {
    /// A copy is the truth of then, or it is refused, and then with a reason.
    pub(super) fn fork(&mut self, from: usize, at: u64, now: Now) -> Result<(), String> {
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
}
