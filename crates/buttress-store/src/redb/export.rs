//! What is intact in a file, as text.

use std::{
    collections::HashSet,
    fmt::Write as _,
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use ::redb::{ReadableDatabase, ReadableTable as _};
use buttress::store::{Damage, Digest, Head, Record, Sealed, StoreError, TroubleKind, WorkflowId};

use super::{
    RedbStore, key,
    overlay::Overlay,
    rows::Reading,
    trouble::{self, Stop},
};

/// What an export found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Workflows.
    pub workflows: u64,
    /// Intact records.
    pub records: u64,
    /// Records that are not as they were written.
    pub damaged: u64,
    /// Intact records that redb did not find, and a search through the bytes of the file did. Some of them
    /// may have been deleted, or dropped by retention, before.
    pub salvaged: u64,
    /// Why the file could not be read in order.
    pub trouble: Option<StoreError>,
}

impl RedbStore {
    /// Writes down what is intact in a file, even if it is too damaged to be opened; the file is not changed.
    ///
    /// One JSON object a line. `"kind"` is `"workflow"`, `"record"`, `"damaged"`, with the bytes that are
    /// left, or `"salvaged"`, for records that are found by searching the bytes of the file when it cannot be
    /// read in order. The `"payload"` is the very text that was stored, or hexadecimal digits where it
    /// is no text, as `"encoding"` tells. Where a version is there twice, the salvaged one may be older.
    ///
    /// Waits for the disk. A file that a process has open is [`TroubleKind::Locked`].
    pub fn export(path: impl AsRef<Path>, sink: &mut impl Write) -> Result<Exported, StoreError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let open = || {
            let file = fs::File::open(path)?;
            Ok((file.try_clone()?, file))
        };
        let (bytes, file) =
            open().map_err(|error: io::Error| trouble::io_error(&name, "read", error))?;
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(trouble::engine(&name, ::redb::Error::DatabaseAlreadyOpen));
            }
            Err(fs::TryLockError::Error(error)) => {
                return Err(trouble::io_error(&name, "lock", error));
            }
        }
        let mut export = Export { sink, seen: HashSet::new(), found: Exported::default() };
        let mut database = None;
        let walked = catch_unwind(AssertUnwindSafe(|| walk(file, &mut database, &mut export)));
        let walked = match walked {
            Ok(walked) => walked,
            Err(payload) => Err(Fault::Stop(trouble::panicked(&name, &*payload).into())),
        };
        // Not while another panic unwinds: it may panic itself.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
        match walked {
            Ok(()) => {}
            Err(Fault::Sink(error)) => return Err(sink_error(error)),
            Err(Fault::Stop(stop)) => {
                export.found.trouble = Some(stop.tell(&name));
                match search(bytes, &mut export) {
                    Ok(()) => {}
                    Err(Search::Sink(error)) => return Err(sink_error(error)),
                    Err(Search::File(error)) => {
                        return Err(trouble::io_error(&name, "read", error));
                    }
                }
            }
        }
        export.sink.flush().map_err(sink_error)?;
        Ok(export.found)
    }
}

fn sink_error(error: io::Error) -> StoreError {
    StoreError::engine(
        TroubleKind::Other,
        format!("cannot write the export: {error}"),
        Some(std::sync::Arc::new(error) as _),
    )
}

enum Fault {
    Sink(io::Error),
    Stop(Stop),
}

impl<E: Into<Stop>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Stop(error.into())
    }
}

enum Search {
    Sink(io::Error),
    File(io::Error),
}

struct Export<'a, W> {
    sink: &'a mut W,
    /// Records that were written down.
    seen: HashSet<Digest>,
    found: Exported,
}

/// Reads the tables in order.
fn walk<W: Write>(
    file: fs::File,
    database: &mut Option<Box<dyn ReadableDatabase>>,
    export: &mut Export<'_, W>,
) -> Result<(), Fault> {
    let overlay = Overlay::new(file).map_err(::redb::StorageError::Io)?;
    let database = database.insert(overlay.database()?);
    let rows = Reading::open(&database.begin_read()?)?;
    for row in rows.heads.iter()? {
        let (_, bytes) = row?;
        if let Ok(head) = Head::open(bytes.value()) {
            export.found.workflows += 1;
            export.line(&of_head(&head)).map_err(Fault::Sink)?;
        }
    }
    for row in rows.records.iter()? {
        let (at, bytes) = row?;
        match Record::open(bytes.value()) {
            Ok(record) => {
                export.found.records += 1;
                export.seen.insert(record.digest);
                export.line(&of_record("record", &record)).map_err(Fault::Sink)?;
            }
            Err(damage) => {
                export.found.damaged += 1;
                let line = of_damaged(at.value(), bytes.value(), damage);
                export.line(&line).map_err(Fault::Sink)?;
            }
        }
    }
    Ok(())
}

/// Searches the bytes of the file: redb keeps each value in one piece.
fn search<W: Write>(mut file: fs::File, export: &mut Export<'_, W>) -> Result<(), Search> {
    const WINDOW: usize = 1 << 20;
    const MAGIC: &[u8; 4] = b"BTRS";
    /// The longest beginning of a record that tells its length.
    const BEGINNING: usize = 2048;
    let mut window = Vec::new();
    let mut start = 0;
    loop {
        window.clear();
        file.seek(SeekFrom::Start(start)).map_err(Search::File)?;
        (&mut file).take(WINDOW as u64).read_to_end(&mut window).map_err(Search::File)?;
        let last = window.len() < WINDOW;
        let places: Vec<usize> = window
            .windows(MAGIC.len())
            .enumerate()
            .filter_map(|(at, bytes)| (bytes == MAGIC).then_some(at))
            .collect();
        for at in places {
            let at = start + at as u64;
            let mut bytes = Vec::new();
            let mut more = |most: usize, bytes: &mut Vec<u8>| {
                file.seek(SeekFrom::Start(at + bytes.len() as u64))?;
                (&mut file).take((most - bytes.len()) as u64).read_to_end(bytes)
            };
            more(BEGINNING, &mut bytes).map_err(Search::File)?;
            let Some(length) = Record::length(&bytes) else { continue };
            if bytes.len() < length {
                more(length, &mut bytes).map_err(Search::File)?;
            }
            let Some(Ok(record)) = bytes.get(..length).map(Record::open) else { continue };
            if export.seen.insert(record.digest) {
                export.found.salvaged += 1;
                export.line(&of_record("salvaged", &record)).map_err(Search::Sink)?;
            }
        }
        if last {
            return Ok(());
        }
        // What begins at the end of this window is found in the next.
        start += (WINDOW - MAGIC.len() + 1) as u64;
    }
}

impl<W: Write> Export<'_, W> {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        writeln!(self.sink, "{{{}}}", line.0)
    }
}

/// The fields of one object.
struct Line(String);

impl Line {
    fn new(kind: &str, workflow: &WorkflowId) -> Self {
        Self(String::new())
            .text("kind", kind)
            .text("namespace", &workflow.namespace)
            .text("workflow", &workflow.workflow)
    }

    fn name(&mut self, name: &str) {
        let comma = if self.0.is_empty() { "" } else { "," };
        let _ = write!(self.0, "{comma}\"{name}\":");
    }

    fn number(mut self, name: &str, number: impl Into<u64>) -> Self {
        self.name(name);
        let _ = write!(self.0, "{}", number.into());
        self
    }

    fn text(mut self, name: &str, text: &str) -> Self {
        self.name(name);
        self.0.push('"');
        for letter in text.chars() {
            match letter {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                letter if letter < ' ' => {
                    let _ = write!(self.0, "\\u{:04x}", u32::from(letter));
                }
                letter => self.0.push(letter),
            }
        }
        self.0.push('"');
        self
    }

    fn bytes(self, name: &str, bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text("encoding", "text").text(name, text),
            Err(_) => {
                let mut digits = String::with_capacity(bytes.len() * 2);
                for byte in bytes {
                    let _ = write!(digits, "{byte:02x}");
                }
                self.text("encoding", "hex").text(name, &digits)
            }
        }
    }
}

fn of_head(head: &Head) -> Line {
    let line = Line::new("workflow", &head.workflow)
        .text("life", head.life.as_str())
        .number("latest", head.latest)
        .number("epoch", head.epoch)
        .number("pending", head.pending)
        .number("touched", head.touched)
        .text("lineage", &head.lineage.to_string());
    match &head.forked {
        Some((from, at)) => line.text("forked_from", from).number("forked_at", *at),
        None => line,
    }
}

fn of_record(kind: &str, Sealed { record, digest }: &Sealed) -> Line {
    let line = Line::new(kind, &record.workflow).number("version", record.version);
    let line = match record.parent {
        Some(parent) => line.number("parent", parent),
        None => line,
    };
    line.text("step", &record.step.name)
        .number("occurrence", record.step.occurrence)
        .number("attempt", record.attempt)
        .number("epoch", record.epoch)
        .text("status", record.status.as_str())
        .number("created", record.created)
        .text("fingerprint", &record.fingerprint.to_string())
        .text("previous", &record.previous.to_string())
        .text("digest", &digest.to_string())
        .number("codec", record.payload.codec)
        .number("schema", record.payload.schema)
        .bytes("payload", &record.payload.bytes)
}

fn of_damaged(at: &[u8], bytes: &[u8], damage: Damage) -> Line {
    let (workflow, version) = match key::split(at) {
        Some((workflow, rest)) => {
            (workflow, rest.try_into().map(u64::from_be_bytes).unwrap_or_default())
        }
        None => (WorkflowId::new("", ""), 0),
    };
    Line::new("damaged", &workflow)
        .number("version", version)
        .text("damage", &damage.to_string())
        .bytes("bytes", bytes)
}
