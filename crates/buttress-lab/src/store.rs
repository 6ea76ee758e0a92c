//! A look into a store, and the few things that people do to one by hand.

mod export;
mod open;
mod resolve;
mod show;

use std::{error::Error, fmt};

use buttress::store::{Audit, Finding, Sealed, Store, StoreError, Summary, Version, WorkflowId};

pub use self::{
    export::export,
    open::{Ages, At, open},
    resolve::{Doubt, Unresolved, Word, in_doubt, resolve},
    show::Look,
};

/// How many are asked for at a time.
const PAGE: usize = 256;

/// The workflow of a name on the command line: `NAMESPACE/WORKFLOW`, as `lab store ls` prints it.
///
/// The namespace ends at the first slash.
pub fn workflow(name: &str) -> Result<WorkflowId, Misnamed> {
    match name.split_once('/') {
        Some((namespace, workflow)) => Ok(WorkflowId::new(namespace, workflow)),
        None => Err(Misnamed(name.to_owned())),
    }
}

/// A workflow's name without a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misnamed(String);

impl fmt::Display for Misnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        write!(
            f,
            "which namespace? write {name:?} as NAMESPACE/WORKFLOW, as `lab store ls` prints it"
        )
    }
}

impl Error for Misnamed {}

/// All workflows of a namespace, or of all.
pub async fn list(store: &dyn Store, namespace: Option<&str>) -> Result<Vec<Summary>, StoreError> {
    let mut all: Vec<Summary> = Vec::new();
    loop {
        let after = all.last().map(|last| last.workflow.clone());
        let page = store.list(namespace, after.as_ref(), PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// All versions of a workflow, oldest first.
pub async fn history(store: &dyn Store, of: &WorkflowId) -> Result<Vec<Version>, StoreError> {
    let mut all: Vec<Version> = Vec::new();
    loop {
        let after = all.last().map_or(0, number);
        let page = store.history(of, after, PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

const fn number(version: &Version) -> u64 {
    match version {
        Version::Intact(record) => record.record.version,
        Version::Damaged(finding) => finding.version,
    }
}

/// One version, or the newest intact one.
pub async fn version(
    store: &dyn Store,
    of: &WorkflowId,
    version: Option<u64>,
) -> Result<(Sealed, Vec<Finding>), StoreError> {
    match version {
        Some(version) => Ok((store.get(of, version).await?, Vec::new())),
        None => match store.latest(of, None).await? {
            Some(found) => Ok((found.record, found.skipped)),
            None => Err(StoreError::NotFound { workflow: of.clone(), version: None }),
        },
    }
}

/// What is wrong with the workflows of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many workflows were looked through.
    pub workflows: u64,
    /// How many records.
    pub records: u64,
    /// What is wrong.
    pub findings: Vec<(WorkflowId, Finding)>,
    /// Workflows that could not be looked through, and why.
    pub failed: Vec<(WorkflowId, StoreError)>,
}

impl Checked {
    /// Whether all is well.
    pub fn is_well(&self) -> bool {
        self.findings.is_empty() && self.failed.is_empty()
    }

    fn add(&mut self, workflow: &WorkflowId, audit: Result<Audit, StoreError>) {
        self.workflows += 1;
        match audit {
            Ok(Audit { records, findings }) => {
                self.records += records;
                self.findings.extend(findings.into_iter().map(|one| (workflow.clone(), one)));
            }
            Err(error) => self.failed.push((workflow.clone(), error)),
        }
    }
}

/// Looks through one workflow, or all; `seen` is told after each.
pub async fn verify(
    store: &dyn Store,
    one: Option<&WorkflowId>,
    mut seen: impl FnMut(&Checked),
) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    if let Some(one) = one {
        // One that was asked for by name must be there.
        checked.add(one, Ok(store.verify(one).await?));
        seen(&checked);
        return Ok(checked);
    }
    let mut after = None;
    loop {
        let page = store.list(None, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(checked) };
        after = Some(last.workflow.clone());
        for Summary { workflow, .. } in page {
            checked.add(&workflow, store.verify(&workflow).await);
            seen(&checked);
        }
    }
}
