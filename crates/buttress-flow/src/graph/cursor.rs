//! What runs next: visits counted, bounds kept.

use super::plan::{Plan, Target};

/// How often nodes may be visited in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Each node.
    pub(super) visits: u32,
    /// All nodes together.
    pub(super) steps: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { visits: 25, steps: u32::MAX }
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A node, for the so-many-th time.
    Visit { node: usize, visit: u32 },
    /// Nothing: the state is the result.
    End,
    /// A node that was visited as often as is allowed.
    TooOften { node: usize, most: u32 },
    /// A node, when as many were visited as are allowed.
    TooMany { node: usize, most: u32 },
}

/// How far a run has come.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    /// One for each node.
    visits: Vec<u32>,
    steps: u32,
}

impl Cursor {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { visits: vec![0; plan.spots.len()], steps: 0 }
    }

    /// How many visits there were.
    pub(super) const fn steps(&self) -> u32 {
        self.steps
    }

    /// Follows an edge, if that is allowed. What is refused is not counted.
    pub(super) fn follow(&mut self, target: Target, bounds: Bounds) -> Next {
        let Target::Node(node) = target else { return Next::End };
        let Some(visits) = self.visits.get_mut(node) else { return Next::End };
        // The first visit and the first step are always made.
        if *visits >= bounds.visits.max(1) {
            return Next::TooOften { node, most: bounds.visits.max(1) };
        }
        if self.steps >= bounds.steps.max(1) {
            return Next::TooMany { node, most: bounds.steps.max(1) };
        }
        *visits += 1;
        self.steps += 1;
        Next::Visit { node, visit: *visits }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::plan::tests::{edges, plan};

    proptest! {
        /// The reference keeps the whole path and counts in it.
        #[test]
        fn a_walk_is_a_path_that_ends_at_the_first_bound(
            edges in edges(),
            choices in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
            visits in 0..5_u32,
            steps in prop_oneof![Just(u32::MAX), 0..20_u32],
        ) {
            let Ok(plan) = plan(&edges) else { return Ok(()) };
            let bounds = Bounds { visits, steps };
            let mut cursor = Cursor::new(&plan);
            let mut path = Vec::new();
            let mut target = Target::Node(plan.start);
            for choice in choices {
                let before = path.len() as u32;
                let next = cursor.follow(target, bounds);
                prop_assert_eq!(cursor.steps(), before + u32::from(matches!(next, Next::Visit { .. })));
                let Target::Node(node) = target else {
                    prop_assert_eq!(next, Next::End);
                    return Ok(());
                };
                let visited = path.iter().filter(|visited| **visited == node).count() as u32;
                if visited > 0 && visited >= visits {
                    prop_assert_eq!(next, Next::TooOften { node, most: visits.max(1) });
                    return Ok(());
                }
                if before > 0 && before >= steps {
                    prop_assert_eq!(next, Next::TooMany { node, most: steps.max(1) });
                    return Ok(());
                }
                prop_assert_eq!(next, Next::Visit { node, visit: visited + 1 });
                path.push(node);
                let targets: Vec<_> = plan.exits[node].targets().collect();
                target = *choice.get(&targets);
            }
        }
    }
}
