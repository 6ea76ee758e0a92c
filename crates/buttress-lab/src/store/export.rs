//! What is intact in a store, as text: line by line, however much it is.
//!
//! The lines are those that [`RedbStore::export`](buttress_store::RedbStore::export) writes of a file, but for the
//! lineage of a workflow, which a store does not tell.

use std::{
    io::{self, Write},
    sync::Arc,
};

use buttress::store::{Finding, Sealed, Store, StoreError, Summary, TroubleKind, Version};
use buttress_store::redb::Exported;
use serde::Serialize;

use super::{PAGE, number, show::text};

/// How many bytes of payloads are to be held at a time; of the first page nobody knows.
const HELD: usize = 4 << 20;

/// How many records are asked for first.
const FIRST: usize = 8;

/// Writes down every intact record of a store, one JSON object a line.
///
/// Of workflows that go on meanwhile the records that were there when their turn came.
pub async fn export(store: &dyn Store, sink: &mut impl Write) -> Result<Exported, StoreError> {
    let mut found = Exported::default();
    let mut after = None;
    loop {
        let page = store.list(None, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.workflow.clone());
        for summary in page {
            found.workflows += 1;
            line(sink, &Line::workflow(&summary))?;
            records(store, &summary, sink, &mut found).await?;
        }
    }
    sink.flush().map_err(unwritten)?;
    Ok(found)
}

async fn records(
    store: &dyn Store,
    summary: &Summary,
    sink: &mut impl Write,
    found: &mut Exported,
) -> Result<(), StoreError> {
    let (mut after, mut most) = (0, FIRST);
    while after < summary.latest {
        let page = store.history(&summary.workflow, after, most).await?;
        let Some(last) = page.last() else { break };
        after = number(last);
        let bytes: usize = page.iter().map(size).sum();
        most = (HELD / (bytes / page.len()).max(1)).clamp(1, PAGE);
        for version in page {
            match version {
                Version::Intact(record) => {
                    found.records += 1;
                    line(sink, &Line::record(&record))?;
                }
                Version::Damaged(finding) => {
                    found.damaged += 1;
                    line(sink, &Line::damaged(summary, finding))?;
                }
            }
        }
    }
    Ok(())
}

const fn size(version: &Version) -> usize {
    match version {
        Version::Intact(record) => record.record.payload.bytes.len(),
        Version::Damaged(_) => 0,
    }
}

/// One object; what it does not have is left out.
#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    namespace: &'a str,
    workflow: &'a str,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What<'a> {
    Workflow {
        life: &'static str,
        latest: u64,
        epoch: u64,
        pending: u32,
        touched: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        forked_from: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        forked_at: Option<u64>,
    },
    Record {
        version: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        parent: Option<u64>,
        step: &'a str,
        occurrence: u32,
        attempt: u32,
        epoch: u64,
        status: &'static str,
        created: u64,
        fingerprint: String,
        previous: String,
        digest: String,
        codec: u8,
        schema: u32,
        encoding: &'static str,
        payload: String,
    },
    Damaged {
        version: u64,
        damage: String,
    },
}

impl<'a> Line<'a> {
    fn workflow(summary: &'a Summary) -> Self {
        let forked = summary.forked.as_ref();
        Self {
            kind: "workflow",
            namespace: &summary.workflow.namespace,
            workflow: &summary.workflow.workflow,
            what: What::Workflow {
                life: summary.life.as_str(),
                latest: summary.latest,
                epoch: summary.epoch,
                pending: summary.pending,
                touched: summary.touched,
                forked_from: forked.map(|(from, _)| &**from),
                forked_at: forked.map(|(_, at)| *at),
            },
        }
    }

    fn record(sealed: &'a Sealed) -> Self {
        let (encoding, payload) = text(&sealed.payload);
        Self {
            kind: "record",
            namespace: &sealed.workflow.namespace,
            workflow: &sealed.workflow.workflow,
            what: What::Record {
                version: sealed.version,
                parent: sealed.parent,
                step: &sealed.step.name,
                occurrence: sealed.step.occurrence,
                attempt: sealed.attempt,
                epoch: sealed.epoch,
                status: sealed.status.as_str(),
                created: sealed.created,
                fingerprint: sealed.fingerprint.to_string(),
                previous: sealed.previous.to_string(),
                digest: sealed.digest.to_string(),
                codec: sealed.payload.codec,
                schema: sealed.payload.schema,
                encoding,
                payload,
            },
        }
    }

    fn damaged(summary: &'a Summary, Finding { version, damage }: Finding) -> Self {
        Self {
            kind: "damaged",
            namespace: &summary.workflow.namespace,
            workflow: &summary.workflow.workflow,
            what: What::Damaged { version, damage: damage.to_string() },
        }
    }
}

fn line(sink: &mut impl Write, line: &Line<'_>) -> Result<(), StoreError> {
    let written = serde_json::to_writer(&mut *sink, line).map_err(io::Error::from);
    written.and_then(|()| sink.write_all(b"\n")).map_err(unwritten)
}

fn unwritten(error: io::Error) -> StoreError {
    let message = format!("cannot write the export: {error}");
    StoreError::engine(TroubleKind::Other, message, Some(Arc::new(error) as _))
}
