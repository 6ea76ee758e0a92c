//! The stores that are drilled.

use std::{fmt, path::PathBuf, sync::Arc};

use buttress::store::{Store, StoreError};
use buttress_store::{postgres, redb};

use super::point::{Fate, Point};

/// The schema that drills write, apart from anybody's own.
const SCHEMA: &str = "buttress_drill";

/// The environment variable with the URL of the PostgreSQL server.
pub const SERVER: &str = "BUTTRESS_POSTGRES";

/// A store to be drilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file.
    Redb(PathBuf),
    /// A PostgreSQL server, by its URL.
    Postgres(String),
}

impl Engine {
    /// The name in lower case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Redb(_) => "redb",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Where a process that writes this store may die: the server that commits is not this process.
    pub(super) fn points(&self) -> &'static [Point] {
        const AT_A_SERVER: [Point; 8] = [
            Point::Start,
            Point::Intended,
            Point::Asked,
            Point::Done,
            Point::Answered,
            Point::Recorded,
            Point::Told,
            Point::Whenever,
        ];
        match self {
            Self::Redb(_) => &Point::ALL,
            Self::Postgres(_) => &AT_A_SERVER,
        }
    }

    pub(super) async fn open(&self, fate: &Arc<Fate>) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Redb(path) => {
                let fate = fate.clone();
                let pass = move |point| match point {
                    redb::Point::BatchTaken => fate.pass(Point::Taken),
                    redb::Point::BeforeCommit => fate.pass(Point::Uncommitted),
                    redb::Point::AfterCommit => fate.pass(Point::Committed),
                    // Nothing lies between these and those before them but some instructions.
                    _ => {}
                };
                Ok(Arc::new(redb::Options::new().on_point(pass).open(path)?))
            }
            Self::Postgres(url) => {
                let options = postgres::Options::new().schema(SCHEMA);
                Ok(Arc::new(options.connect(url).await?))
            }
        }
    }
}

impl fmt::Display for Engine {
    /// As a child is told on its command line, which others can read: without the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redb(path) => path.display().fmt(f),
            Self::Postgres(_) => f.write_str("postgres"),
        }
    }
}
