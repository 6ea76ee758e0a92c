//! The statements, for the schema of a store.
//!
//! None needs a transaction around it: each is one, and so no session is ever left in the middle of one,
//! whoever dies or goes away. What is decided from one statement is written by a second, which writes
//! nothing if the head is no longer the one that was read: it compares the seal under the lock of the row.

use super::{row::COLUMNS, schema::quoted};

/// All statements.
pub(super) struct Sql {
    /// The time, an epoch, a head, and the slot of a step.
    pub(super) read: String,
    /// A head, and the record that is kept as the newest of a step or of the workflow.
    pub(super) newest: String,
    /// A head, and one record.
    pub(super) get: String,
    /// A head, and records after a version.
    pub(super) history: String,
    /// The time, an epoch, a head, the one that the workflow came into being with, and what is kept under either:
    /// records, and the newest versions of steps.
    pub(super) all: String,
    /// The time, an epoch, and workflows that nobody holds.
    pub(super) free: String,
    /// The time, and workflows that are older than what is asked for.
    pub(super) old: String,
    /// Removes workflows that are still as they were read.
    pub(super) prune: String,
    list: [[String; 2]; 2],
    open: [String; 2],
    write: [[String; 3]; 4],
}

/// When an epoch is to be fetched. To take one writes to the log of the server, so it is not done for
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Epoch {
    Never,
    /// If there is no head.
    New,
    Always,
}

/// Which head a write takes the place of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// None: the workflow comes into being.
    New,
    /// One that is not found any more. The row may be there yet, under another name.
    Lost,
    /// The one with a seal.
    Sealed,
    /// The one with a seal, unless another is about to write it.
    Unlocked,
}

/// What a write drops.
#[derive(Clone, Copy, Debug)]
pub(super) enum Removal {
    Nothing,
    /// Those of some versions that nobody needs any more.
    Expired,
    /// The whole history.
    History,
}

/// Milliseconds since 1970 when the server got the statement. That is before the statement looks at
/// anything: a lease that is over by this clock, and was not renewed in what it sees, is over.
const NOW: &str = "floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint";

/// No answer before the log is on disk, whatever the setting of the server, the database or the role.
const SYNCED: &str = "CASE current_setting('synchronous_commit') WHEN 'off' \
                      THEN set_config('synchronous_commit', 'on', true) END";

fn head(table: &str) -> String {
    COLUMNS.map(|column| format!("{table}.{column}")).join(", ")
}

fn numbered(from: usize, count: usize) -> String {
    (from..from + count).map(|at| format!("${at}")).collect::<Vec<_>>().join(", ")
}

impl Sql {
    pub(super) fn new(schema: &str) -> Self {
        let at = quoted(schema);
        let head = head("w");
        let this = "w.namespace = $1 AND w.workflow = $2";
        let birth = "b.namespace = $1 AND b.workflow = $2";
        let epoch = format!("nextval('{}.epoch'::regclass)", at.replace('\'', "''"));
        let read = format!(
            "SELECT t.now, CASE WHEN $5 = 2 OR $5 = 1 AND w.born IS NULL THEN {epoch} END, \
             {head}, s.version, r.sealed, s.begun, \
             w.born IS NULL AND EXISTS (SELECT FROM {at}.birth b WHERE {birth}) \
             FROM (SELECT {NOW} AS now) t \
             LEFT JOIN {at}.workflow w ON {this} \
             LEFT JOIN {at}.step s ON s.born = w.born AND s.step = $3 AND s.occurrence = $4 \
             LEFT JOIN {at}.record r ON r.born = s.born AND r.version = s.version"
        );
        let newest = format!(
            "SELECT {head}, s.version, r.sealed FROM {at}.workflow w \
             LEFT JOIN {at}.step s ON s.born = w.born AND s.step = $3 AND s.occurrence = $4 \
             LEFT JOIN {at}.record r ON r.born = w.born \
             AND r.version = CASE WHEN $3 IS NULL THEN w.latest ELSE s.version END \
             WHERE {this}"
        );
        let get = format!(
            "SELECT {head}, r.version, r.sealed FROM {at}.workflow w \
             LEFT JOIN {at}.record r ON r.born = w.born AND r.version = $3 WHERE {this}"
        );
        let history = format!(
            "SELECT {head}, r.version, r.sealed FROM {at}.workflow w \
             LEFT JOIN LATERAL (SELECT version, sealed FROM {at}.record \
             WHERE born = w.born AND version > $3 ORDER BY version LIMIT $4) r ON true \
             WHERE {this} ORDER BY r.version"
        );
        let all = format!(
            "SELECT t.now, (SELECT {epoch} WHERE $3), {head}, {born}, \
             x.born, x.version, x.sealed, x.step, x.occurrence, x.begun \
             FROM (SELECT {NOW} AS now) t \
             LEFT JOIN {at}.workflow w ON {this} LEFT JOIN {at}.birth b ON {birth} \
             LEFT JOIN LATERAL (\
             SELECT born, version, sealed, NULL AS step, NULL AS occurrence, NULL AS begun \
             FROM {at}.record WHERE born IN (w.born, b.born) \
             UNION ALL SELECT born, version, NULL, step, occurrence, begun \
             FROM {at}.step WHERE born IN (w.born, b.born)) x ON true \
             ORDER BY x.version",
            born = self::head("b")
        );
        let free = format!(
            "SELECT t.now, (SELECT {epoch}), {head} \
             FROM (SELECT {NOW} AS now) t, {at}.workflow w \
             WHERE w.namespace = $1 AND w.life = 'open' AND (w.until IS NULL OR w.until <= t.now) \
             ORDER BY w.touched LIMIT $2"
        );
        let old = format!(
            "SELECT t.now, {head} FROM (SELECT {NOW} AS now) t, {at}.workflow w \
             WHERE ($1::text IS NULL OR w.namespace = $1) AND ($2::text IS NULL OR (w.namespace, w.workflow) > ($2, $3)) \
             AND w.touched < t.now - CASE w.life WHEN 'open' THEN $4::bigint ELSE $5::bigint END \
             ORDER BY w.namespace, w.workflow LIMIT $6"
        );
        let prune = format!(
            "WITH gone AS (DELETE FROM {at}.workflow w \
             USING unnest($1::text[], $2::text[], $3::bytea[]) AS c (namespace, workflow, seal) \
             WHERE w.namespace = c.namespace AND w.workflow = c.workflow AND w.seal = c.seal \
             RETURNING w.namespace, w.workflow, w.born), \
             births AS (DELETE FROM {at}.birth b USING gone \
             WHERE b.namespace = gone.namespace AND b.workflow = gone.workflow), \
             records AS (DELETE FROM {at}.record r USING gone WHERE r.born = gone.born RETURNING 1), \
             steps AS (DELETE FROM {at}.step s USING gone WHERE s.born = gone.born) \
             SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM records), {SYNCED}"
        );
        let list = |one: bool, open: bool| {
            [false, true].map(|after| {
                let mut conditions = Vec::new();
                if one {
                    conditions.push("w.namespace = $2".to_owned());
                }
                if open {
                    conditions.push("w.life = 'open'".to_owned());
                }
                if after {
                    let first = if one { 3 } else { 2 };
                    conditions
                        .push(format!("(w.namespace, w.workflow) > (${first}, ${})", first + 1));
                }
                let conditions = if conditions.is_empty() {
                    String::new()
                } else {
                    format!("WHERE {}", conditions.join(" AND "))
                };
                format!(
                    "SELECT {NOW}, {head} FROM {at}.workflow w {conditions} \
                     ORDER BY w.namespace, w.workflow LIMIT $1"
                )
            })
        };
        let open = list(true, true);
        let list = [list(false, false), list(true, false)];
        let write = [Place::New, Place::Lost, Place::Sealed, Place::Unlocked].map(|place| {
            [Removal::Nothing, Removal::Expired, Removal::History]
                .map(|drop| write(&at, place, drop))
        });
        Self { read, newest, get, history, all, free, old, prune, list, open, write }
    }

    /// The time and heads in the order of names: at most `$1`, of one namespace, after a workflow.
    pub(super) fn list(&self, one: bool, after: bool) -> &str {
        let [of_all, of_one] = &self.list;
        let [all, rest] = if one { of_one } else { of_all };
        if after { rest } else { all }
    }

    /// The same of those that go on, of one namespace.
    pub(super) fn open(&self, after: bool) -> &str {
        let [all, rest] = &self.open;
        if after { rest } else { all }
    }

    /// Writes a head and records. The parameters: the columns of the head; of the records the versions,
    /// steps, occurrences, statuses and sealed forms; the seal of the head before; versions that may go,
    /// and whether failures are kept. Answers how many heads it wrote: 0 or 1.
    pub(super) fn write(&self, place: Place, drop: Removal) -> &str {
        let [new, lost, sealed, unlocked] = &self.write;
        let [nothing, expired, history] = match place {
            Place::New => new,
            Place::Lost => lost,
            Place::Sealed => sealed,
            Place::Unlocked => unlocked,
        };
        match drop {
            Removal::Nothing => nothing,
            Removal::Expired => expired,
            Removal::History => history,
        }
    }
}

fn write(at: &str, place: Place, drop: Removal) -> String {
    let count = COLUMNS.len();
    let (columns, values) = (COLUMNS.join(", "), numbered(1, count));
    let [version, step, occurrence, status, sealed] = std::array::from_fn(|at| count + 1 + at);
    let mut next = sealed + 1;
    let head = match place {
        Place::New | Place::Lost => {
            let conflict = match place {
                Place::Lost => format!(
                    "(born) DO UPDATE SET ({columns}) = ROW ({excluded}) \
                     WHERE (w.namespace, w.workflow) <> (excluded.namespace, excluded.workflow)",
                    excluded = self::head("excluded")
                ),
                _ => "(namespace, workflow) DO NOTHING".to_owned(),
            };
            format!(
                "head AS (INSERT INTO {at}.workflow AS w ({columns}) VALUES ({values}) \
                 ON CONFLICT {conflict} RETURNING {returned}), \
                 birth AS (INSERT INTO {at}.birth ({columns}) SELECT {columns} FROM head \
                 ON CONFLICT (namespace, workflow) DO NOTHING)",
                returned = self::head("w")
            )
        }
        Place::Sealed | Place::Unlocked => {
            let seal = next;
            next += 1;
            let this = format!("w.namespace = $1 AND w.workflow = $2 AND w.seal = ${seal}");
            let (first, this) = if let Place::Unlocked = place {
                let first = format!(
                    "free AS (SELECT w.born FROM {at}.workflow w WHERE {this} \
                     FOR UPDATE SKIP LOCKED), "
                );
                (first, format!("{this} AND w.born = (SELECT born FROM free)"))
            } else {
                (String::new(), this)
            };
            format!(
                "{first}head AS (UPDATE {at}.workflow w SET ({columns}) = ({values}) \
                 WHERE {this} RETURNING w.born)"
            )
        }
    };
    let dropped = match drop {
        Removal::Nothing => String::new(),
        // This statement does not see the records that it adds: one of a step that is added to now is
        // superseded by that, not by what the step points to.
        Removal::Expired => format!(
            ", dropped AS (DELETE FROM {at}.record r USING head WHERE r.born = head.born \
             AND r.version = ANY (${next}::bigint[]) \
             AND NOT (r.status = 'failed' AND ${failures}) \
             AND (EXISTS (SELECT FROM {at}.step s WHERE s.born = r.born AND s.step = r.step \
             AND s.occurrence = r.occurrence AND s.version > r.version) \
             OR (r.step, r.occurrence) IN (SELECT * FROM unnest(${step}::text[], ${occurrence}::bigint[]))))",
            failures = next + 1
        ),
        Removal::History => format!(
            ", records AS (DELETE FROM {at}.record r USING head WHERE r.born = head.born), \
             steps AS (DELETE FROM {at}.step s USING head WHERE s.born = head.born), \
             births AS (DELETE FROM {at}.birth b USING head \
             WHERE b.namespace = $1 AND b.workflow = $2)"
        ),
    };
    format!(
        "WITH {head}, \
         kept AS (INSERT INTO {at}.record (born, version, step, occurrence, status, sealed) \
         SELECT head.born, n.* FROM head, unnest(${version}::bigint[], ${step}::text[], \
         ${occurrence}::bigint[], ${status}::text[], ${sealed}::bytea[]) n), \
         pointed AS (INSERT INTO {at}.step AS s (born, step, occurrence, version, begun) \
         SELECT head.born, n.step, n.occurrence, n.version, n.status = 'intent' FROM head, \
         unnest(${step}::text[], ${occurrence}::bigint[], ${version}::bigint[], ${status}::text[]) \
         AS n (step, occurrence, version, status) \
         ON CONFLICT (born, step, occurrence) \
         DO UPDATE SET version = excluded.version, begun = excluded.begun){dropped} \
         SELECT count(*), {SYNCED} FROM head"
    )
}
