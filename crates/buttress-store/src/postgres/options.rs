//! How a store is connected.

use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

use buttress::{
    Observe, Tracing,
    store::{Retention, StoreError},
};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::{Config, NoTls, config::SslMode};

use super::{
    PostgresStore, Shared, schema,
    sql::Sql,
    trouble::{self, Target},
};

/// How a store is connected.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let url = std::env::var("BUTTRESS_POSTGRES").expect("run by `scripts/postgres run cargo test --doc`");
/// use std::time::Duration;
/// use buttress::store::{Store, WorkflowId};
/// use buttress_store::postgres::Options;
///
/// let eight = std::num::NonZeroUsize::new(8).ok_or("eight")?;
/// let store = Options::new()
///     .schema("billing")
///     .pool_size(eight)
///     .timeout(Duration::from_secs(5))
///     .connect(&url)
///     .await?;
/// assert_eq!(store.summary(&WorkflowId::new("shop", "order-17")).await?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Options {
    schema: String,
    retention: Retention,
    pool_size: NonZeroUsize,
    connect_timeout: Duration,
    timeout: Duration,
    fsync_off_is_safe: bool,
    observe: Arc<dyn Observe>,
}

impl Default for Options {
    fn default() -> Self {
        const SIXTEEN: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");
        Self {
            schema: "buttress".into(),
            retention: Retention::default(),
            pool_size: SIXTEEN,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            fsync_off_is_safe: false,
            observe: Arc::new(Tracing),
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the schema of the database in which the tables are; `buttress` by default.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Sets how much is kept.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Sets how many connections there are at most; 16 by default. Those who share a commit of the server
    /// are at most as many.
    ///
    /// Without effect on a [pool of your own](Self::from_pool).
    #[must_use]
    pub fn pool_size(mut self, connections: NonZeroUsize) -> Self {
        self.pool_size = connections;
        self
    }

    /// Sets how long a new connection may take; 10 s by default.
    ///
    /// Without effect on a [pool of your own](Self::from_pool).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long an operation may take, waiting for a connection included; 30 s by default.
    ///
    /// After that it is [unreachable](buttress::store::TroubleKind::Unreachable), and may have been done.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Accepts a server with `fsync = off`, which is refused otherwise.
    ///
    /// For servers whose storage makes the log durable by other means, as some hosted ones do.
    #[must_use]
    pub fn fsync_off_is_safe(mut self) -> Self {
        self.fsync_off_is_safe = true;
        self
    }

    /// Sets who is told of damage that is passed over; `tracing` by default.
    #[must_use]
    pub fn observe(mut self, observe: impl Observe + 'static) -> Self {
        self.observe = Arc::new(observe);
        self
    }

    /// Connects. See [`PostgresStore::connect`].
    pub async fn connect(self, url: &str) -> Result<PostgresStore, StoreError> {
        // The error is not passed on: it may quote what stands in the place of a password.
        let mut config: Config = url.parse().map_err(|_| trouble::unreadable())?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(trouble::no_encryption());
        }
        if config.get_application_name().is_none() {
            config.application_name("buttress");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(self.connect_timeout);
        }
        let target = Target::of(&config, &self.schema);
        // A connection is given back only when nothing is under way on it; that it is open is enough.
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config, NoTls, manager))
            .max_size(self.pool_size.get())
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(self.connect_timeout))
            .build()
            .map_err(|_| target.nonsense())?;
        self.open(pool, target).await
    }

    /// Uses a pool of your own. See [`PostgresStore::from_pool`].
    pub async fn from_pool(self, pool: Pool) -> Result<PostgresStore, StoreError> {
        let target = Target::unknown(&self.schema);
        self.open(pool, target).await
    }

    async fn open(self, pool: Pool, target: Target) -> Result<PostgresStore, StoreError> {
        // 63 bytes: longer names are cut, and then two are one.
        if self.schema.is_empty() || self.schema.len() > 63 || self.schema.contains('\0') {
            return Err(StoreError::Invalid {
                what: "a schema",
                why: "is to have a name of 1 to 63 bytes",
            });
        }
        let prepare = async {
            let mut client = pool.get().await.map_err(|error| target.pool(error))?;
            let settings = "SELECT current_setting('server_encoding'), current_setting('fsync')";
            let tell = |error| target.trouble(error);
            let row = client.query_one(settings, &[]).await.map_err(tell)?;
            let encoding: &str = row.try_get(0).map_err(tell)?;
            if encoding != "UTF8" {
                return Err(target.encoding(encoding));
            }
            if row.try_get::<_, &str>(1).map_err(tell)? == "off" && !self.fsync_off_is_safe {
                return Err(target.unsynced());
            }
            match schema::migrate(&mut client, &self.schema).await.map_err(tell)? {
                found if found > schema::KNOWN => Err(target.newer(found, schema::KNOWN)),
                _ => Ok(()),
            }
        };
        match tokio::time::timeout(self.timeout, prepare).await {
            Ok(prepared) => prepared?,
            Err(_) => return Err(target.slow(self.timeout)),
        }
        let sql = Sql::new(&self.schema);
        let Self { retention, timeout, observe, .. } = self;
        let shared = Shared { pool, sql, target, retention, timeout, observe };
        Ok(PostgresStore { shared: Arc::new(shared) })
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("schema", &self.schema)
            .field("retention", &self.retention)
            .field("pool_size", &self.pool_size)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("fsync_off_is_safe", &self.fsync_off_is_safe)
            .finish_non_exhaustive()
    }
}
