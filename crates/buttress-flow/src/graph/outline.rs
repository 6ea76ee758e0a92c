//! A graph as names, and what was recorded of a run of another.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use buttress::store::{Status, StepId};
use serde::{Deserialize, Serialize};

use super::plan::{Exit, Plan, Shape, Target};

/// Each node and branch by its path, with the edges that leave it, label and target; none for a branch. Where
/// a graph begins stands at the path of its nodes without their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Outline(BTreeMap<String, Vec<(String, String)>>);

impl Outline {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut outline = Self::default();
        outline.add(plan, "");
        outline
    }

    fn add(&mut self, plan: &Plan, within: &str) {
        let name = |target: Target| plan.label(target).to_string();
        let first = (String::new(), name(Target::Node(plan.start)));
        self.0.insert(within.to_owned(), vec![first]);
        for (spot, exit) in plan.spots.iter().zip(&plan.exits) {
            let path = format!("{within}{}", spot.name);
            match &spot.shape {
                Shape::Single => {}
                Shape::Fan(branches) => {
                    let branches = branches.iter().map(|branch| format!("{path}/{branch}"));
                    self.0.extend(branches.map(|branch| (branch, Vec::new())));
                }
                Shape::Nested(inner) => self.add(inner, &format!("{path}/")),
            }
            let ways = match exit {
                Exit::Always(to) => vec![(String::new(), name(*to))],
                Exit::Labelled(ways) => {
                    ways.iter().map(|(label, to)| (label.clone(), name(*to))).collect()
                }
            };
            self.0.insert(path, ways);
        }
    }
}

/// What was recorded by a run of a graph that looked otherwise, and not come to yet.
///
/// A run that goes its old way comes to all of it before it comes to anything new.
#[derive(Debug)]
pub(super) struct Trail {
    /// Visits, each with the one that it is part of; with nothing if it is part of the whole.
    left: Mutex<BTreeMap<String, String>>,
}

impl Trail {
    /// `steps` are all of the workflow, oldest first. Those of others than the graph are known by names that
    /// it has neither now nor had when the run began.
    pub(super) fn new(
        graphs: [&Outline; 2],
        steps: impl IntoIterator<Item = (StepId, Status)>,
    ) -> Self {
        let newest: HashMap<StepId, Status> = steps.into_iter().collect();
        // What was withdrawn was not done.
        let counts = |status| matches!(status, Status::Intent | Status::Done | Status::Failed);
        let done = newest.into_iter().filter(|(_, status)| counts(*status));
        Self { left: Mutex::new(done.flat_map(|(step, _)| visits(graphs, &step)).collect()) }
    }

    /// Comes to a visit, and says whether something was recorded of it.
    pub(super) fn come_to(&self, visit: &StepId) -> bool {
        self.lock().remove(&visit.to_string()).is_some()
    }

    /// A visit that was recorded as part of another, or of the whole, and not come to.
    pub(super) fn passed_by(&self, within: &str) -> Option<String> {
        let left = self.lock();
        let visit = left.iter().find(|(_, part_of)| *part_of == within).map(|(visit, _)| visit)?;
        visit.rsplit('/').next().map(str::to_owned)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The visits that a step is part of, itself included, each with the one around it; none if no graph has it.
fn visits(graphs: [&Outline; 2], step: &StepId) -> Vec<(String, String)> {
    let names = step.name.split('/').map(|visit| visit.split('#').next().unwrap_or_default());
    let path = names.collect::<Vec<_>>().join("/");
    let Some(ways) = graphs.iter().find_map(|graph| graph.0.get(&path)) else { return Vec::new() };
    let (mut visits, mut within) = (Vec::new(), String::new());
    for (slash, _) in step.name.match_indices('/') {
        let around = step.name.get(..slash).unwrap_or_default();
        let last = step.name.get(slash + 1..).is_some_and(|rest| !rest.contains('/'));
        // A branch has the number of the visit of its fan-out.
        let number = if last && ways.is_empty() { step.occurrence } else { 1 };
        let visit = StepId::new(around).occurrence(number).to_string();
        visits.push((visit.clone(), std::mem::replace(&mut within, visit)));
    }
    visits.push((step.to_string(), within));
    visits
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use buttress::Name;

    use super::*;
    use crate::graph::{
        END,
        plan::{Spot, Way},
    };

    fn plan(spots: &[(&'static str, Shape, &'static str)]) -> Plan {
        let spot = |(name, shape, to): &(&'static str, Shape, &'static str)| Spot {
            name: Name::new(name),
            shape: shape.clone(),
            ways: vec![Way::To(Name::new(to))],
        };
        Plan::new(Name::new("g"), spots.iter().map(spot).collect(), None, &[]).expect("it is sound")
    }

    fn outline() -> Outline {
        let fan = Shape::Fan(vec![Name::new("x"), Name::new("y")]);
        let inner = plan(&[("z", Shape::Single, "f"), ("f", fan, END)]);
        let inner = Shape::Nested(Arc::new(inner));
        Outline::of(&plan(&[("a", Shape::Single, "n"), ("n", inner, END)]))
    }

    #[test]
    fn an_outline_has_all_paths_and_is_read_back() {
        let json = serde_json::to_string(&outline()).expect("it is JSON");
        assert_eq!(
            json,
            r#"{"":[["","a"]],"a":[["","n"]],"n":[["","end"]],"n/":[["","z"]],"n/f":[["","end"]],"n/f/x":[],"n/f/y":[],"n/z":[["","f"]]}"#
        );
        assert_eq!(serde_json::from_str::<Outline>(&json).ok(), Some(outline()));
    }

    #[test]
    fn steps_are_part_of_visits_and_those_of_others_of_none() {
        let (graph, empty) = (outline(), Outline::default());
        let visits = |name: &str, number| {
            let step = StepId::new(name).occurrence(number);
            let visits = visits([&empty, &graph], &step).into_iter();
            visits.map(|(visit, within)| format!("{visit} in {within}")).collect::<Vec<_>>()
        };
        assert_eq!(visits("a", 2), ["a#2 in "]);
        assert_eq!(visits("n#2/z", 3), ["n#2 in ", "n#2/z#3 in n#2"]);
        assert_eq!(visits("n/f/x", 3), ["n in ", "n/f#3 in n", "n/f/x#3 in n/f#3"]);
        for other in ["start", "end", "worker/input", "fetch", "a/b", "n/y"] {
            assert_eq!(visits(other, 1), Vec::<String>::new(), "{other}");
        }
    }

    #[test]
    fn what_was_withdrawn_or_is_no_step_is_not_on_the_trail() {
        let graph = outline();
        let steps = [
            ("a", Status::Intent),
            ("n", Status::State),
            ("n/z", Status::Intent),
            ("n/f/x", Status::Done),
            ("n/z", Status::Withdrawn),
        ];
        let steps = steps.map(|(step, status)| (StepId::new(step), status));
        let trail = Trail::new([&graph, &graph], steps);
        assert_eq!(trail.passed_by(""), Some("a".into()));
        assert!(trail.come_to(&"a".into()) && trail.come_to(&"n".into()));
        assert_eq!(trail.passed_by(""), None);
        assert!(!trail.come_to(&"n/z".into()));
        assert_eq!(trail.passed_by("n"), Some("f".into()));
        assert_eq!(trail.passed_by("n/f"), Some("x".into()));
    }
}
