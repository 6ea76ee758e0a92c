//! Where Buttress keeps state: an embedded file by default, PostgreSQL behind a feature.

pub mod conformance;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod redb;

#[cfg(feature = "postgres")]
pub use self::postgres::PostgresStore;
pub use self::redb::RedbStore;
