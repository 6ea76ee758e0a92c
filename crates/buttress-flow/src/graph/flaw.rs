//! What can be wrong with a graph, and how it is found.

use std::{collections::HashSet, error::Error, fmt};

use buttress::Name;

use super::{
    END, START,
    plan::{Plan, Shape, Spot, Target},
};

/// Why a graph cannot be built: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphError {
    graph: Name,
    flaws: Vec<Flaw>,
}

impl GraphError {
    pub(super) const fn new(graph: Name, flaws: Vec<Flaw>) -> Self {
        Self { graph, flaws }
    }

    /// What is wrong with it, never nothing.
    pub fn flaws(&self) -> &[Flaw] {
        &self.flaws
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "graph `{}` cannot be built: ", self.graph)?;
        for (place, flaw) in self.flaws.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { "; " })?;
            flaw.fmt(f)?;
        }
        Ok(())
    }
}

impl Error for GraphError {}

/// Something that is wrong with a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// There are no nodes.
    Empty,
    /// A name that is empty, contains `/` or `#`, or is `start` or `end`.
    BadName {
        /// The name.
        name: Name,
    },
    /// Two nodes, or two branches of one fan-out, have this name.
    Duplicate {
        /// The name.
        name: Name,
    },
    /// Something refers to a node that is not there.
    Unknown {
        /// The name that is referred to.
        name: Name,
    },
    /// The edge out of a node was given twice. Where it depends on the state, use
    /// [`route`](super::Draft::route); where both are to be done, a [`FanOut`](super::FanOut).
    TwoWays {
        /// The node.
        node: Name,
    },
    /// A label stands twice at the edges out of a node.
    SameLabel {
        /// The node.
        node: Name,
        /// The label.
        label: String,
    },
    /// A fan-out has no branches.
    NoBranches {
        /// The fan-out.
        node: Name,
    },
    /// No path leads from the start to this node.
    Unreachable {
        /// The node.
        node: Name,
    },
    /// No path leads from this node to the end.
    NoEnd {
        /// The node.
        node: Name,
    },
    /// What the node does to the world was not declared, and its results are to be kept.
    Undeclared {
        /// The node, or the branch of one.
        node: Name,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it has no nodes"),
            Self::BadName { name } => {
                write!(
                    f,
                    "`{name}` is no name for a node: it is empty, reserved, or has `/` or `#`"
                )
            }
            Self::Duplicate { name } => write!(f, "there are two `{name}`"),
            Self::Unknown { name } => write!(f, "there is no node `{name}`"),
            Self::TwoWays { node } => write!(f, "the edge out of `{node}` is given twice"),
            Self::SameLabel { node, label } => {
                write!(f, "two edges out of `{node}` are labelled `{label}`")
            }
            Self::NoBranches { node } => write!(f, "fan-out `{node}` has no branches"),
            Self::Unreachable { node } => write!(f, "no path leads to `{node}`"),
            Self::NoEnd { node } => write!(f, "no path leads from `{node}` to the end"),
            Self::Undeclared { node } => write!(
                f,
                "the effects of `{node}` are not declared: add it with `step` instead of `node`"
            ),
        }
    }
}

/// What is wrong with the names of nodes and branches.
pub(super) fn names(spots: &[Spot]) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    if spots.is_empty() {
        flaws.push(Flaw::Empty);
    }
    let mut seen = HashSet::new();
    for spot in spots {
        let bad = [START, END].contains(&spot.name.as_str()) || !sound(&spot.name);
        if bad {
            flaws.push(Flaw::BadName { name: spot.name.clone() });
        } else if !seen.insert(&spot.name) {
            flaws.push(Flaw::Duplicate { name: spot.name.clone() });
        }
        if let Shape::Fan(branches) = &spot.shape {
            if branches.is_empty() {
                flaws.push(Flaw::NoBranches { node: spot.name.clone() });
            }
            let mut seen = HashSet::new();
            for branch in branches {
                if !sound(branch) {
                    flaws.push(Flaw::BadName { name: branch.clone() });
                } else if !seen.insert(branch) {
                    flaws.push(Flaw::Duplicate { name: branch.clone() });
                }
            }
        }
    }
    flaws
}

/// Slashes and crosses part the names of steps into node, visit and branch.
fn sound(name: &Name) -> bool {
    !name.as_str().is_empty() && !name.as_str().contains(['/', '#'])
}

/// Nodes that no path from the start leads to, and those from which none leads to the end.
pub(super) fn dead_ends(plan: &Plan) -> Vec<Flaw> {
    let mut reached = vec![false; plan.spots.len()];
    let mut open = vec![plan.start];
    while let Some(node) = open.pop() {
        if let (Some(reached), Some(exit)) = (reached.get_mut(node), plan.exits.get(node))
            && !std::mem::replace(reached, true)
        {
            open.extend(exit.targets().filter_map(|target| match target {
                Target::Node(next) => Some(next),
                Target::End => None,
            }));
        }
    }
    let mut ends = vec![false; plan.spots.len()];
    loop {
        let next: Vec<bool> = plan
            .exits
            .iter()
            .map(|exit| {
                exit.targets().any(|target| match target {
                    Target::Node(next) => ends.get(next).copied().unwrap_or(false),
                    Target::End => true,
                })
            })
            .collect();
        if next == ends {
            break;
        }
        ends = next;
    }
    let mut flaws = Vec::new();
    for ((spot, reached), ends) in plan.spots.iter().zip(reached).zip(ends) {
        let node = spot.name.clone();
        if !reached {
            flaws.push(Flaw::Unreachable { node });
        } else if !ends {
            flaws.push(Flaw::NoEnd { node });
        }
    }
    flaws
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::plan::tests::{NAMES, edges, plan, routes, spot, to},
        *,
    };

    fn flaws(spots: Vec<Spot>) -> Vec<Flaw> {
        Plan::new(Name::new("g"), spots, None, &[]).expect_err("it is not sound")
    }

    #[test]
    fn every_flaw_of_names_is_told_at_once() {
        let (a, b) = (Name::new("a"), Name::new("b"));
        let fan = |branches: &[&'static str]| {
            let branches = branches.iter().map(|name| Name::new(name)).collect();
            Spot { name: Name::new("fan"), shape: Shape::Fan(branches), ways: to(END) }
        };
        let found = flaws(vec![
            spot("a", to("nobody")),
            spot("a", to(END)),
            spot("end", to(END)),
            spot("b/c", to(END)),
            spot("", to(END)),
            spot("b", [to(END), to("a")].concat()),
            spot("c", routes(&[("x", "a"), ("x", END)])),
            fan(&["x", "y", "x", "y#2"]),
        ]);
        for flaw in [
            Flaw::Unknown { name: Name::new("nobody") },
            Flaw::Duplicate { name: a },
            Flaw::BadName { name: Name::new("end") },
            Flaw::BadName { name: Name::new("b/c") },
            Flaw::BadName { name: Name::new("") },
            Flaw::TwoWays { node: b },
            Flaw::SameLabel { node: Name::new("c"), label: "x".into() },
            Flaw::Duplicate { name: Name::new("x") },
            Flaw::BadName { name: Name::new("y#2") },
        ] {
            assert!(found.contains(&flaw), "{flaw} in {found:?}");
        }
        assert_eq!(found.len(), 9, "{found:?}");
        assert_eq!(flaws(vec![]), [Flaw::Empty]);
        assert_eq!(flaws(vec![fan(&[])]), [Flaw::NoBranches { node: Name::new("fan") }]);
    }

    #[test]
    fn a_start_and_strays_must_be_known() {
        let stray = [Name::new("x")];
        let start = Name::new("y");
        let plan = Plan::new(Name::new("g"), vec![spot("a", to(END))], Some(&start), &stray);
        let unknown = |name| Flaw::Unknown { name: Name::new(name) };
        assert_eq!(plan.expect_err("neither is known"), [unknown("x"), unknown("y")]);
        // The end is no place to start from.
        let end = Name::new(END);
        assert!(Plan::new(Name::new("g"), vec![spot("a", to(END))], Some(&end), &[]).is_err());
    }

    #[test]
    fn islands_and_traps_are_found() {
        let node = |name| Name::new(name);
        assert_eq!(
            flaws(vec![
                spot("a", routes(&[("l", "b"), ("r", "trap")])),
                spot("b", to(END)),
                spot("trap", to("pit")),
                spot("pit", to("trap")),
                spot("island", to(END)),
                spot("shore", vec![]),
            ]),
            [
                Flaw::NoEnd { node: node("trap") },
                Flaw::NoEnd { node: node("pit") },
                Flaw::Unreachable { node: node("island") },
                Flaw::Unreachable { node: node("shore") },
            ]
        );
        assert_eq!(flaws(vec![spot("a", vec![])]), [Flaw::NoEnd { node: node("a") }]);
    }

    /// Whether some path of edges leads from one place to another, by trying all.
    fn path(edges: &[Vec<usize>], from: usize, to: usize, most: usize) -> bool {
        from == to
            || most > 0
                && edges.get(from).is_some_and(|targets| {
                    targets.iter().any(|next| path(edges, *next, to, most - 1))
                })
    }

    proptest! {
        #[test]
        fn a_graph_is_sound_if_all_nodes_lie_on_paths_from_start_to_end(edges in edges()) {
            let nodes = edges.len();
            let mut expected = Vec::new();
            for (node, name) in NAMES.iter().enumerate().take(nodes) {
                let name = Name::new(name);
                if !path(&edges, 0, node, nodes) {
                    expected.push(Flaw::Unreachable { node: name });
                } else if !path(&edges, node, 6, nodes) {
                    expected.push(Flaw::NoEnd { node: name });
                }
            }
            prop_assert_eq!(plan(&edges).err().unwrap_or_default(), expected);
        }
    }
}
