//! Where Buttress keeps state: an embedded file by default, PostgreSQL behind a feature.

pub mod redb;

pub use self::redb::RedbStore;
