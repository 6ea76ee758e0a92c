//! Graphs as pictures.

use std::fmt::Write;

use super::plan::{Exit, Plan, Shape, Target};

/// The text of a Mermaid flowchart.
pub(super) fn draw(plan: &Plan) -> String {
    let mut text = String::from("flowchart TD\n");
    body(plan, "", 1, &mut text);
    text
}

/// Nodes are named by their places, since Mermaid takes words such as `end` for its own.
fn body(plan: &Plan, within: &str, depth: usize, text: &mut String) {
    line(text, depth, format_args!("{within}start((start))"));
    line(text, depth, format_args!("{within}stop((end))"));
    for (place, spot) in plan.spots.iter().enumerate() {
        let (id, label) = (format!("{within}n{place}"), escape(spot.name.as_str()));
        match &spot.shape {
            Shape::Single => line(text, depth, format_args!("{id}[\"{label}\"]")),
            Shape::Fan(branches) => {
                line(text, depth, format_args!("subgraph {id}[\"{label}\"]"));
                for (number, branch) in branches.iter().enumerate() {
                    let label = escape(branch.as_str());
                    line(text, depth + 1, format_args!("{id}b{number}[\"{label}\"]"));
                }
                line(text, depth, format_args!("end"));
            }
            Shape::Nested(inner) => {
                line(text, depth, format_args!("subgraph {id}[\"{label}\"]"));
                body(inner, &format!("{id}_"), depth + 1, text);
                line(text, depth, format_args!("end"));
            }
        }
    }
    line(text, depth, format_args!("{within}start --> {within}n{}", plan.start));
    let name = |target: Target| match target {
        Target::Node(place) => format!("{within}n{place}"),
        Target::End => format!("{within}stop"),
    };
    for (place, exit) in plan.exits.iter().enumerate() {
        match exit {
            Exit::Always(to) => {
                line(text, depth, format_args!("{within}n{place} --> {}", name(*to)));
            }
            Exit::Labelled(ways) => {
                for (label, to) in ways {
                    let (label, to) = (escape(label), name(*to));
                    line(text, depth, format_args!("{within}n{place} -- \"{label}\" --> {to}"));
                }
            }
        }
    }
}

fn line(text: &mut String, depth: usize, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:pad$}{line}", "", pad = 4 * depth);
}

/// A text as it may stand between quotation marks.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | ' ' | '.' | ',' | '_' | '-' => escaped.push(letter),
            // Line breaks and the like would end the statement.
            letter if letter.is_control() || letter.is_whitespace() => escaped.push(' '),
            letter if letter.is_ascii() => {
                let _ = write!(escaped, "#{};", u32::from(letter));
            }
            letter => escaped.push(letter),
        }
    }
    // Mermaid takes two quotation marks in a row for an error.
    if escaped.is_empty() { " ".to_owned() } else { escaped }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use buttress::Name;
    use proptest::prelude::*;

    use super::*;
    use crate::graph::{
        END,
        plan::{Spot, Way},
    };

    fn spot(name: &'static str, shape: Shape, ways: Way) -> Spot {
        Spot { name: Name::new(name), shape, ways: vec![ways] }
    }

    fn plan(spots: Vec<Spot>) -> Plan {
        Plan::new(Name::new("g"), spots, None, &[]).expect("it is sound")
    }

    #[test]
    fn a_graph_is_drawn_with_its_labels_branches_and_graphs_within() {
        let end = || Way::To(Name::new(END));
        let inner = Arc::new(plan(vec![spot("only", Shape::Single, end())]));
        let routes = [("it is \"good\"", "ask"), ("again", "search")];
        let routes = routes.map(|(label, to)| (label.to_owned(), Name::new(to))).to_vec();
        let plan = plan(vec![
            spot("search", Shape::Single, Way::Routes(routes)),
            spot(
                "ask",
                Shape::Fan(vec![Name::new("a"), Name::new("b")]),
                Way::To(Name::new("sub")),
            ),
            spot("sub", Shape::Nested(inner), end()),
        ]);
        let expected = r#"flowchart TD
    start((start))
    stop((end))
    n0["search"]
    subgraph n1["ask"]
        n1b0["a"]
        n1b1["b"]
    end
    subgraph n2["sub"]
        n2_start((start))
        n2_stop((end))
        n2_n0["only"]
        n2_start --> n2_n0
        n2_n0 --> n2_stop
    end
    start --> n0
    n0 -- "it is #34;good#34;" --> n1
    n0 -- "again" --> n0
    n1 --> n2
    n2 --> stop
"#;
        assert_eq!(draw(&plan), expected);
    }

    proptest! {
        #[test]
        fn no_label_breaks_out_of_its_quotes(label in any::<String>()) {
            let escaped = escape(&label);
            prop_assert!(!escaped.is_empty());
            prop_assert!(!escaped.contains(['"', '\n', '\r', '<', '>', '`', '&', '[', ']', '\\']));
            // A cross only begins a code.
            for after in escaped.split('#').skip(1) {
                let digits = after.find(';').map(|end| &after[..end]);
                prop_assert!(digits.is_some_and(|digits| digits.parse::<u32>().is_ok()), "{escaped}");
            }
        }
    }
}
