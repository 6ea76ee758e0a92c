//! A store that several machines share, on a PostgreSQL server.

mod engine;
mod options;
mod row;
mod schema;
mod session;
mod sql;
mod store;
mod trouble;
mod whole;
mod workflow;

use std::{fmt, sync::Arc, time::Duration};

use buttress::{
    Observe,
    store::{Retention, StoreError},
};
use deadpool_postgres::Pool;

pub use self::options::Options;
use self::{sql::Sql, trouble::Target};

/// Keeps state on a PostgreSQL server, for any number of processes and machines.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let url = std::env::var("BUTTRESS_POSTGRES").expect("run by `scripts/postgres run cargo test --doc`");
/// # let name = format!("order-{}", std::process::id());
/// use std::{sync::Arc, time::Duration};
/// use buttress::store::{Store, StoreError, WorkflowId};
/// use buttress_store::PostgresStore;
///
/// let workflow = WorkflowId::new("shop", name);
/// let (me, you): (Arc<str>, Arc<str>) = ("me".into(), "you".into());
///
/// let store = PostgresStore::connect(&url).await?;
/// let lease = store.acquire(&workflow, &me, Duration::from_secs(30)).await?;
///
/// // Another process, on another machine.
/// let other = PostgresStore::connect(&url).await?;
/// let refused = other.acquire(&workflow, &you, Duration::from_secs(30)).await;
/// assert!(matches!(refused, Err(StoreError::Held { .. })));
///
/// store.release(&lease).await?;
/// let taken = other.acquire(&workflow, &you, Duration::from_secs(30)).await?;
/// assert!(taken.epoch > lease.epoch);
/// # other.delete(&workflow).await?;
/// # Ok(())
/// # }
/// ```
///
/// # The schema
/// Is made by whoever connects first, and brought to a newer version by whoever first needs it; several
/// processes at once do no harm. A schema that is newer than the program is
/// [`TroubleKind::Format`](buttress::store::TroubleKind::Format). In `psql` the view `overview` shows the workflows
/// with times that can be read. Change no rows by hand: they are sealed, and a change is found as
/// damage.
///
/// # How it writes
/// No statement is part of a longer transaction: one reads what is kept, and says the time of the
/// server; one writes what was decided from that, and only if the workflow is still as it was read, which
/// is compared under the lock of its row. So an owner that was followed by another writes nothing,
/// however late its write arrives; and nobody who dies or hangs keeps a lock. To read a step that was
/// done takes one statement and no lock.
///
/// # What is durable
/// Every write is on the disk of the server before it is answered: `synchronous_commit = off` is overridden
/// for it, and a server with `fsync = off` is refused. It is for the operator to have no failover to a
/// standby that follows asynchronously: it would forget what was acknowledged, and hand out epochs a second time.
/// With `synchronous_standby_names` set and `synchronous_commit` at `on` or above, failover is safe.
///
/// # Leases
/// Last by the clock of the server alone; those of the machines that connect do not matter. After a failover it
/// is another clock: as far as it is ahead leases end early, as far as it is behind they last longer. Writes stay
/// fenced in either case.
///
/// # Damage
/// A record that is not as it was written is passed over, one by one; so is the row of a workflow as a whole,
/// which is put together from the records and told. If what it is put together from is damaged too, the workflow
/// is [`StoreError::Corrupt`] for all but [`list`](buttress::store::Store::list) and
/// [`delete`](buttress::store::Store::delete). Others are not held up by it. Let the server keep checksums of its pages
/// (`initdb --data-checksums`): they find what rots before it is copied to a backup.
///
/// # Clone
/// Clones are the same store, with the same connections.
///
/// # Cancellation
/// An operation whose future is dropped is done or not done, as the server had begun its write or not. Its
/// connection is closed if the server was still at work; none comes back to the pool in the middle of something.
///
/// # Errors
/// When the connection is lost or the server restarts, the operation is
/// [`TroubleKind::Unreachable`](buttress::store::TroubleKind::Unreachable), and may have been done: ask again, and what
/// is stored decides. The next operation connects anew. No error holds a password.
///
/// # Poolers
/// Statements are prepared once a connection: behind PgBouncer use session pooling, or let it keep prepared
/// statements (`max_prepared_statements`).
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    sql: Sql,
    target: Target,
    retention: Retention,
    timeout: Duration,
    observe: Arc<dyn Observe>,
}

impl PostgresStore {
    /// Connects to a server by a URL, such as `postgresql://user:password@host:5432/database`.
    ///
    /// `host` may be the directory of a socket: `postgresql:///database?host=/run/postgresql&user=me`. More is set by
    /// [`Options`]. The connections are driven by tasks on the tokio runtime that it is called in, and
    /// end with the store.
    ///
    /// This way does not encrypt; for TLS see [`from_pool`](Self::from_pool).
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Options::new().connect(url).await
    }

    /// Uses the connections of a pool, which may encrypt, or be shared with the rest of the program.
    pub async fn from_pool(pool: Pool) -> Result<Self, StoreError> {
        Options::new().from_pool(pool).await
    }

    /// The connections.
    pub fn pool(&self) -> &Pool {
        &self.shared.pool
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("target", &self.shared.target)
            .field("pool", &self.shared.pool.status())
            .finish_non_exhaustive()
    }
}
