//! Where Buttress keeps state: an embedded file by default, PostgreSQL behind a feature.

#[cfg(feature = "postgres")]
pub mod postgres;

#[cfg(feature = "postgres")]
pub use self::postgres::PostgresStore;
