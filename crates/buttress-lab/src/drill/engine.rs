//! The stores that are drilled.

use std::sync::Arc;

use buttress::store::{Store, StoreError};
use buttress_store::{postgres, redb};

use super::point::{Fate, Point};
use crate::store::At;

/// The schema that drills write, apart from anybody's own.
const SCHEMA: &str = "buttress_drill";

/// The environment variable with the URL of the PostgreSQL server.
pub const SERVER: &str = "BUTTRESS_POSTGRES";

/// Where a process that writes a store may die: a server that commits is not this process.
pub(super) fn points(at: &At) -> &'static [Point] {
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
    match at {
        At::File(_) => &Point::IN_A_FILE,
        At::Postgres(_) => &AT_A_SERVER,
    }
}

pub(super) async fn open(at: &At, fate: &Arc<Fate>) -> Result<Arc<dyn Store>, StoreError> {
    match at {
        At::File(path) => {
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
        At::Postgres(url) => {
            let options = postgres::Options::new().schema(SCHEMA);
            Ok(Arc::new(options.connect(url).await?))
        }
    }
}
