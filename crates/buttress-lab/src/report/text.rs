//! Text in columns.

/// How many columns a text takes: every character that reports use by themselves takes one.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

/// Text that is no wider than `most`; what is cut off is shown to be.
pub(super) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(2)).chain("..".chars()).collect()
}

/// Breaks text into lines of at most `most` columns, between words.
///
/// A word that is wider has a line to itself.
pub fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if width(line) + 1 + width(word) <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("a bc  def\nghij k", 5), ["a bc", "def", "ghij", "k"]);
        assert_eq!(wrapped("muchtoolong a", 5), ["muchtoolong", "a"]);
        assert_eq!(wrapped("", 5), [""]);
        assert_eq!((cut("abcdef", 4), cut("abcd", 4)), ("ab..".to_owned(), "abcd".to_owned()));
    }
}
