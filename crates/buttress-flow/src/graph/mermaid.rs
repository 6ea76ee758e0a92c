//! Graphs as pictures.

use std::fmt::Write;

use super::plan::{Exit, Plan, Shape, Target};

/// The text of a Mermaid flowchart.
pub(super) fn draw(plan: &Plan) -> String {
    let mut text = String::from("flowchart TD\n");
    line(&mut text, 1, format_args!("start((start))"));
    line(&mut text, 1, format_args!("stop((end))"));
    body(plan, "", 1, &mut text);
    text
}

/// Nodes are named by their places, since Mermaid takes words such as `end` for its own.
///
/// Edges lead to what is in a box, never to the box: Mermaid would place it without regard to its edges.
/// The name of a box stands at its entry, since a title would be crossed by the edge that leads in.
fn body(plan: &Plan, within: &str, depth: usize, text: &mut String) {
    for (place, spot) in plan.spots.iter().enumerate() {
        let (id, label) = (format!("{within}n{place}"), escape(spot.name.as_str()));
        if let Shape::Single = &spot.shape {
            line(text, depth, format_args!("{id}[\"{label}\"]"));
            continue;
        }
        line(text, depth, format_args!("subgraph {id}[\" \"]"));
        line(text, depth + 1, format_args!("{id}_start(\"{label}\")"));
        line(text, depth + 1, format_args!("{id}_stop(( ))"));
        match &spot.shape {
            Shape::Single => {}
            Shape::Fan(branches) => {
                for (number, branch) in branches.iter().enumerate() {
                    let (branch, label) = (format!("{id}b{number}"), escape(branch.as_str()));
                    line(text, depth + 1, format_args!("{branch}[\"{label}\"]"));
                    line(text, depth + 1, format_args!("{id}_start --> {branch}"));
                    line(text, depth + 1, format_args!("{branch} --> {id}_stop"));
                }
            }
            Shape::Nested(inner) => body(inner, &format!("{id}_"), depth + 1, text),
        }
        line(text, depth, format_args!("end"));
    }
    let end = |place: usize, side: &str| match plan.spots.get(place).map(|spot| &spot.shape) {
        None | Some(Shape::Single) => format!("{within}n{place}"),
        Some(Shape::Fan(_) | Shape::Nested(_)) => format!("{within}n{place}_{side}"),
    };
    let to = |target: Target| match target {
        Target::Node(place) => end(place, "start"),
        Target::End => format!("{within}stop"),
    };
    line(text, depth, format_args!("{within}start --> {}", to(Target::Node(plan.start))));
    for (place, exit) in plan.exits.iter().enumerate() {
        let from = end(place, "stop");
        match exit {
            Exit::Always(target) => line(text, depth, format_args!("{from} --> {}", to(*target))),
            Exit::Labelled(ways) => {
                for (label, target) in ways {
                    let (label, to) = (escape(label), to(*target));
                    line(text, depth, format_args!("{from} -- \"{label}\" --> {to}"));
                }
            }
        }
    }
}

fn line(text: &mut String, depth: usize, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:pad$}{line}", "", pad = 4 * depth);
}

/// After so many letters a word may be broken: Mermaid would make room for all of it.
const LONG: u32 = 24;

/// A text as it may stand between quotation marks.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut word = 0;
    for letter in text.chars() {
        word = if letter.is_whitespace() { 0 } else { word + 1 };
        // Not within a letter of several parts, none of which is ASCII.
        if word > LONG && letter.is_ascii() {
            escaped.push('\u{200b}');
            word = 1;
        }
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
    subgraph n1[" "]
        n1_start("ask")
        n1_stop(( ))
        n1b0["a"]
        n1_start --> n1b0
        n1b0 --> n1_stop
        n1b1["b"]
        n1_start --> n1b1
        n1b1 --> n1_stop
    end
    subgraph n2[" "]
        n2_start("sub")
        n2_stop(( ))
        n2_n0["only"]
        n2_start --> n2_n0
        n2_n0 --> n2_stop
    end
    start --> n0
    n0 -- "it is #34;good#34;" --> n1_start
    n0 -- "again" --> n0
    n1_stop --> n2_start
    n2_stop --> stop
"#;
        assert_eq!(draw(&plan), expected);
    }

    #[test]
    fn a_long_word_may_be_broken_between_letters() {
        let breaks = |text: &str| escape(text).matches('\u{200b}').count();
        assert_eq!(breaks(&"word ".repeat(40)), 0);
        assert_eq!(breaks(&"a".repeat(200)), 8);
        assert_eq!(breaks(&"\"".repeat(200)), 8);
        assert_eq!(breaks(&"👩\u{200d}🚀".repeat(50)), 0);
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
