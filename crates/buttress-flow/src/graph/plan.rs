//! What a graph looks like, and what is wrong with it: names and numbers only.

use std::collections::HashSet;

use buttress::Name;

use super::{END, Flaw, START};

/// Where an edge leads, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Always to the same.
    To(Name),
    /// By the label that a function chooses.
    Routes(Vec<(String, Name)>),
}

/// A node, as it was written.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) name: Name,
    /// What it is made of, for those who look at it.
    pub(super) shape: Shape,
    pub(super) ways: Vec<Way>,
}

/// What a node is made of.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Single,
    /// The branches of a fan-out.
    Fan(Vec<Name>),
    /// Another graph.
    Nested(std::sync::Arc<Plan>),
}

/// Where an edge leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Node(usize),
    End,
}

/// The edges that leave a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Always(Target),
    /// By label, in the order in which they were written.
    Labelled(Vec<(String, Target)>),
}

impl Exit {
    pub(super) fn targets(&self) -> impl Iterator<Item = Target> {
        let (one, many) = match self {
            Self::Always(target) => (Some(*target), &[][..]),
            Self::Labelled(ways) => (None, ways.as_slice()),
        };
        one.into_iter().chain(many.iter().map(|(_, target)| *target))
    }
}

/// A graph without flaws.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: Name,
    pub(super) spots: Vec<Spot>,
    /// One for each spot.
    pub(super) exits: Vec<Exit>,
    pub(super) start: usize,
}

impl Plan {
    /// Puts names in their places, or says everything that is wrong with them.
    pub(super) fn new(
        name: Name,
        spots: Vec<Spot>,
        start: Option<&Name>,
        strays: &[Name],
    ) -> Result<Self, Vec<Flaw>> {
        let mut flaws = names(&spots);
        let unknown = |name: &Name| Flaw::Unknown { name: name.clone() };
        flaws.extend(strays.iter().map(unknown));
        let find = |name: &Name| match name.as_str() {
            END => Some(Target::End),
            _ => spots.iter().position(|spot| spot.name == *name).map(Target::Node),
        };
        let mut exits = Vec::with_capacity(spots.len());
        for Spot { name: node, ways, .. } in &spots {
            let mut to = |name: &Name| {
                let target = find(name);
                if target.is_none() {
                    flaws.push(unknown(name));
                }
                target.unwrap_or(Target::End)
            };
            exits.push(match ways.as_slice() {
                [Way::To(name)] => Exit::Always(to(name)),
                [Way::Routes(ways)] => {
                    let exit = ways.iter().map(|(label, name)| (label.clone(), to(name))).collect();
                    let mut seen = HashSet::new();
                    let twice = ways.iter().filter(|(label, _)| !seen.insert(label));
                    flaws.extend(twice.map(|(label, _)| Flaw::SameLabel {
                        node: node.clone(),
                        label: label.clone(),
                    }));
                    Exit::Labelled(exit)
                }
                [] => Exit::Labelled(Vec::new()),
                [..] => {
                    flaws.push(Flaw::TwoWays { node: node.clone() });
                    Exit::Labelled(Vec::new())
                }
            });
        }
        let first = match start.map(|name| (name, find(name))) {
            None => 0,
            Some((_, Some(Target::Node(first)))) => first,
            Some((name, _)) => {
                flaws.push(unknown(name));
                0
            }
        };
        let plan = Self { name, spots, exits, start: first };
        // With edges that lead nowhere most nodes would look unreachable.
        if flaws.is_empty() {
            flaws = plan.dead_ends();
        }
        if flaws.is_empty() { Ok(plan) } else { Err(flaws) }
    }

    /// The name of where an edge leads.
    pub(super) fn label(&self, target: Target) -> Name {
        let spot = match target {
            Target::Node(place) => self.spots.get(place),
            Target::End => None,
        };
        spot.map_or(Name::new(END), |spot| spot.name.clone())
    }

    /// Nodes that no path from the start leads to, and those from which none leads to the end.
    fn dead_ends(&self) -> Vec<Flaw> {
        let mut reached = vec![false; self.spots.len()];
        let mut open = vec![self.start];
        while let Some(node) = open.pop() {
            if let (Some(reached), Some(exit)) = (reached.get_mut(node), self.exits.get(node))
                && !std::mem::replace(reached, true)
            {
                open.extend(exit.targets().filter_map(|target| match target {
                    Target::Node(next) => Some(next),
                    Target::End => None,
                }));
            }
        }
        let mut ends = vec![false; self.spots.len()];
        loop {
            let next: Vec<bool> = self
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
        for ((spot, reached), ends) in self.spots.iter().zip(reached).zip(ends) {
            let node = spot.name.clone();
            if !reached {
                flaws.push(Flaw::Unreachable { node });
            } else if !ends {
                flaws.push(Flaw::NoEnd { node });
            }
        }
        flaws
    }
}

/// What is wrong with the names of nodes and branches.
fn names(spots: &[Spot]) -> Vec<Flaw> {
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

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in super::super) fn spot(name: &'static str, ways: Vec<Way>) -> Spot {
        Spot { name: Name::new(name), shape: Shape::Single, ways }
    }

    fn to(name: &'static str) -> Vec<Way> {
        vec![Way::To(Name::new(name))]
    }

    fn routes(ways: &[(&str, &'static str)]) -> Vec<Way> {
        let way = |(label, to): &(&str, &'static str)| ((*label).to_owned(), Name::new(to));
        vec![Way::Routes(ways.iter().map(way).collect())]
    }

    fn flaws(spots: Vec<Spot>) -> Vec<Flaw> {
        Plan::new(Name::new("g"), spots, None, &[]).expect_err("it is not sound")
    }

    #[test]
    fn a_sound_graph_has_its_edges_in_their_places() {
        let spots = vec![
            spot("a", to("b")),
            spot("b", routes(&[("again", "a"), ("on", "c"), ("enough", END)])),
            spot("c", to(END)),
        ];
        let plan = Plan::new(Name::new("g"), spots, None, &[]).expect("it is sound");
        assert_eq!(plan.start, 0);
        let on = |label: &str, to| (label.to_owned(), to);
        assert_eq!(
            plan.exits,
            [
                Exit::Always(Target::Node(1)),
                Exit::Labelled(vec![
                    on("again", Target::Node(0)),
                    on("on", Target::Node(2)),
                    on("enough", Target::End)
                ]),
                Exit::Always(Target::End),
            ]
        );
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

    const NAMES: [&str; 6] = ["n0", "n1", "n2", "n3", "n4", "n5"];

    /// Graphs of up to six nodes; place 6 is the end.
    pub(in super::super) fn edges() -> impl Strategy<Value = Vec<Vec<usize>>> {
        (1..=6_usize).prop_flat_map(|nodes| {
            let target = prop_oneof![3 => 0..nodes, 1 => Just(6)];
            prop::collection::vec(prop::collection::vec(target, 0..4), nodes)
        })
    }

    pub(in super::super) fn plan(edges: &[Vec<usize>]) -> Result<Plan, Vec<Flaw>> {
        let name = |to: usize| *NAMES.get(to).unwrap_or(&END);
        let spots = edges
            .iter()
            .enumerate()
            .map(|(from, targets)| {
                let ways = targets.iter().enumerate();
                let ways = ways.map(|(label, to)| (label.to_string(), Name::new(name(*to))));
                spot(name(from), vec![Way::Routes(ways.collect())])
            })
            .collect();
        Plan::new(Name::new("g"), spots, None, &[])
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
