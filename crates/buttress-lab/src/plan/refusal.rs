//! What is said when a plan is refused: where, what stands there, what would be right.

use std::{error::Error, fmt, ops::Range};

/// Why a plan was refused.
///
/// Displays as `file:line:column: what is wrong: what would be right`, with the offending line
/// below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    file: String,
    place: Option<Place>,
    message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
    text: String,
    width: usize,
}

impl Refusal {
    /// A file that could not be used as a whole.
    pub(super) fn whole(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), place: None, message: message.into() }
    }

    /// Something within a file.
    pub(super) fn within(file: &str, text: &str, fault: Fault) -> Self {
        let place = fault.span.map(|span| Place::of(text, &span));
        Self { file: file.to_owned(), place, message: fault.message }
    }

    /// Says more of what would be right.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.message.push_str(more);
        self
    }

    /// The line, counted from 1, if it lies in one.
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.line)
    }

    /// The column in characters, counted from 1, if it lies in one.
    pub fn column(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.column)
    }

    /// What is wrong, and what would be right.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl Place {
    fn of(text: &str, span: &Range<usize>) -> Self {
        let start = floor(text, span.start);
        let (line, column, from) = position(text, start);
        let whole = text[from..].lines().next().unwrap_or_default();
        // A span over several lines is marked in the first.
        let end = floor(text, span.end).min(from + whole.len()).max(start);
        let width = text[start..end].chars().count().max(1);
        Self { line, column, text: whole.to_owned(), width }
    }
}

/// The line and the column of an offset, both from 1, and the offset at which the line begins.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize, usize) {
    let before = &text[..floor(text, offset)];
    let from = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[from..].chars().count() + 1, from)
}

/// The next boundary of a character at or before an offset.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, place, message } = self;
        let Some(Place { line, column, text, width }) = place else {
            return write!(f, "{file}: {message}");
        };
        writeln!(f, "{file}:{line}:{column}: {message}")?;
        // A long line is shown around the place only.
        let skipped = (column - 1).saturating_sub(60);
        let shown: String = text.chars().skip(skipped).take(110).map(visible).collect();
        let indent = column - 1 - skipped;
        let marks = (*width).min(110_usize.saturating_sub(indent)).max(1);
        writeln!(f, "{line:>5} | {shown}")?;
        write!(f, "      | {:indent$}{:^<marks$}", "", "")
    }
}

/// Control characters would move the marks, or worse.
fn visible(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

impl Error for Refusal {}

/// Something wrong at a place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    span: Option<Range<usize>>,
    message: String,
}

impl Fault {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span: Some(span), message: message.into() }
    }
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        Self { span: error.span(), message: format!("not TOML: {message}") }
    }
}

/// `"retri": did you mean "retry"? known layers are breaker, hedge, ..`
pub(super) fn unknown(what: &str, plural: &str, found: &str, known: &[&str]) -> String {
    let shown = shorten(found);
    let list = known.join(", ");
    match nearest(found, known) {
        Some(near) => {
            format!("unknown {what} {shown}: did you mean \"{near}\"? known {plural} are {list}")
        }
        None => format!("unknown {what} {shown}: known {plural} are {list}"),
    }
}

/// Text in quotes, cut where it gets long.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((cut, _)) => format!("{:?}..", &text[..cut]),
        None => format!("{text:?}"),
    }
}

/// The known word that is fewest edits away, if it is near enough to have been meant.
fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let found = found.to_lowercase().replace('-', "_");
    let limit = found.chars().count().min(40) / 3 + 1;
    known
        .iter()
        .map(|word| (distance(&found, &word.replace('-', "_"), limit), *word))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many letters must be added, removed, changed or swapped with their neighbour.
///
/// Optimal string alignment, after Damerau (1964); a difference in length beyond `limit` is not
/// looked into.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return usize::MAX;
    }
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + changed);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits_and_swaps() {
        for (a, b, edits) in [
            ("retri", "retry", 1),
            ("", "abc", 3),
            ("same", "same", 0),
            ("yxz", "xyz", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b, 9), edits, "{a} {b}");
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["hedge", "retry", "half-to-one-and-half"];
        assert_eq!(nearest("retri", &known), Some("retry"));
        assert_eq!(nearest("half_to_one_and_half", &known), Some("half-to-one-and-half"));
        assert_eq!(nearest("HEDGE", &known), Some("hedge"));
        assert_eq!(nearest("elephant", &known), None);
    }

    #[test]
    fn a_place_is_counted_in_characters() {
        assert_eq!(position("ä = 1\nöö = 2", 12), (2, 4, 7));
        assert_eq!(position("", 7), (1, 1, 0));
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let text = format!("{}BAD{}", "x".repeat(500), "y".repeat(500));
        let shown = Refusal::within("p", &text, Fault::new(500..503, "bad")).to_string();
        assert!(shown.lines().all(|line| line.chars().count() < 120), "{shown}");
        assert!(shown.contains("xBAD"));
    }
}
