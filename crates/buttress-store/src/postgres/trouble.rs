//! What the server says, in words that say what to do.

use std::{error::Error as _, io, sync::Arc, time::Duration};

use buttress::store::{StoreError, TroubleKind};
use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::{
    Config, Error,
    config::Host,
    error::{DbError, SqlState},
};

/// Which server, database and schema this is, for people. Knows no password.
#[derive(Clone, Debug)]
pub(super) struct Target {
    server: String,
    user: Option<String>,
    database: Option<String>,
    schema: String,
}

impl Target {
    /// A server of which nothing is known, since another made its pool.
    pub(super) fn unknown(schema: &str) -> Self {
        let server = "PostgreSQL".to_owned();
        Self { server, user: None, database: None, schema: schema.to_owned() }
    }

    pub(super) fn of(config: &Config, schema: &str) -> Self {
        let mut ports = config.get_ports().iter().cycle();
        let hosts = config.get_hosts().iter().map(|host| {
            let port = ports.next().copied().unwrap_or(5432);
            match host {
                // Of `user:p@ss@host` the driver takes the rest of the password for part of the host.
                Host::Tcp(name) => match name.rsplit_once('@') {
                    Some((_, name)) => format!("…{name}:{port}"),
                    None => format!("{name}:{port}"),
                },
                #[cfg(unix)]
                Host::Unix(path) => path.display().to_string(),
            }
        });
        let mut hosts: Vec<String> = hosts.collect();
        if hosts.is_empty() {
            hosts = config.get_hostaddrs().iter().map(ToString::to_string).collect();
        }
        Self {
            server: format!("PostgreSQL at {}", hosts.join(", ")),
            user: config.get_user().map(str::to_owned),
            database: config.get_dbname().or(config.get_user()).map(str::to_owned),
            schema: schema.to_owned(),
        }
    }

    pub(super) fn newer(&self, found: i32, known: i32) -> StoreError {
        let message = format!(
            "{}: the schema `{}` is of version {found}, and this release knows versions up to {known}: \
             update this program, or use another schema",
            self.server, self.schema
        );
        StoreError::engine(TroubleKind::Format, message, None)
    }

    pub(super) fn unsynced(&self) -> StoreError {
        let message = format!(
            "{}: fsync is off, so the server answers before anything is on disk, and a power loss loses it: \
             set `fsync = on`, or say `fsync_off_is_safe` if its storage keeps the log by other means",
            self.server
        );
        StoreError::engine(TroubleKind::Other, message, None)
    }

    pub(super) fn encoding(&self, found: &str) -> StoreError {
        let message = format!(
            "{}: the database is encoded in {found}, which cannot hold every name: \
             use one that was made with ENCODING 'UTF8'",
            self.server
        );
        StoreError::engine(TroubleKind::Other, message, None)
    }

    pub(super) fn slow(&self, timeout: Duration) -> StoreError {
        let message = format!("{} did not answer within {timeout:?}", self.server);
        StoreError::engine(TroubleKind::Unreachable, message, None)
    }

    pub(super) fn busy(&self, timeout: Duration) -> StoreError {
        self.all_busy(&format!("{timeout:?}"))
    }

    fn all_busy(&self, time: &str) -> StoreError {
        let message = format!(
            "{}: all connections of the pool were busy for {time}: make it larger",
            self.server
        );
        StoreError::engine(TroubleKind::Unreachable, message, None)
    }

    /// What the server answered is not what was asked for.
    pub(super) fn nonsense(&self) -> StoreError {
        let message = format!("{} answered what was not asked for", self.server);
        StoreError::engine(TroubleKind::Other, message, None)
    }

    pub(super) fn pool(&self, error: PoolError) -> StoreError {
        let server = &self.server;
        match error {
            PoolError::Backend(error) => self.trouble(error),
            PoolError::Timeout(TimeoutType::Wait) => self.all_busy("too long"),
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => StoreError::engine(
                TroubleKind::Unreachable,
                format!("{server} did not answer in time when it was connected to"),
                None,
            ),
            error @ (PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_)) => StoreError::engine(
                TroubleKind::Other,
                format!("{server}: {error}"),
                Arc::new(error) as Arc<_>,
            ),
        }
    }

    pub(super) fn trouble(&self, error: Error) -> StoreError {
        let (kind, message) = match error.as_db_error() {
            Some(told) => self.told(told),
            None => self.failed(&error),
        };
        StoreError::engine(kind, message, Arc::new(error) as Arc<_>)
    }

    /// The server answered with an error.
    fn told(&self, error: &DbError) -> (TroubleKind, String) {
        let server = &self.server;
        let said = error.message();
        let user = self.user.as_deref().unwrap_or("the role");
        let code = error.code();
        match (code.code().get(..2), code) {
            (_, &SqlState::INVALID_PASSWORD) => {
                let message = format!("{server} refuses the password of `{user}`");
                (TroubleKind::Denied, message)
            }
            (Some("28"), _) => {
                let message = format!("{server} does not let `{user}` in: {said}");
                (TroubleKind::Denied, message)
            }
            (_, &SqlState::INSUFFICIENT_PRIVILEGE) => (
                TroubleKind::Denied,
                format!(
                    "{server}: {said}. The role needs USAGE on the schema `{schema}`, SELECT, INSERT, UPDATE \
                     and DELETE on its tables and USAGE on its sequence; the role that connects first also \
                     CREATE on the database, or on the schema if there is one",
                    schema = self.schema
                ),
            ),
            (_, &SqlState::INVALID_CATALOG_NAME) => {
                let database = self.database.as_deref().unwrap_or("named");
                let message =
                    format!("{server} has no database `{database}`: make it with `createdb`");
                (TroubleKind::Other, message)
            }
            (_, &SqlState::DISK_FULL) => {
                (TroubleKind::Full, format!("{server}: the disk of the server is full: {said}"))
            }
            (_, &SqlState::READ_ONLY_SQL_TRANSACTION) => (
                TroubleKind::ReadOnly,
                format!(
                    "{server} is read-only: it is a standby, or `default_transaction_read_only` is on; \
                     connect to the primary ({said})"
                ),
            ),
            (_, &SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME) => (
                TroubleKind::Damaged,
                format!(
                    "{server}: the schema `{}` is not there any more, or not whole: restore it, \
                     or connect again to make a new one ({said})",
                    self.schema
                ),
            ),
            (Some("XX"), _) | (_, &SqlState::IO_ERROR) => {
                (TroubleKind::Damaged, format!("{server} finds its files damaged: {said}"))
            }
            (_, &SqlState::UNIQUE_VIOLATION) => (
                TroubleKind::Damaged,
                format!(
                    "{server}: there is a version already where the next is to be written ({said})"
                ),
            ),
            (Some("08" | "57"), _)
            | (_, &SqlState::TOO_MANY_CONNECTIONS | &SqlState::LOCK_NOT_AVAILABLE) => {
                (TroubleKind::Unreachable, format!("{server} cannot be used now: {said}"))
            }
            _ => (TroubleKind::Other, format!("{server}: {said} ({})", code.code())),
        }
    }

    /// There was no answer.
    fn failed(&self, error: &Error) -> (TroubleKind, String) {
        let server = &self.server;
        let source = error.source();
        let cause = source.map(ToString::to_string).unwrap_or_default();
        if cause.contains("password missing") {
            let user = self.user.as_deref().unwrap_or("the role");
            let message = format!("{server} asks for a password of `{user}`, and none was given");
            return (TroubleKind::Denied, message);
        }
        if source.is_some_and(|source| source.downcast_ref::<io::Error>().is_some()) {
            return (TroubleKind::Unreachable, format!("{server} cannot be reached: {cause}"));
        }
        if error.is_closed() {
            return (TroubleKind::Unreachable, format!("{server} closed the connection"));
        }
        let colon = if cause.is_empty() { "" } else { ": " };
        (TroubleKind::Other, format!("{server}: {error}{colon}{cause}"))
    }
}

/// Whether the session is gone, so that another may do better.
pub(super) fn gone(error: &Error) -> bool {
    match error.as_db_error() {
        // The server ends sessions when it is stopped.
        Some(told) => matches!(
            *told.code(),
            SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::IDLE_SESSION_TIMEOUT
        ),
        None => {
            error.is_closed()
                || error.source().is_some_and(<dyn std::error::Error>::is::<io::Error>)
        }
    }
}

/// Whether the same statement may go through when it is sent again: nothing was written, since another
/// was in the way.
pub(super) fn crossed(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED)
    )
}

/// A connection string that cannot be read. What the driver says of it may quote parts of the password.
pub(super) fn unreadable() -> StoreError {
    let message = "the connection string cannot be read: it is to look like \
                   `postgresql://user:password@host:5432/database`, with @ : / ? # % and spaces in the \
                   password written as %40 %3A %2F %3F %23 %25 %20";
    StoreError::engine(TroubleKind::Other, message, None)
}

/// Encryption is asked for, which the driver leaves to another crate.
pub(super) fn no_encryption() -> StoreError {
    let message = "the connection string asks for TLS (`sslmode=require`), which needs a connector: make a \
                   `deadpool_postgres::Pool` with one (of `tokio-postgres-rustls` or \
                   `postgres-native-tls`) and give it to `PostgresStore::from_pool`";
    StoreError::engine(TroubleKind::Other, message, None)
}
