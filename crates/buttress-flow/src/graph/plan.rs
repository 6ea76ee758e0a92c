//! What a graph looks like, and what is wrong with it: names and numbers only.

use std::collections::HashSet;

use buttress::Name;

use super::{
    END, Flaw,
    flaw::{dead_ends, names},
};

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
            flaws = dead_ends(&plan);
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
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in super::super) fn spot(name: &'static str, ways: Vec<Way>) -> Spot {
        Spot { name: Name::new(name), shape: Shape::Single, ways }
    }

    pub(in super::super) fn to(name: &'static str) -> Vec<Way> {
        vec![Way::To(Name::new(name))]
    }

    pub(in super::super) fn routes(ways: &[(&str, &'static str)]) -> Vec<Way> {
        let way = |(label, to): &(&str, &'static str)| ((*label).to_owned(), Name::new(to));
        vec![Way::Routes(ways.iter().map(way).collect())]
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

    pub(in super::super) const NAMES: [&str; 6] = ["n0", "n1", "n2", "n3", "n4", "n5"];

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
}
