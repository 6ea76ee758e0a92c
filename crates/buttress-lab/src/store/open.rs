//! Stores by their address.

use std::{path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use buttress::store::{Retention, Store, StoreError, TroubleKind};
use buttress_store::redb;

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// A file.
    File(PathBuf),
    /// A PostgreSQL server, by its URL.
    Postgres(String),
}

impl FromStr for At {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let server = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        Ok(if server { Self::Postgres(text.to_owned()) } else { Self::File(text.into()) })
    }
}

impl At {
    /// The name of its engine in lower case.
    pub const fn engine(&self) -> &'static str {
        match self {
            Self::File(_) => "redb",
            Self::Postgres(_) => "postgres",
        }
    }
}

/// How long workflows stay when a store is pruned; what is `None` is not pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    /// Ended and deleted ones.
    pub ended: Option<Duration>,
    /// Those that go on.
    pub open: Option<Duration>,
}

/// Opens a store that is there. A file is not made: a typing error is no store.
pub async fn open(at: &At, ages: Ages) -> Result<Arc<dyn Store>, StoreError> {
    let retention = Retention { ended: ages.ended, open: ages.open, ..Retention::default() };
    match at {
        At::File(path) if !path.exists() => Err(StoreError::engine(
            TroubleKind::Other,
            format!("{}: there is no such file", path.display()),
            None,
        )),
        At::File(path) => Ok(Arc::new(redb::Options::new().retention(retention).open(path)?)),
        At::Postgres(url) => {
            let options = buttress_store::postgres::Options::new().retention(retention);
            Ok(Arc::new(options.connect(url).await?))
        }
    }
}
