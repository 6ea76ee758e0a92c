//! What should hold of the world.

use buttress_flow::transaction::{Decision, Standing, protocol::State};

use super::world::World;

impl World {
    fn standings(&self) -> impl Iterator<Item = Standing> {
        self.participants.iter().map(|participant| participant.disk)
    }

    pub(crate) fn agreed(&self) -> bool {
        !(self.standings().any(|standing| standing == Standing::Committed)
            && self.standings().any(|standing| standing == Standing::Aborted))
    }

    pub(crate) fn decision_stands(&self) -> bool {
        self.first.is_none() || self.log.decision == self.first
    }

    pub(crate) fn told_what_is_written(&self) -> bool {
        (!self.told.commit || self.first == Some(Decision::Commit))
            && (!self.told.abort || self.first == Some(Decision::Abort))
            && self.standings().all(|standing| {
                standing != Standing::Committed || self.first == Some(Decision::Commit)
            })
    }

    pub(crate) fn ended_when_settled(&self) -> bool {
        let settled = |standing| matches!(standing, Standing::Committed | Standing::Aborted);
        self.log.ended.is_none() || self.standings().all(settled)
    }

    pub(crate) fn contrary_are_known(&self) -> bool {
        let Some((contrary, decision)) = self.log.ended.zip(self.log.decision) else { return true };
        let mut members = self.standings().enumerate();
        members.all(|(member, standing)| {
            contrary.has(member) == (standing.settled() != Some(decision))
        })
    }

    /// Whether there is something to do without a look at the messages.
    pub(crate) fn busy(&self) -> bool {
        let open = self.log.opened && self.log.ended.is_none();
        !self.late.is_empty()
            || self.desks.iter().any(|desk| {
                desk.writing.is_some()
                    || desk.state == State::Idle && (self.asks > 0 || open)
                    || matches!(desk.state, State::Preparing { .. })
            })
    }

    /// Nothing is left to do: it is ended, and everybody has done what was decided.
    pub(crate) fn settled(&self, heuristics: bool) -> bool {
        let done = |decision| {
            self.standings().all(|standing| standing.settled() == Some(decision) || heuristics)
        };
        !self.log.opened || self.log.ended.is_some() && self.log.decision.is_some_and(done)
    }

    pub(crate) fn everywhere(&self, done: Decision) -> bool {
        self.log.ended.is_some()
            && self.standings().all(|standing| standing.settled() == Some(done))
    }

    pub(crate) fn race(&self) -> bool {
        self.desks.iter().all(|desk| desk.state == State::Deciding)
    }

    pub(crate) fn ended_by_another(&self) -> bool {
        self.desks[0].crashed && self.ended_by == Some(1) && self.everywhere(Decision::Commit)
    }

    pub(crate) fn mixed(&self) -> bool {
        self.log.ended.is_some_and(|contrary| !contrary.is_empty())
    }
}
