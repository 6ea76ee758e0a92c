//! Reads the fields of a table one by one; whatever is not understood is refused where it stands.

use std::{ops::Range, time::Duration};

use buttress_sim::Takes;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::refusal::{Fault, shorten, unknown};

/// A table with a known set of keys.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    what: &'static str,
    span: Range<usize>,
    table: &'a DeTable<'a>,
}

impl<'a> Fields<'a> {
    /// Takes a table and refuses keys that are not `known`.
    pub(super) fn new(
        what: &'static str,
        span: Range<usize>,
        table: &'a DeTable<'a>,
        known: &[&str],
    ) -> Result<Self, Fault> {
        let strange = table
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
            .min_by_key(|key| key.span().start);
        match strange {
            Some(key) => {
                let what = format!("key in {what}");
                Err(Fault::new(key.span(), unknown(&what, "keys", key.get_ref(), known)))
            }
            None => Ok(Self { what, span, table }),
        }
    }

    /// Where the table stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value of a key, if it is given.
    pub(super) fn optional(&self, key: &'a str) -> Option<Field<'a>> {
        self.table.get(key).map(|value| Field { key, value })
    }

    /// The value of a key that must be given; `example` shows how.
    pub(super) fn required(&self, key: &'a str, example: &str) -> Result<Field<'a>, Fault> {
        self.optional(key).ok_or_else(|| {
            let message =
                format!("missing key \"{key}\" in {}: add `{key} = {example}`", self.what);
            Fault::new(self.span(), message)
        })
    }
}

/// A value and the key it stands under.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Field<'a> {
    pub(super) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// Refuses the value.
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.span(), message)
    }

    /// Refuses the value for not being what it must be.
    pub(super) fn must_be(&self, what: &str) -> Fault {
        self.fault(format!("\"{}\" must be {what}, not {}", self.key, shown(self.value)))
    }

    /// A number from `low` to `high`, whole or not.
    pub(super) fn number(&self, low: f64, high: f64) -> Result<f64, Fault> {
        match number(self.value) {
            Some(number) if (low..=high).contains(&number) => Ok(number),
            _ => Err(self.must_be(&format!("a number from {low} to {high}"))),
        }
    }

    /// A whole number from `low` to `high`.
    pub(super) fn count(&self, low: u64, high: u64) -> Result<u64, Fault> {
        match whole(self.value) {
            Some(count) if (low..=high).contains(&count) => Ok(count),
            _ => Err(self.must_be(&format!("a whole number from {low} to {high}"))),
        }
    }

    /// A whole number from `low` to `high`, small enough for 32 bits.
    pub(super) fn small(&self, low: u32, high: u32) -> Result<u32, Fault> {
        let count = self.count(u64::from(low), u64::from(high))?;
        u32::try_from(count).map_err(|_| self.must_be("smaller"))
    }

    /// Seconds from `low` to `high`.
    pub(super) fn seconds(&self, low: f64, high: f64) -> Result<Duration, Fault> {
        seconds(self.value, low, high)
            .ok_or_else(|| self.must_be(&format!("a number of seconds from {low} to {high}")))
    }

    /// Two numbers of seconds in order, `[from, to]`, within 0 to `high`.
    pub(super) fn range(&self, high: f64) -> Result<(Duration, Duration), Fault> {
        self.pair(high).ok_or_else(|| {
            self.must_be(&format!("a range `[from, to]` of seconds, 0 <= from <= to <= {high}"))
        })
    }

    /// How long something takes: seconds, or a range of seconds.
    pub(super) fn takes(&self, high: f64) -> Result<Takes, Fault> {
        let (from, to) = seconds(self.value, 0.0, high)
            .map(|exactly| (exactly, exactly))
            .or_else(|| self.pair(high))
            .ok_or_else(|| {
                self.must_be(&format!(
                    "seconds, or a range `[from, to]` of seconds, 0 <= from <= to <= {high}"
                ))
            })?;
        Takes::between(from, to).map_err(|error| self.fault(error.to_string()))
    }

    fn pair(&self, high: f64) -> Option<(Duration, Duration)> {
        let items = self.value.get_ref().as_array().filter(|items| items.len() == 2)?;
        let from = seconds(items.first()?, 0.0, high)?;
        let to = seconds(items.get(1)?, 0.0, high)?;
        (from <= to).then_some((from, to))
    }

    /// `true` or `false`.
    pub(super) fn truth(&self) -> Result<bool, Fault> {
        self.value.get_ref().as_bool().ok_or_else(|| self.must_be("true or false"))
    }

    /// Text of 1 to `longest` printable characters.
    pub(super) fn text(&self, longest: usize) -> Result<&'a str, Fault> {
        match self.value.get_ref().as_str() {
            Some(text)
                if !text.trim().is_empty()
                    && text.chars().count() <= longest
                    && !text.chars().any(|c| c.is_control() && c != '\n') =>
            {
                Ok(text)
            }
            _ => Err(self.must_be(&format!("text of 1 to {longest} printable characters"))),
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Fault> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let Some(found) = self.value.get_ref().as_str() else {
            return Err(self.must_be(&format!("one of {}", words.join(", "))));
        };
        match choices.iter().find(|(word, _)| *word == found) {
            Some((_, choice)) => Ok(*choice),
            None => Err(self.fault(unknown(self.key, "words", found, &words))),
        }
    }

    /// The items of an array of at most `most`.
    pub(super) fn items(&self, most: usize) -> Result<Vec<Field<'a>>, Fault> {
        match self.value.get_ref() {
            DeValue::Array(items) if items.len() <= most => {
                Ok(items.iter().map(|value| Field { key: self.key, value }).collect())
            }
            _ => Err(self.must_be(&format!("an array of at most {most}"))),
        }
    }

    /// The raw table, if it is one.
    pub(super) fn table(&self) -> Option<&'a DeTable<'a>> {
        self.value.get_ref().as_table()
    }

    /// A table with known keys.
    pub(super) fn fields(&self, what: &'static str, known: &[&str]) -> Result<Fields<'a>, Fault> {
        match self.table() {
            Some(table) => Fields::new(what, self.span(), table, known),
            None => Err(self.must_be("a table `{ .. }`")),
        }
    }
}

fn whole(value: &Spanned<DeValue<'_>>) -> Option<u64> {
    let integer = value.get_ref().as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn number(value: &Spanned<DeValue<'_>>) -> Option<f64> {
    match value.get_ref() {
        DeValue::Float(float) => float.as_str().parse().ok(),
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n as f64)
        }
        _ => None,
    }
}

fn seconds(value: &Spanned<DeValue<'_>>, low: f64, high: f64) -> Option<Duration> {
    let seconds = number(value).filter(|seconds| (low..=high).contains(seconds))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A value as it is shown in a refusal.
fn shown(value: &Spanned<DeValue<'_>>) -> String {
    match value.get_ref() {
        DeValue::String(text) => shorten(text),
        DeValue::Integer(integer) => integer.as_str().to_owned(),
        DeValue::Float(float) => float.as_str().to_owned(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(items) if items.is_empty() => "an empty array".to_owned(),
        DeValue::Array(items) if items.len() <= 4 && !items.iter().any(|i| nests(i.get_ref())) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        DeValue::Array(items) => format!("an array of {}", items.len()),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn nests(value: &DeValue<'_>) -> bool {
    matches!(value, DeValue::Array(_) | DeValue::Table(_))
}
