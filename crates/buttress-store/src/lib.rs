//! Where Buttress keeps state: an embedded file by default, PostgreSQL behind a feature.

pub mod conformance;
pub mod redb;

pub use self::redb::RedbStore;
