//! What comes next, without services, a store or a clock.

#[cfg(test)]
mod world;

use serde::{Deserialize, Serialize};

/// What can be done about a step once it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It has a compensation.
    Undoable,
    /// There is nothing to undo: it reads, or what it leaves behind harms nobody.
    Harmless,
    /// It cannot be undone. It decides: before it everything can still be undone, after it the saga
    /// goes forward only.
    Pivot,
    /// It comes after the last that may fail, and is tried until it is done.
    Retriable,
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Standing {
    /// It was not begun.
    NotReached,
    /// It is done.
    Done,
    /// It failed: nothing came of it, and nothing will.
    Failed,
    /// It was begun, and nobody knows what came of it.
    InDoubt,
    /// It was done, and its compensation was done.
    Compensated,
    /// It was done, it should be undone, and its compensation failed too often or for good.
    CompensationStuck,
    /// It must be done, and failed too often or for good.
    Stuck,
}

/// What became of a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// All steps are done. It is finished.
    Completed,
    /// A step failed, and all that was done before it was undone. It is finished.
    Compensated,
    /// A step is in doubt. Nothing before it is undone until that is known.
    InDoubt,
    /// A compensation, or a step that must be done, does not succeed.
    Stuck,
    /// It could not go on here: see the error.
    Interrupted,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// Do a step, or look up what came of it.
    Act(usize),
    /// Write down that the saga turns back because of this step. From then on it does, whoever resumes it.
    Turn(usize),
    /// Undo a step, or look up that it was undone.
    Undo(usize),
    /// Write down that it is over.
    End(Outcome),
    /// Leave it as it is, to be resumed.
    Stop(Outcome),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum News {
    /// The step is done.
    Done,
    /// The step failed.
    Failed,
    /// Nobody knows what came of the step.
    InDoubt,
    /// It is written down that the saga turns back.
    Turned,
    /// The step was undone.
    Undone,
    /// The step cannot be undone.
    NotUndone,
}

/// The steps of a saga and how they stand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    steps: Vec<(Kind, Standing)>,
    turned: bool,
}

impl Plan {
    /// A saga of these steps, of which nothing is known. What was done before is looked up as it is
    /// gone through again.
    ///
    /// `turned`: because of which step it turned back, if that was written down.
    pub fn new(kinds: impl IntoIterator<Item = Kind>, turned: Option<usize>) -> Self {
        let mut steps: Vec<_> =
            kinds.into_iter().map(|kind| (kind, Standing::NotReached)).collect();
        let turn = turned.and_then(|step| steps.get_mut(step));
        let turned = turn.is_some();
        if let Some((_, standing)) = turn {
            *standing = Standing::Failed;
        }
        Self { steps, turned }
    }

    /// How the steps stand.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        self.steps.iter().map(|(_, standing)| *standing)
    }

    /// What is to be done next.
    pub fn next(&self) -> Next {
        if self.standings().any(|standing| standing == Standing::InDoubt) {
            return Next::Stop(Outcome::InDoubt);
        }
        let stuck = |standing| matches!(standing, Standing::Stuck | Standing::CompensationStuck);
        if self.standings().any(stuck) {
            return Next::Stop(Outcome::Stuck);
        }
        let place = |wanted| self.standings().position(|standing| standing == wanted);
        let failed = place(Standing::Failed);
        let open = place(Standing::NotReached).filter(|open| failed.is_none_or(|at| *open < at));
        match (open, failed) {
            (Some(open), _) => Next::Act(open),
            (None, None) => Next::End(Outcome::Completed),
            (None, Some(failed)) if !self.turned => Next::Turn(failed),
            (None, Some(_)) => {
                let undone =
                    self.steps.iter().rposition(|step| *step == (Kind::Undoable, Standing::Done));
                undone.map_or(Next::End(Outcome::Compensated), Next::Undo)
            }
        }
    }

    /// Takes note of what came of a step.
    ///
    /// | | done | failed | in doubt | undone | not undone |
    /// |---|---|---|---|---|---|
    /// | not reached | done | failed; stuck if it is retriable | in doubt | – | – |
    /// | done | – | – | – | compensated | compensation stuck |
    ///
    /// All else stays as it is.
    pub fn hear(&mut self, step: usize, news: News) {
        if news == News::Turned {
            self.turned = true;
            return;
        }
        let Some((kind, standing)) = self.steps.get_mut(step) else { return };
        *standing = match (*standing, news) {
            (Standing::NotReached, News::Done) => Standing::Done,
            (Standing::NotReached, News::Failed) if *kind == Kind::Retriable => Standing::Stuck,
            (Standing::NotReached, News::Failed) => Standing::Failed,
            (Standing::NotReached, News::InDoubt) => Standing::InDoubt,
            (Standing::Done, News::Undone) => Standing::Compensated,
            (Standing::Done, News::NotUndone) => Standing::CompensationStuck,
            (
                Standing::Done
                | Standing::NotReached
                | Standing::Failed
                | Standing::InDoubt
                | Standing::Compensated
                | Standing::CompensationStuck
                | Standing::Stuck,
                News::Done
                | News::Failed
                | News::InDoubt
                | News::Undone
                | News::NotUndone
                | News::Turned,
            ) => *standing,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind::*, *};

    fn heard(kinds: &[Kind], news: &[(usize, News)]) -> Plan {
        let mut plan = Plan::new(kinds.iter().copied(), None);
        news.iter().for_each(|(step, news)| plan.hear(*step, *news));
        plan
    }

    #[test]
    fn goes_forward_to_the_end() {
        let kinds = [Undoable, Pivot, Retriable];
        assert_eq!(heard(&kinds, &[]).next(), Next::Act(0));
        assert_eq!(heard(&kinds, &[(0, News::Done)]).next(), Next::Act(1));
        let all = [(0, News::Done), (1, News::Done), (2, News::Done)];
        assert_eq!(heard(&kinds, &all).next(), Next::End(Outcome::Completed));
        assert_eq!(heard(&[], &[]).next(), Next::End(Outcome::Completed));
    }

    #[test]
    fn turns_back_once_that_is_written() {
        let kinds = [Undoable, Harmless, Undoable, Pivot];
        let mut news = vec![(0, News::Done), (1, News::Done), (2, News::Done), (3, News::Failed)];
        assert_eq!(heard(&kinds, &news).next(), Next::Turn(3));
        news.push((3, News::Turned));
        assert_eq!(heard(&kinds, &news).next(), Next::Undo(2));
        news.push((2, News::Undone));
        assert_eq!(heard(&kinds, &news).next(), Next::Undo(0));
        news.push((0, News::NotUndone));
        assert_eq!(heard(&kinds, &news).next(), Next::Stop(Outcome::Stuck));
    }

    #[test]
    fn one_that_turned_back_looks_up_what_was_done_first() {
        let mut plan = Plan::new([Undoable, Undoable, Undoable], Some(2));
        for step in [0, 1] {
            assert_eq!(plan.next(), Next::Act(step));
            plan.hear(step, News::Done);
        }
        // The step that failed is not tried again.
        assert_eq!(plan.next(), Next::Undo(1));
    }

    #[test]
    fn nothing_is_undone_past_a_step_in_doubt() {
        let plan = heard(&[Undoable, Undoable], &[(0, News::Done), (1, News::InDoubt)]);
        assert_eq!(plan.next(), Next::Stop(Outcome::InDoubt));
    }

    #[test]
    fn after_the_pivot_there_is_no_way_back() {
        let news = [(0, News::Done), (1, News::Done), (2, News::Failed)];
        let plan = heard(&[Undoable, Pivot, Retriable], &news);
        assert_eq!(plan.next(), Next::Stop(Outcome::Stuck));
        assert_eq!(plan.standings().last(), Some(Standing::Stuck));
    }
}
