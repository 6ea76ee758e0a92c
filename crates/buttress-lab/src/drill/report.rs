//! What came of a drill, as text.

use super::{Drilled, Tally};

/// A line for each engine and one for all.
pub fn table(drilled: &Drilled) -> String {
    let mut text = format!("seed {}", drilled.seed);
    text += if drilled.interrupted { ", ended early\n\n" } else { "\n\n" };
    text += &format!(
        "{:<10} {:>7} {:>13} {:>6} {:>19} {:>9} {:>11}\n",
        "STORE", "KILLS", "ACKNOWLEDGED", "LOST", "DUPLICATED EFFECTS", "IN DOUBT", "UNRESOLVED"
    );
    let mut line = |name: &str, tally: &Tally| {
        text += &format!(
            "{name:<10} {:>7} {:>13} {:>6} {:>19} {:>9} {:>11}\n",
            tally.kills,
            tally.acknowledged,
            tally.lost,
            tally.duplicated_effects,
            tally.in_doubt,
            tally.unresolved
        );
    };
    for (name, tally) in &drilled.stores {
        line(name, tally);
    }
    line("together", &drilled.total);
    text += "\nkilled at";
    for (point, kills) in &drilled.total.points {
        text += &format!("  {point} {kills}");
    }
    text.push('\n');
    for breach in &drilled.total.breaches {
        text += &format!("BROKEN: {breach}\n");
    }
    if let Some(failure) = &drilled.failure {
        text += &format!("FAILED: {failure}\n");
    }
    text
}

/// The same for programs.
pub fn json(drilled: &Drilled) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(drilled).map(|text| text + "\n")
}
