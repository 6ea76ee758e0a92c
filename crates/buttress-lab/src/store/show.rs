//! Stored things as text.

use std::time::{Duration, UNIX_EPOCH};

use buttress::store::{Finding, IdempotencyKey, Payload, Pruned, Sealed, Summary, Version};
use serde_json::{Value, json};

use super::{Checked, Doubt};

/// How to show what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// For a terminal.
    Table,
    /// For programs: one object a line.
    Json,
}

impl Look {
    /// Workflows, one a line.
    pub fn workflows(self, all: &[Summary]) -> String {
        if self == Self::Json {
            return lines(all.iter().map(workflow));
        }
        let heads = ["WORKFLOW", "STATE", "VERSIONS", "IN DOUBT", "EPOCH", "WRITTEN", "HELD BY"];
        let rows = all.iter().map(|one| {
            let held = one.held.as_ref();
            vec![
                one.workflow.to_string(),
                one.life.as_str().to_owned(),
                one.latest.to_string(),
                one.pending.to_string(),
                one.epoch.to_string(),
                at(one.touched),
                held.map_or_else(String::new, |(owner, left)| format!("{owner} for {left:.0?}")),
            ]
        });
        columns(&heads, rows)
    }

    /// Versions, one a line.
    pub fn versions(self, all: &[Version]) -> String {
        if self == Self::Json {
            return lines(all.iter().map(|version| match version {
                Version::Intact(sealed) => record(sealed),
                Version::Damaged(finding) => damaged(finding),
            }));
        }
        let heads = ["VERSION", "STEP", "STATUS", "ATTEMPT", "EPOCH", "WRITTEN", "BYTES", "DIGEST"];
        let rows = all.iter().map(|version| match version {
            Version::Intact(sealed) => vec![
                sealed.version.to_string(),
                sealed.step.to_string(),
                sealed.status.as_str().to_owned(),
                sealed.attempt.to_string(),
                sealed.epoch.to_string(),
                at(sealed.created),
                sealed.payload.bytes.len().to_string(),
                format!("{:.12}", sealed.digest),
            ],
            Version::Damaged(finding) => {
                vec![finding.version.to_string(), format!("DAMAGED: {}", finding.damage)]
            }
        });
        columns(&heads, rows)
    }

    /// One version with all that it carries, and newer ones that had to be passed over.
    pub fn version(self, sealed: &Sealed, skipped: &[Finding]) -> String {
        if self == Self::Json {
            return lines(skipped.iter().map(damaged).chain([record(sealed)]));
        }
        let mut text = String::new();
        for Finding { version, damage } in skipped {
            text += &format!("version {version} is passed over: {damage}\n");
        }
        let parent = sealed.parent.map_or_else(|| "none".to_owned(), |parent| parent.to_string());
        let facts = [
            ("workflow", sealed.workflow.to_string()),
            ("version", sealed.version.to_string()),
            ("made from", parent),
            ("step", sealed.step.to_string()),
            ("status", sealed.status.as_str().to_owned()),
            ("attempt", sealed.attempt.to_string()),
            ("epoch", sealed.epoch.to_string()),
            ("written", at(sealed.created)),
            ("request", sealed.fingerprint.to_string()),
            ("digest", sealed.digest.to_string()),
            ("schema", sealed.payload.schema.to_string()),
            ("payload", readable(&sealed.payload)),
        ];
        text + &list(&facts)
    }

    /// A step in doubt, and the key by which a tool may know it.
    pub fn doubt(self, doubt: &Doubt, key: IdempotencyKey) -> String {
        let Doubt { step, version, fingerprint } = doubt;
        let request = fingerprint.map(|request| request.to_string());
        match self {
            Self::Json => lines(
                [json!({
                    "step": &*step.name,
                    "occurrence": step.occurrence,
                    "version": version,
                    "request": request,
                    "key": key.to_string(),
                })]
                .into_iter(),
            ),
            Self::Table => list(&[
                ("in doubt", step.to_string()),
                ("version", version.to_string()),
                ("request", request.unwrap_or_else(|| "not to be read any more".to_owned())),
                ("key", key.to_string()),
            ]),
        }
    }

    /// How much was removed.
    pub fn pruned(self, pruned: &Pruned) -> String {
        let Pruned { workflows, records } = pruned;
        match self {
            Self::Json => lines([json!({"workflows": workflows, "records": records})].into_iter()),
            Self::Table => format!("{workflows} workflows removed, with {records} records\n"),
        }
    }

    /// What a look through a store found.
    pub fn checked(self, checked: &Checked) -> String {
        let findings = checked.findings.iter();
        if self == Self::Json {
            let findings = findings.map(|(workflow, finding)| {
                let mut line = damaged(finding);
                line["workflow"] = workflow.to_string().into();
                line
            });
            let failed = checked.failed.iter().map(|(workflow, error)| {
                json!({"workflow": workflow.to_string(), "error": error.to_string()})
            });
            let total = json!({
                "workflows": checked.workflows,
                "records": checked.records,
                "damaged": checked.findings.len(),
                "failed": checked.failed.len(),
            });
            return lines(findings.chain(failed).chain([total]));
        }
        let mut text = String::new();
        for (workflow, Finding { version, damage }) in findings {
            text += &plain(&format!("{workflow}: version {version}: {damage}"));
            text.push('\n');
        }
        for (workflow, error) in &checked.failed {
            text += &plain(&format!("{workflow}: {error}"));
            text.push('\n');
        }
        let Checked { workflows, records, .. } = checked;
        text += &format!("{records} records of {workflows} workflows: ");
        text += &match checked.findings.len() + checked.failed.len() {
            0 => "all as they were written\n".to_owned(),
            n => format!(
                "{n} damaged; steps whose outcome is damaged are in doubt, the rest is served from older versions\n"
            ),
        };
        text
    }
}

/// A workflow as an object.
fn workflow(summary: &Summary) -> Value {
    json!({
        "namespace": &*summary.workflow.namespace,
        "workflow": &*summary.workflow.workflow,
        "state": summary.life.as_str(),
        "latest": summary.latest,
        "in_doubt": summary.pending,
        "epoch": summary.epoch,
        "written": at(summary.touched),
        "owner": summary.held.as_ref().map(|(owner, _)| &**owner),
        "forked_from": summary.forked.as_ref().map(|(from, at)| format!("{from}@{at}")),
    })
}

/// A version as an object.
fn record(sealed: &Sealed) -> Value {
    json!({
        "namespace": &*sealed.workflow.namespace,
        "workflow": &*sealed.workflow.workflow,
        "version": sealed.version,
        "parent": sealed.parent,
        "step": &*sealed.step.name,
        "occurrence": sealed.step.occurrence,
        "status": sealed.status.as_str(),
        "attempt": sealed.attempt,
        "epoch": sealed.epoch,
        "written": at(sealed.created),
        "request": sealed.fingerprint.to_string(),
        "digest": sealed.digest.to_string(),
        "schema": sealed.payload.schema,
        "payload": payload(&sealed.payload),
    })
}

/// What is wrong as an object.
fn damaged(finding: &Finding) -> Value {
    json!({"version": finding.version, "damage": finding.damage.to_string()})
}

fn payload(payload: &Payload) -> Value {
    if payload.bytes.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(&payload.bytes).unwrap_or_else(|_| readable(payload).into())
}

fn readable(payload: &Payload) -> String {
    text(payload).1
}

/// The very text that is stored, or hexadecimal digits where it is none; and which of the two.
pub(super) fn text(payload: &Payload) -> (&'static str, String) {
    match std::str::from_utf8(&payload.bytes) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("hex", payload.bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}

fn lines(values: impl Iterator<Item = Value>) -> String {
    values.map(|value| format!("{value}\n")).collect()
}

/// Milliseconds since 1970 as a date and a time of day.
fn at(millis: u64) -> String {
    // Beyond the year 9999 there is no date to be had, and no clock that is right.
    const LAST: u64 = 253_402_300_799_000;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(millis.min(LAST)))
}

/// One fact a line.
fn list(facts: &[(&str, String)]) -> String {
    let line = |(name, fact): &(&str, String)| {
        format!("{name:<10} {}", plain(fact)).trim_end().to_owned() + "\n"
    };
    facts.iter().map(line).collect()
}

/// Without what a terminal would obey: names and answers are anybody's.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => plain.push(letter),
            letter if letter.is_control() => plain.extend(letter.escape_default()),
            letter => plain.push(letter),
        }
    }
    plain
}

fn columns(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    let cell = |cell: &String| plain(cell).replace('\n', "\\n").replace('\t', "\\t");
    let cells = |row: Vec<String>| row.iter().map(cell).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heads).chain(rows.map(cells)).collect();
    let wide = |at: usize| {
        let cells = rows.iter().filter(|row| row.len() > at + 1).filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(wide).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, wide)| format!("{cell:<wide$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows = [vec!["abc".to_owned(), "1".to_owned()], vec!["d".to_owned(), "22".to_owned()]];
        assert_eq!(columns(&["A", "B"], rows.into_iter()), "A    B\nabc  1\nd    22\n");
    }

    #[test]
    fn no_name_reaches_the_terminal_as_a_command() {
        let rows = [vec!["a\u{1b}[2J\nb".to_owned()]];
        assert_eq!(columns(&["A"], rows.into_iter()), "A\na\\u{1b}[2J\\nb\n");
    }
}
