//! A head as the columns of a row, and back.

use std::{borrow::Cow, error};

use buttress::store::{Damage, Digest, Head, Life, StoreError, Term, WorkflowId};
use tokio_postgres::{
    Error, Row,
    types::{FromSql, ToSql, Type},
};

/// The columns of a head in the order in which they are written and read.
pub(super) const COLUMNS: [&str; 16] = [
    "namespace",
    "workflow",
    "born",
    "epoch",
    "lineage",
    "owner",
    "until",
    "latest",
    "digest",
    "floor",
    "life",
    "pending",
    "forked_from",
    "forked_at",
    "touched",
    "seal",
];

/// The parameters of a statement.
pub(super) type Parameters<'a> = Vec<&'a (dyn ToSql + Sync)>;

/// A head that is stored, and its seal there.
pub(super) struct Kept {
    pub(super) head: Head,
    pub(super) seal: Vec<u8>,
}

/// A number as the server keeps it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What seals a head: SHA-256 of its stored form, which holds all that it says.
fn seal(head: &Head) -> Vec<u8> {
    let mut bytes = head.seal();
    bytes.split_off(bytes.len().saturating_sub(32))
}

/// A head as it stands in a row.
pub(super) struct Columns<'a> {
    namespace: &'a str,
    workflow: &'a str,
    born: i64,
    epoch: i64,
    lineage: &'a [u8],
    owner: Option<&'a str>,
    until: Option<i64>,
    latest: i64,
    digest: &'a [u8],
    floor: i64,
    life: &'a str,
    pending: i64,
    forked_from: Option<&'a str>,
    forked_at: Option<i64>,
    touched: i64,
    seal: Cow<'a, [u8]>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(head: &'a mut Head) -> Self {
        if let Some(term) = &mut head.lease {
            // What is sealed must be what can be kept, and some hold a workflow for ever.
            term.until = term.until.min(i64::MAX as u64);
        }
        let seal = seal(head).into();
        Self {
            namespace: &head.workflow.namespace,
            workflow: &head.workflow.workflow,
            born: signed(head.born),
            epoch: signed(head.epoch),
            lineage: &head.lineage.0,
            owner: head.lease.as_ref().map(|term| &*term.owner),
            until: head.lease.as_ref().map(|term| signed(term.until)),
            latest: signed(head.latest),
            digest: &head.digest.0,
            floor: signed(head.floor),
            life: head.life.as_str(),
            pending: i64::from(head.pending),
            forked_from: head.forked.as_ref().map(|(from, _)| &**from),
            forked_at: head.forked.as_ref().map(|(_, at)| signed(*at)),
            touched: signed(head.touched),
            seal,
        }
    }

    /// In the order of [`COLUMNS`].
    pub(super) fn parameters(&self) -> Parameters<'_> {
        vec![
            &self.namespace,
            &self.workflow,
            &self.born,
            &self.epoch,
            &self.lineage,
            &self.owner,
            &self.until,
            &self.latest,
            &self.digest,
            &self.floor,
            &self.life,
            &self.pending,
            &self.forked_from,
            &self.forked_at,
            &self.touched,
            &self.seal,
        ]
    }

    fn read(row: &'a Row, at: usize) -> Result<Self, Error> {
        Ok(Self {
            namespace: column(row, at)?,
            workflow: column(row, at + 1)?,
            born: column(row, at + 2)?,
            epoch: column(row, at + 3)?,
            lineage: column(row, at + 4)?,
            owner: column(row, at + 5)?,
            until: column(row, at + 6)?,
            latest: column(row, at + 7)?,
            digest: column(row, at + 8)?,
            floor: column(row, at + 9)?,
            life: column(row, at + 10)?,
            pending: column(row, at + 11)?,
            forked_from: column(row, at + 12)?,
            forked_at: column(row, at + 13)?,
            touched: column(row, at + 14)?,
            seal: Cow::Borrowed(column(row, at + 15)?),
        })
    }

    /// The head, if it is as it was sealed.
    fn open(self) -> Option<Kept> {
        let number = |number: i64| u64::try_from(number).ok();
        let lease = match (self.owner, self.until) {
            (None, None) => None,
            // The clock of a server does not start again.
            (Some(owner), Some(until)) => {
                Some(Term { owner: owner.into(), until: number(until)?, boot: 0 })
            }
            _ => return None,
        };
        let forked = match (self.forked_from, self.forked_at) {
            (None, None) => None,
            (Some(from), Some(at)) => Some((from.into(), number(at)?)),
            _ => return None,
        };
        let head = Head {
            workflow: WorkflowId::new(self.namespace, self.workflow),
            born: number(self.born)?,
            epoch: number(self.epoch)?,
            lineage: Digest(self.lineage.try_into().ok()?),
            lease,
            latest: number(self.latest)?,
            digest: Digest(self.digest.try_into().ok()?),
            floor: number(self.floor)?,
            life: Life::from_word(self.life)?,
            pending: u32::try_from(self.pending).ok()?,
            forked,
            touched: number(self.touched)?,
        };
        (seal(&head) == *self.seal).then(|| Kept { head, seal: self.seal.into_owned() })
    }
}

/// A column, or what is wrong with the answer of the server.
pub(super) fn column<'a, T>(row: &'a Row, at: usize) -> Result<T, Error>
where
    T: tokio_postgres::types::FromSql<'a>,
{
    row.try_get(at)
}

/// The head in a row, of which the [columns](COLUMNS) start at `at`; `None` if they are all null.
pub(super) fn head(row: &Row, at: usize) -> Result<Option<Result<Kept, Rotten>>, Error> {
    let Some(namespace) = column::<Option<Stored<'_>>>(row, at)? else { return Ok(None) };
    let name = column::<Option<Stored<'_>>>(row, at + 1)?;
    let workflow = WorkflowId::new(namespace.text(), name.map_or("".into(), Stored::text));
    let kept = Columns::read(row, at).ok().and_then(Columns::open);
    let seal = column::<Option<&[u8]>>(row, at + 15)?.unwrap_or_default();
    Ok(Some(kept.ok_or_else(|| Rotten { workflow, seal: Some(seal.to_vec()) })))
}

/// A workflow whose head is not as it was written, or is not there.
pub(super) struct Rotten {
    pub(super) workflow: WorkflowId,
    /// What is in the place of its seal; `None` if there is no row.
    pub(super) seal: Option<Vec<u8>>,
}

impl From<Rotten> for StoreError {
    fn from(Rotten { workflow, seal }: Rotten) -> Self {
        let damage = if seal.is_some() { Damage::Digest } else { Damage::Missing };
        Self::Corrupt { workflow, version: None, damage }
    }
}

/// The bytes of a text, which may be none: the server hands out what is on its disk.
struct Stored<'a>(&'a [u8]);

impl<'a> Stored<'a> {
    fn text(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.0)
    }
}

impl<'a> FromSql<'a> for Stored<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
